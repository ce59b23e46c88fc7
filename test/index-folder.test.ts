import { spawn } from "node:child_process"
import { createHash } from "node:crypto"
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, relative, resolve } from "node:path"
import { afterAll, describe, expect, it } from "vitest"

const root = resolve(import.meta.dirname, "..")
const main = join(root, "examples/index-folder/main.ts")

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the program; `onOutput` sees all that it printed so far, each time that it prints. */
const run = (
  args: ReadonlyArray<string>,
  onOutput: (stdout: string, child: ReturnType<typeof start>) => void = () => {}
): Promise<Ended> =>
  new Promise((end, fail) => {
    const child = start(args)
    let stdout = ""
    let stderr = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => onOutput(stdout += text, child))
    child.stderr.setEncoding("utf8").on("data", (text: string) => stderr += text)
    child.on("error", fail).on("close", (code) => end({ code, stdout, stderr }))
  })

const start = (args: ReadonlyArray<string>) =>
  spawn(process.execPath, [main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, FORCE_COLOR: undefined }
  })

const folder = realpathSync(mkdtempSync(join(tmpdir(), "index-folder-")))
const server = createServer()
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

/** Bytes that look like chance and are the same each time. */
const noise = (length: number) => {
  let state = 1
  return Uint8Array.from({ length }, () => (state = Math.imul(state, 1_103_515_245) + 12_345 >>> 0) >>> 24)
}

/** A file that nobody can read: no permission, or for root a name whose bytes Node cannot spell. */
const writeUnreadable = (at: string) => {
  if (process.getuid?.() !== 0) {
    writeFileSync(join(at, "secret"), "hidden")
    return chmodSync(join(at, "secret"), 0o000)
  }
  writeFileSync(Buffer.concat([Buffer.from(`${at}/not-utf-8-`), Uint8Array.of(0xff)]), "hidden")
}

const fill = () => {
  for (const path of ["a/b/c/d", "empty", "many", "links"]) mkdirSync(join(folder, path), { recursive: true })
  writeFileSync(join(folder, "empty.txt"), "")
  writeFileSync(join(folder, "one word"), "word")
  writeFileSync(join(folder, "a/\u001b[2Jred\nname.txt"), "x".repeat(2_000_000))
  writeFileSync(join(folder, "a/spaces.txt"), " \t\r\n\v\f  \n")
  writeFileSync(join(folder, "a/utf-8 äöü ☃.txt"), "Grüße, Jürgen\r\n雪\u00a0人\n\n  last line without an end")
  // longer than what is read at once, with words and lines across every seam
  writeFileSync(join(folder, "a/b/long.txt"), "seven77 eight888\n".repeat(60_000))
  writeFileSync(join(folder, "a/b/c/noise.bin"), noise(300_001))
  // more than what is enqueued at once
  for (let i = 0; i < 620; i++) writeFileSync(join(folder, "many", `${i}.txt`), `${i}\n`.repeat(i % 7))
  symlinkSync("..", join(folder, "links/cycle"))
  symlinkSync("../a/b/long.txt", join(folder, "links/file"))
  symlinkSync("nowhere", join(folder, "links/dangling"))
  server.listen(join(folder, "links/socket"))
  writeUnreadable(join(folder, "a/b/c/d"))
}
fill()

/** The same numbers, counted in another way. */
const count = (at: string) => {
  const totals = { files: 0, folders: 0, bytes: 0, lines: 0, words: 0, skipped: 0, unreadable: 0 }
  let checksum = 0n
  const visit = (path: string) => {
    totals.folders++
    for (const name of readdirSync(path)) {
      const entry = join(path, name)
      const stats = lstatSync(entry, { throwIfNoEntry: false })
      if (stats?.isDirectory() === true) visit(entry)
      else if (stats === undefined || (stats.mode & 0o777) === 0) totals.unreadable++
      else if (!stats.isFile()) totals.skipped++
      else {
        const content = readFileSync(entry)
        const text = content.toString("latin1")
        const sha256 = createHash("sha256").update(content).digest("hex")
        totals.files++
        totals.bytes += stats.size
        totals.lines += text.split("\n").length - 1
        totals.words += text.split(/[ \t\n\v\f\r]+/).filter((word) => word !== "").length
        checksum ^= BigInt(`0x${createHash("sha256").update(`${relative(at, entry)}\0${sha256}`).digest("hex")}`)
      }
    }
  }
  visit(at)
  return { ...totals, checksum: checksum.toString(16).padStart(64, "0") }
}

/** The numbers of a printed report. */
const parse = (stdout: string) => {
  const total = (name: string) =>
    Number((new RegExp(`^ *([0-9,]+)  ${name}\\b`, "m").exec(stdout)?.[1] ?? "none").replaceAll(",", ""))
  return {
    files: total("files"),
    folders: total("folders"),
    bytes: total("bytes"),
    lines: total("lines"),
    words: total("words"),
    skipped: total("skipped"),
    unreadable: total("unreadable"),
    retried: total("retried"),
    checksum: /^Checksum ([0-9a-f]{64})$/m.exec(stdout)?.[1]
  }
}

const oneLine = (text: string) => expect.stringMatching(new RegExp(`^[^\n]*${text}[^\n]*\n$`))

describe("npm start", { timeout: 60_000 }, () => {
  it("counts what is there, as an independent count does", async () => {
    const { code, stderr, stdout } = await run([folder])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(parse(stdout)).toEqual({ ...count(folder), retried: 1 })
    expect(count(folder)).toMatchObject({ files: 627, folders: 8, skipped: 4, unreadable: 1 })
    expect(stdout).toContain(`Indexing ${folder}, 16 at once, transport memory\n`)
    const largest =
      /Largest files\n +2,000,000 {2}bytes {2}a\/\?\[2Jred\?name\.txt\n +1,020,000 {2}bytes {2}a\/b\/long\.txt\n/
    expect(stdout).toMatch(largest)
    expect(stdout).toMatch(/Unreadable\n +3 {2}attempts {2}\w+ +\/.*\/a\/b\/c\/d\/.*\n/)
    expect(stdout).toMatch(/^637 jobs in [0-9.]+ s: [0-9,]+ jobs per second$/m)
  })

  it("counts the same one by one, and when files fail at first", async () => {
    const calm = await run([folder, "--concurrency", "1"])
    expect(parse(calm.stdout)).toEqual({ ...count(folder), retried: 1 })
    const rough = await run([folder, "--flaky", "7"])
    const { retried, ...totals } = parse(rough.stdout)
    expect(totals).toEqual(count(folder))
    expect(retried).toBeGreaterThan(80)
  })

  it("indexes this repository by default, and ends quietly when nobody reads on", async () => {
    const { code, stderr, stdout } = await run([], (_, { stdout }) => stdout.destroy())
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout.split("\n")[0]).toBe(`Indexing ${root}, 16 at once, transport memory`)
  })

  it("says what was done when it is interrupted", async () => {
    const args = [join(root, "node_modules"), "--concurrency", "1"]
    const { code, stderr, stdout } = await run(args, (text, child) => {
      if (/ jobs {2}.*\n$/.test(text)) child.kill("SIGINT")
    })
    expect({ code, stderr }).toEqual({ code: 130, stderr: "" })
    expect(stdout).toMatch(/\nStopped: [0-9,]+ files and [0-9,]+ folders are done, [^\n]+\n$/)
  })

  it("explains itself", async () => {
    const { code, stderr, stdout } = await run(["--help"])
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" })
    for (const part of ["[<folder>]", "--transport", "memory", "--concurrency"]) expect(stdout).toContain(part)
  })

  it("refuses what it cannot do with one line and exit code 1", async () => {
    const nowhere = await run([join(folder, "nowhere")])
    expect(nowhere).toEqual({ code: 1, stdout: "", stderr: oneLine("nowhere: NotFound") })
    const noFolder = await run([join(folder, "one word")])
    expect(noFolder).toEqual({ code: 1, stdout: "", stderr: oneLine("one word: it is no folder") })
    const transport = await run(["--transport", "carrier-pigeon"])
    expect(transport).toEqual({ code: 1, stdout: "", stderr: oneLine("\"carrier-pigeon\": this program knows memory") })
    const concurrency = await run([folder, "--concurrency", "0"])
    expect(concurrency).toEqual({ code: 1, stdout: "", stderr: oneLine("concurrency") })
  })
})
