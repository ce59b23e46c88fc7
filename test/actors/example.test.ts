import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"

const folder = join(resolve(import.meta.dirname, "../.."), "examples/bank")

test("the bank prints what its README says", async () => {
  const { stderr, stdout } = await promisify(execFile)(process.execPath, [join(folder, "main.ts")])
  const [, said] = /^```\n(alice[\s\S]*?)^```$/m.exec(readFileSync(join(folder, "README.md"), "utf8")) ?? []
  expect(stderr).toBe("")
  expect(stdout).toBe(said)
}, 30_000)
