/**
 * Workers in processes of their own that really die: `kill -9`, SIGSTOP.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { ended } from "../servers/process.ts"

interface Start {
  readonly started: number
  readonly worker: string
  readonly at: number
}

let server: NatsServer
let count = 0
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

class WorkerProcess {
  readonly starts: Array<Start> = []
  readonly child: ChildProcess
  readonly ready: Promise<void>

  constructor(queue: string, id: string, lease: number, last = 0) {
    const path = fileURLToPath(new URL("fixtures/worker.ts", import.meta.url))
    this.child = fork(path, [server.url, queue, id, String(lease), String(last)], { execArgv: [] })
    this.ready = new Promise((resolve, reject) => {
      this.child.once("exit", (code) => reject(new Error(`the worker ended with ${code}`)))
      this.child.on("message", (message: Start | { readonly ready: true }) => {
        if ("ready" in message) return resolve()
        this.starts.push(message)
      })
    })
    // who does not wait for it is not interested
    this.ready.catch(() => {})
  }

  kill(signal: NodeJS.Signals = "SIGKILL"): void {
    this.child.kill(signal)
  }
}

const define = (queue: string) =>
  class Work extends Task.make("Work", {
    payload: { n: Schema.Number, ms: Schema.Number },
    success: Schema.String,
    queue
  }) {}

const run = <A>(
  body: (work: ReturnType<typeof define>, queue: string) => Effect.Effect<A, unknown, Client.Client | Transport | Scope>
) => {
  const queue = `processes-${++count}`
  return Effect.runPromise(
    Effect.scoped(body(define(queue), queue)).pipe(
      Effect.provide(Layer.provideMerge(Client.layer, NatsTransport.layer({ servers: server.url }))),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
    )
  )
}

const shortLease = 2_000
/** Longer than a busy machine stands still. */
const longLease = 5_000

const started = (queue: string, id: string, lease = shortLease) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const worker = new WorkerProcess(queue, id, lease)
      await worker.ready
      return worker
    }),
    (worker) => Effect.sync(() => worker.kill())
  )

/** A worker that kills itself when it starts so many jobs: who looks from outside may look when all is done. */
const died = (queue: string, id: string, starts: number) =>
  Effect.promise(async () => {
    const { child } = new WorkerProcess(queue, id, shortLease, starts)
    await ended(child)
    expect(child.signalCode).toBe("SIGKILL")
  })

test(
  "kill -9 while handlers run: their jobs start elsewhere within the lease and a second",
  () =>
    run((Work, queue) =>
      Effect.gen(function*() {
        const first = yield* started(queue, "stuck")
        const jobs = yield* Effect.forEach([1, 2, 3], (n) => Work.enqueue({ n, ms: 10 }))
        const stuck = () => new Set(first.starts.map((start) => start.started)).size
        yield* Effect.promise(() => expect.poll(stuck, { timeout: 20_000 }).toBe(3))
        const second = yield* started(queue, "second")
        const killedAt = Date.now()
        first.kill()
        const results = yield* Effect.forEach(jobs, (job) => job.await, { concurrency: "unbounded" })
        expect(results).toEqual(["1 by second", "2 by second", "3 by second"])
        // the lease is 2 seconds; the machine may be busy
        for (const { at } of second.starts) expect(at - killedAt).toBeLessThan(20_000)
      })
    ),
  60_000
)

test("workers die again and again under load: nothing is lost", () =>
  run((Work, queue) =>
    Effect.gen(function*() {
      const jobs = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, n) => n),
        (n) => Work.enqueue({ n, ms: 10 }),
        { concurrency: 32 }
      )
      for (const id of ["a", "b", "c"]) yield* died(queue, id, 21)
      yield* started(queue, "last")
      const results = yield* Effect.forEach(jobs, (job) => job.await, { concurrency: "unbounded" })
      expect(results.length).toBe(200)
      const { log } = yield* Transport
      const stats = yield* log.stats(queue)
      expect([stats.queued, stats.running, stats.scheduled, stats.dead]).toEqual([0, 0, 0, 0])
    })
  ), 60_000)

test(
  "a worker that is stopped for longer than its lease loses its job, and does not take it back",
  () =>
    run((Work, queue) =>
      Effect.gen(function*() {
        const first = yield* started(queue, "stuck", longLease)
        const job = yield* Work.enqueue({ n: 1, ms: 3_000 })
        yield* Effect.promise(() => expect.poll(() => first.starts.length, { timeout: 20_000 }).toBe(1))
        const second = yield* started(queue, "second", longLease)
        first.kill("SIGSTOP")
        yield* Effect.promise(() => expect.poll(() => second.starts.length, { timeout: 30_000 }).toBe(1))
        first.kill("SIGCONT")
        expect(yield* job.await).toBe("1 by second")
        yield* Effect.sleep(1_500)
        expect([first.starts.length, second.starts.length]).toEqual([1, 1])
      })
    ),
  90_000
)
