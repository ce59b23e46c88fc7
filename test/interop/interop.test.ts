/**
 * A producer in one process, a worker in another, the results awaited in a
 * third: the answers are those of the memory transport in a single process.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Signing from "@troupe/core/Signing"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as References from "effect/References"
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import { beforeAll, expect, test } from "vitest"
import * as Scenario from "./scenario.ts"
import { remotes } from "./transports.ts"

const keys = { TROUPE_SIGNING_KEYS: `test:${Redacted.value(Effect.runSync(Signing.generateKey))}` }

const start = (...args: ReadonlyArray<string>) =>
  fork(join(import.meta.dirname, "program.ts"), args, { execArgv: [], env: { ...process.env, ...keys } })

/** The first message of the process. */
const message = (child: ChildProcess) =>
  new Promise<unknown>((resolve, reject) => {
    child.once("message", resolve)
    child.once("exit", (code, signal) => reject(new Error(`the process ended with ${signal ?? code}`)))
  })

let expected: Scenario.Answers
beforeAll(async () => {
  const program = Effect.scoped(Effect.gen(function*() {
    yield* Layer.build(Scenario.WorkerLive)
    return yield* Scenario.collect(yield* Scenario.produce)
  }))
  expected = await Effect.runPromise(program.pipe(
    Effect.provide(Scenario.clientLive(MemoryTransport.layer)),
    Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(keys))),
    Effect.provideService(References.MinimumLogLevel, "Error")
  ))
})

test("the answers of the memory transport are what they should be", () => {
  expect(expected).toMatchObject({
    duplicate: true,
    cancelled: "cancelled {\"still\":\"here\"}",
    later: "true",
    byName: "{ attempt: 1, headers: {} }"
  })
  expect(expected.retried).toContain("attempt: 3, headers: { 'x-trace': 'abc', ")
  expect(expected.outOfStock).toMatch(/^OutOfStock: .* until: 1970-01-01T00:00:00.003Z/)
  expect(expected.broken).toMatch(/^JobFailed: .*Defect: .*broken on purpose/)
  expect(expected.expiring).toMatch(/^JobExpired: /)
  expect(expected.endless).toMatch(/^JobCancelled: /)
  expect(expected.large.length).toBeGreaterThan(800_000)
  expect(expected.awkward).toContain("{}% \u{1F3AD} \\ud800")
  expect(expected.appended.slice(-2)).toEqual(["[ 'a', 'b', 'c', 'd' ]", "[ 'a', 'b', 'c', 'd' ]"])
})

for (const [name, remote] of Object.entries(remotes)) {
  test(`${name} gives the same answers between three processes`, async () => {
    const server = await remote.start()
    const children: Array<ChildProcess> = []
    const role = (role: string, ...args: ReadonlyArray<string>) => {
      const child = start(role, name, server.url, ...args)
      children.push(child)
      return message(child)
    }
    try {
      const produced = JSON.stringify(await role("producer"))
      // one waits before there is a worker, one comes when all is over
      const early = role("waiter", produced)
      expect(await role("worker")).toBe("ready")
      expect(await early).toEqual(expected)
      const { cancelled: _, ...others } = expected
      expect(await role("waiter", produced)).toMatchObject(others)
    } finally {
      for (const child of children) child.kill("SIGKILL")
      await server.stop()
    }
  }, 60_000)
}
