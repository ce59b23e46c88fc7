/**
 * `npm start -- --transport … --workers 3`: worker processes, one of which is
 * killed half-way. Every number of the account is compared with another source.
 */
import { Redis } from "ioredis"
import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest"
import { count } from "./index-folder/folder.ts"
import { parse, parseAccount, type Program, root, run } from "./index-folder/program.ts"
import { startRedis } from "./servers/redis.ts"

const folder = realpathSync(mkdtempSync(join(tmpdir(), "index-folder-")))
// large enough that the first half takes a while: the kill is to come in the middle
const content = Buffer.alloc(600_000, "x")
for (let n = 0; n < 20; n++) {
  mkdirSync(join(folder, `${n}`))
  for (let i = 0; i < 40; i++) {
    writeFileSync(join(folder, `${n}`, `${i}.txt`), content.subarray(0, 500_000 + 1_000 * n + i))
  }
}
/** Files, folders with the root, and the report. */
const jobs = 800 + 21 + 1
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Where the program puts its temporary files: empty when it has cleaned up. */
let temporary: string
beforeEach(() => {
  temporary = mkdtempSync(join(tmpdir(), "index-folder-tmp-"))
})
afterEach(() => rmSync(temporary, { recursive: true, force: true }))

/** Enough work to be interrupted in. */
const large = join(root, "node_modules")

const start = (
  at: string,
  args: ReadonlyArray<string> = [],
  onOutput?: Parameters<typeof run>[1],
  env: NodeJS.ProcessEnv = {}
) => run([at, "--transport", "redis", "--workers", "3", ...args], onOutput, { TMPDIR: temporary, ...env })

/** Worker processes of this run: they are told where the journals are. */
const workers = (): ReadonlyArray<number> =>
  execFileSync("ps", ["-eo", "pid,args"], { encoding: "utf8" }).split("\n").flatMap((line) =>
    line.includes(temporary) && line.includes("worker.ts") ? [Number.parseInt(line)] : []
  )

const answers = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false))
    socket.once("close", () => socket.destroy())
  })

/** No process and no directory of the run is left. */
const expectNothing = async (stdout: string) => {
  const port = Number(/private server redis:\/\/127\.0\.0\.1:(\d+)/.exec(stdout)?.[1])
  await expect.poll(() => workers(), { timeout: 60_000 }).toEqual([])
  await expect.poll(() => readdirSync(temporary), { timeout: 60_000 }).toEqual([])
  await expect.poll(() => answers(port), { timeout: 60_000 }).toBe(false)
}

/** Calls back once, when jobs of the run are being done. */
const whenBusy = (callback: (child: Program) => void) => {
  let called = false
  return (stdout: string, child: Program) => {
    if (called || !/ jobs {2}/.test(stdout)) return
    called = true
    callback(child)
  }
}

describe("npm start -- --transport redis --workers 3", { timeout: 300_000 }, () => {
  it("loses nothing when a worker is killed, and counts truly", async () => {
    // few at once: the producer must not come too late to kill anybody on a busy machine; and a lease that one which
    // stands still does not outlast
    const { code, stderr, stdout } = await start(folder, ["--concurrency", "1"], undefined, {
      TROUPE_IDLE_TIMEOUT: "6 seconds"
    })
    // a busy machine stalls workers, and they say so
    expect(code, stderr).toBe(0)
    expect(parse(stdout)).toEqual({ ...count(folder), retried: 0 })
    const killed = /^kill -9 \d+: worker-1 of 3 is dead, ([0-9,]+) of 822 jobs were left$/m.exec(stdout)
    const left = Number(killed?.[1])
    expect(left).toBeGreaterThan(0)
    expect(left).toBeLessThanOrEqual(jobs / 2)
    const account = parseAccount(stdout)
    expect(account).toMatchObject({ accepted: jobs, finished: jobs, lost: 0 })
    // it held what it ran and what it had fetched ahead, 6 of each queue at most
    expect(account.recovered).toBeGreaterThan(0)
    expect(account.recovered).toBeLessThanOrEqual(12)
    expect(account.repeated).toBeLessThanOrEqual(account.recovered!)
    // its lease had to run out first, up to one heartbeat of it was over
    expect(account.recoveryTime).toBeGreaterThan(2)
    expect(account.recoveryTime).toBeLessThan(60)
    await expectNothing(stdout)
  })

  it("tells of a job that is lost on the server of TROUPE_REDIS_URL, and fails", async () => {
    const server = await startRedis()
    const redis = new Redis(server.url)
    const stream = "troupe:1:q:{index}:s:normal"
    let stolen: Promise<void> | undefined
    // the newest job that nobody has yet; there may be none just now
    const script = `
      local stream = KEYS[1]
      local group = redis.call('XINFO', 'GROUPS', stream)[1]
      local last
      for i = 1, #group, 2 do if group[i] == 'last-delivered-id' then last = group[i + 1] end end
      local entry = redis.call('XREVRANGE', stream, '+', '(' .. last, 'COUNT', 1)[1]
      if not entry then return 0 end
      redis.call('DEL', 'troupe:1:q:{index}:t' .. entry[2][1])
      return redis.call('XDEL', stream, entry[1])`
    const steal = async () => {
      while (await redis.eval(script, 1, stream) !== 1) await new Promise((resolve) => setTimeout(resolve, 2))
    }
    const { code, stderr, stdout } = await start(
      folder,
      ["--concurrency", "4"],
      whenBusy(() => stolen = steal()),
      { TROUPE_REDIS_URL: server.url }
    )
    await stolen
    expect(code).toBe(1)
    expect(stderr).toContain("1 jobs are lost\n")
    expect(parse(stdout)).toMatchObject({ files: 799, unreadable: 1 })
    expect(stdout).toMatch(/^accepted 822, finished 821, .*\blost 1\b/m)
    redis.disconnect()
    await server.stop()
  })

  it("leaves no job on the server of --url when it is interrupted", async () => {
    const server = await startRedis()
    const redis = new Redis(server.url)
    const { code, stderr, stdout } = await start(
      large,
      ["--url", server.url],
      whenBusy((child) => child.kill("SIGINT"))
    )
    expect(code, stderr).toBe(130)
    expect(stdout).toMatch(
      /\nStopped: [0-9,]+ files and [0-9,]+ folders are done, [^\n]+ that waited are cancelled.\n$/
    )
    for (const stream of ["s:normal", "r:normal", "s:high", "r:high"]) {
      expect(await redis.xlen(`troupe:1:q:{index}:${stream}`)).toBe(0)
    }
    expect(await redis.zcard("troupe:1:q:{index}:d")).toBe(0)
    expect([workers(), readdirSync(temporary)]).toEqual([[], []])
    redis.disconnect()
    await server.stop()
  })

  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    it(`leaves no process and no directory behind on ${signal}`, async () => {
      let alive = 0
      const { stdout } = await start(
        large,
        [],
        whenBusy((child) => {
          alive = workers().length
          child.kill(signal)
        })
      )
      expect(alive).toBe(3)
      await expectNothing(stdout)
    })
  }

  it("ends when all of its workers have", async () => {
    const { code, stderr } = await start(
      large,
      [],
      whenBusy(() => {
        for (const pid of workers()) process.kill(pid, "SIGKILL")
      })
    )
    expect(code).toBe(1)
    expect(stderr).toContain("All workers have ended before the work\n")
    expect(readdirSync(temporary)).toEqual([])
  })

  it("says what to install where there is no server", async () => {
    const { code, stderr, stdout } = await start(folder, [], undefined, { PATH: temporary })
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" })
    expect(stderr).toMatch(/^[^\n]*there is no "redis-server" on the PATH\. Install Redis 6\.2 or newer[^\n]*--url\n$/)
    expect(readdirSync(temporary)).toEqual([])
  })

  it("runs in one process, too", async () => {
    const { code, stderr, stdout } = await run([join(root, "docs"), "--transport", "redis"])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(parse(stdout)).toEqual({ ...count(join(root, "docs")), retried: 0 })
  })
})
