/**
 * What NATS adds to the promises: a full stream, and streams that are deleted.
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect } from "@nats-io/transport-node"
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import { TransportError } from "@troupe/core/TransportError"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"

let server: NatsServer
beforeEach(async () => {
  server = await startNats()
})
afterEach(() => server.stop())

const silent = Layer.succeed(References.MinimumLogLevel, "None")

const transport = (options: NatsTransport.NatsTransportOptions = {}) =>
  Layer.fresh(NatsTransport.layer({ servers: server.url, ...options }))

const run = <A>(
  program: Effect.Effect<A, unknown, Client.Client | Transport | Scope.Scope>,
  options?: NatsTransport.NatsTransportOptions
) =>
  Effect.runPromise(
    Effect.scoped(program).pipe(
      Effect.provide(Layer.provideMerge(Client.layer, transport(options))),
      Effect.provide(silent)
    )
  )

class Work extends Task.make("Work", {
  payload: Schema.Number,
  success: Schema.Number,
  error: Schema.String,
  queue: "work",
  maxAttempts: 3,
  retry: Schedule.spaced("50 millis")
}) {}

/** A worker that ends when it is told to. `onRun` is called with every start. */
const startWorker = Effect.fnUntraced(function*(
  onRun: (n: number, attempt: number) => Effect.Effect<number, string>,
  options?: NatsTransport.NatsTransportOptions
) {
  const scope = yield* Scope.make()
  yield* Layer.buildWithScope(
    Worker.layer({ tasks: [Work], concurrency: 16, idleTimeout: "2 seconds" }).pipe(
      Layer.provide(Work.toLayer((n, { attempt }) => onRun(n, attempt))),
      Layer.provide(transport(options))
    ),
    scope
  )
  return Scope.close(scope, Exit.void)
})

test("a full queue refuses new jobs, finishes and retries the old ones, and takes new ones again", () => {
  const limits = { maxMessages: 100 }
  return run(
    Effect.gen(function*() {
      const accepted = []
      let refusal: string | undefined
      for (let n = 0; n < 300 && refusal === undefined; n++) {
        const outcome = yield* Effect.result(Work.enqueue(n, n % 3 === 0 ? { id: `named ${n}` } : {}))
        if (Result.isSuccess(outcome)) accepted.push(outcome.success)
        else if (outcome.failure instanceof TransportError) refusal = outcome.failure.reason._tag
      }
      expect(refusal).toBe("QueueFull")
      expect(accepted.length).toBe(100)
      // every fifth fails at first: its successor has to find room in the full queue
      yield* startWorker(
        (n, attempt) => n % 5 === 0 && attempt === 1 ? Effect.fail("later") : Effect.succeed(n),
        limits
      )
      const results = yield* Effect.forEach(accepted, (job) => job.await, { concurrency: "unbounded" })
      expect(results).toEqual(accepted.map((_, n) => n))
      // a refused one with a name left nothing behind
      for (let n = 100; n < 110; n++) expect(yield* (yield* Work.enqueue(n, { id: `named ${n}` })).await).toBe(n)
    }),
    limits
  )
}, 60_000)

test("streams that are deleted are made again: later jobs run", () =>
  run(Effect.gen(function*() {
    yield* startWorker((n) => Effect.succeed(n))
    expect(yield* (yield* Work.enqueue(1)).await).toBe(1)
    yield* Effect.promise(async () => {
      const admin = await connect({ servers: server.url })
      const manager = await jetstreamManager(admin)
      for (const name of ["troupe_W_work", "troupe_R_work", "troupe_T_work", "troupe_K_work"]) {
        await manager.streams.delete(name)
      }
      await admin.close()
    })
    const job = yield* Effect.retry(Work.enqueue(2), { times: 5, schedule: Schedule.spaced("500 millis") })
    expect(yield* job.await).toBe(2)
    expect(yield* (yield* Work.enqueue(3, { delay: "200 millis" })).await).toBe(3)
    expect(yield* (yield* Work.enqueue(4, { key: "k" })).await).toBe(4)
  })), 90_000)
