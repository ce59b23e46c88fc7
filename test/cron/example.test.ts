import { execFile } from "node:child_process"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { expect, test } from "vitest"

const main = join(resolve(import.meta.dirname, "../.."), "examples/cron/main.ts")

test("the example of cron prints what it says", async () => {
  const { stderr, stdout } = await promisify(execFile)(process.execPath, [main])
  expect(stderr).toBe("")
  expect(stdout).toBe(
    `digest 1 goes to everyone (schedule)
digest 2 goes to everyone (schedule)
digest 3 goes to everyone (schedule)
three ticks are over
digest 4 goes to everyone (manual)
on request: digest 4
manual: COMPLETED, digest 4
schedule: COMPLETED, digest 3
schedule: COMPLETED, digest 2
schedule: COMPLETED, digest 1
`
  )
}, 60_000)
