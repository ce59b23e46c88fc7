import { mkdtempSync, realpathSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { count, fill } from "./index-folder/folder.ts"
import { parse, root, run } from "./index-folder/program.ts"

const folder = realpathSync(mkdtempSync(join(tmpdir(), "index-folder-")))
const server = createServer()
fill(folder, server)
afterAll(() => {
  server.close()
  rmSync(folder, { recursive: true, force: true })
})

const oneLine = (text: string) => expect.stringMatching(new RegExp(`^[^\n]*${text}[^\n]*\n$`))

describe("npm start", { timeout: 300_000 }, () => {
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
    for (const part of ["[<folder>]", "--transport", "memory", "--workers", "--url", "--concurrency"]) {
      expect(stdout).toContain(part)
    }
  })

  it("refuses what it cannot do with one line and exit code 1", async () => {
    const needs = "needs a broker between processes"
    const refusals: ReadonlyArray<readonly [args: ReadonlyArray<string>, line: string]> = [
      [[join(folder, "nowhere")], "nowhere: NotFound"],
      [[join(folder, "one word")], "one word: it is no folder"],
      [["--transport", "carrier-pigeon"], "\"carrier-pigeon\": this program knows memory, redis, nats"],
      [[folder, "--concurrency", "0"], "--concurrency 0: at least 1 is needed"],
      [[folder, "--transport", "redis", "--workers", "0"], "--workers 0: at least 1 is needed"],
      [[folder, "--workers", "3"], `The memory transport lives in one process: --workers 3 ${needs}`],
      [[folder, "--url", "redis://127.0.0.1"], `The memory transport has no server: --url ${needs}`]
    ]
    const ended = await Promise.all(refusals.map(([args]) => run(args)))
    expect(ended).toEqual(refusals.map(([, line]) => ({ code: 1, stdout: "", stderr: oneLine(line) })))
  })
})
