/**
 * 100,000 jobs wait for their time: they hold up nobody, and outlive a `kill -9`
 * of the server and of every worker.
 */
import * as Client from "@troupe/core/Client"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"

let server: NatsServer
const workers = new Set<ChildProcess>()
beforeAll(async () => {
  server = await startNats()
})
afterAll(async () => {
  for (const worker of workers) worker.kill("SIGKILL")
  await server.stop()
})

const queue = "work"
class Work extends Task.make("Work", { payload: Schema.Number, queue }) {}

/** When each job ran, ms since the epoch. */
const runs = new Map<number, Array<number>>()

type Told = { readonly ready: true } | { readonly runs: ReadonlyArray<readonly [number, number]> }

/** Resolves when it works. */
const startWorker = (): Promise<void> =>
  new Promise((resolve, reject) => {
    const path = fileURLToPath(new URL("fixtures/runner.ts", import.meta.url))
    const worker = fork(path, [server.url, queue], { execArgv: [] })
    workers.add(worker)
    worker.once("exit", (code) => reject(new Error(`a worker ended with ${code}`)))
    worker.on("message", (told: Told) => {
      if ("ready" in told) return resolve()
      for (const [n, at] of told.runs) runs.set(n, [...runs.get(n) ?? [], at])
    })
  })

const startWorkers = Effect.promise(() => Promise.all([startWorker(), startWorker()]))

const killWorkers = Effect.promise(() =>
  Promise.all(Array.from(workers, (worker) => {
    workers.delete(worker)
    const ended = new Promise((resolve) => worker.once("exit", resolve))
    worker.kill("SIGKILL")
    return ended
  }))
)

const chunk = 1_000

/** Enqueues jobs from `from` on, due at `dueAt` of each. Answers their ids. */
const enqueue = Effect.fnUntraced(function*(from: number, count: number, dueAt: (n: number) => number) {
  const ids: Array<string> = []
  for (let done = 0; done < count; done += chunk) {
    const outcomes = yield* Work.enqueueMany(
      Array.from({ length: Math.min(chunk, count - done) }, (_, i) => {
        const n = from + done + i
        return { payload: n, options: { at: dueAt(n) } }
      })
    )
    for (const outcome of outcomes) ids.push(Result.getOrThrow(outcome).id)
  }
  return ids
})

const ran = (what: string, holds: () => boolean) =>
  Effect.promise(() => expect.poll(holds, { timeout: 60_000, message: what }).toBe(true))

/** ms by which jobs that are due in 100 ms are late, one after the other. */
const lateness = Effect.fnUntraced(function*(first: number) {
  const late: Array<number> = []
  for (let n = first; n < first + 7; n++) {
    const dueAt = Date.now() + 100
    yield* enqueue(n, 1, () => dueAt)
    yield* ran("a job that is due in 100 ms runs", () => runs.has(n))
    late.push(runs.get(n)![0]! - dueAt)
  }
  return late.sort((a, b) => a - b)
})

const hour = 3_600_000

/** Of the waiting jobs so many are due while the test looks. */
const soon = 10_000
const later = 90_000

test(
  "100,000 delayed jobs hold up nobody and outlive a kill -9 of the server and every worker",
  () =>
    Effect.runPromise(
      Effect.gen(function*() {
        yield* startWorkers
        const began = Date.now()
        const evening = began + hour
        const ids = yield* enqueue(soon, later, (n) => evening + n)
        // time to send a ninth of what was just sent, on a machine that may get slower, and to kill everybody
        const dueAt = Date.now() + 6_000 + (Date.now() - began) / 2
        const dueOf = (n: number) => dueAt + n % 2_000
        yield* enqueue(0, soon, dueOf)

        const before = yield* lateness(soon + later)
        expect(before[0]).toBeGreaterThanOrEqual(0)
        // 5 to 20 ms on a machine that does nothing else; what the others hold up, they hold up every time
        expect(before[0]).toBeLessThan(500)

        // the workers have loaded those that are due soon
        yield* killWorkers
        yield* Effect.promise(() => server.kill())
        const killedAt = Date.now()
        yield* Effect.promise(() => server.restart())
        yield* startWorkers
        expect(killedAt, "they were killed while all jobs waited").toBeLessThan(dueAt)

        yield* ran("what is due runs", () => runs.size === soon + before.length)
        const strange = Array.from({ length: soon }, (_, n) => n).filter((n) => {
          const [at = 0, ...others] = runs.get(n) ?? []
          return at < dueOf(n) || others.length > 0
        })
        expect(strange, "none is lost, early or repeated").toEqual([])

        // all others wait on, each with its due time
        const { scheduled } = yield* JobQueue.stats(queue)
        expect(scheduled).toBe(later)
        const { log } = yield* Transport
        const missing: Array<string> = []
        for (let from = 0; from < later; from += chunk) {
          const [first = "", ...others] = ids.slice(from, from + chunk)
          const located = yield* log.locate(queue, [first, ...others])
          located.forEach((one, i) => {
            const { dueAt, place } = Option.getOrUndefined(one) ?? {}
            if (place !== "scheduled" || dueAt !== evening + soon + from + i) missing.push(ids[from + i]!)
          })
        }
        expect(missing).toEqual([])
        const after = yield* lateness(soon + later + before.length)
        expect(after[0]).toBeGreaterThanOrEqual(0)
        expect(after[0]).toBeLessThan(500)
      }).pipe(
        Effect.provide(Layer.provideMerge(Client.layer, NatsTransport.layer({ servers: server.url }))),
        Effect.provide(Layer.succeed(References.MinimumLogLevel, "None")),
        Effect.scoped
      )
    ),
  180_000
)
