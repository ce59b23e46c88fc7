/** What the simulation found, each as small as it gets. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"

const Work = Task.make("Work", { payload: Schema.Number, success: Schema.Number, queue: "findings" })

const settle = Effect.gen(function*() {
  for (let turn = 0; turn < 40; turn++) yield* Effect.yieldNow
})

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const handled = <A, E, R>(
  worker: Effect.Effect<A, E, R | Task.Handler<"Work">>,
  handler: (n: number) => Effect.Effect<number>
) => Effect.provide(worker, Work.toLayer(handler), { local: true })

describe("found by the simulation", () => {
  it.effect("a job that expires while it waits in a worker for a slot is not started", () =>
    Effect.gen(function*() {
      const started: Array<number> = []
      yield* handled(
        Worker.make({ tasks: [Work], concurrency: 1, prefetch: 1 }),
        (n) => Effect.as(Effect.andThen(Effect.sync(() => started.push(n)), Effect.sleep("5 seconds")), n)
      )
      const client = yield* Client.make
      const enqueue = (n: number, expiresIn: number) =>
        Effect.provideService(Work.enqueue(n, { expiresIn }), Client.Client, client)
      yield* enqueue(1, 60_000)
      yield* settle
      const late = yield* enqueue(2, 3_000)
      yield* settle
      assert.strictEqual(yield* late.status, "running")
      yield* TestClock.adjust("5 seconds")
      yield* settle
      assert.strictEqual(yield* late.status, "expired")
      assert.deepStrictEqual(started, [1])
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layer)))

  it.effect("who waits for a result waits for a broker that is away from the start", () =>
    Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      yield* handled(Worker.make({ tasks: [Work] }), Effect.succeed)
      const client = yield* Effect.provideService(Client.make, Transport, faults.transport)
      const job = yield* Effect.provideService(Work.enqueue(1), Client.Client, client)
      yield* faults.loseRequests(({ operation }) => operation === "listen")
      const own = yield* fork(job.await)
      const other = yield* fork(client.job(job.queue, job.id).awaitRecord)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual([own.pollUnsafe(), other.pollUnsafe()], [undefined, undefined])
      yield* faults.heal
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(own), 1)
      assert.strictEqual((yield* Fiber.join(other)).state, "succeeded")
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layer)))

  it.effect("an answer that comes late does not make others forget whom they wait for", () =>
    Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      yield* handled(Worker.make({ tasks: [Work] }), Effect.succeed)
      const client = yield* Effect.provideService(Client.make, Transport, faults.transport)
      const job = yield* Effect.provideService(Work.enqueue(1), Client.Client, client)
      yield* settle
      const wait = client.job(job.queue, job.id).awaitRecord
      // two reads of the same entry are under way
      yield* faults.stall(({ operation }) => operation === "get")
      const first = yield* fork(wait)
      yield* settle
      const second = yield* fork(wait)
      yield* settle
      // the first answers both, and the read of a third one gets lost while the second is still to answer
      let gets = 0
      yield* faults.loseRequests(({ operation }) => operation === "get" && ++gets === 3)
      const context = yield* Effect.context<never>()
      let third: Fiber.Fiber<unknown, unknown> | undefined
      first.addObserver(() => {
        third = Effect.runForkWith(context)(wait)
      })
      yield* faults.stall(false)
      yield* Fiber.join(second)
      yield* settle
      yield* TestClock.adjust("10 seconds")
      yield* settle
      assert.isDefined(third?.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layer)))

  it.effect("a slow answer about the broker's clock does not set the worker back", () =>
    Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      const started: Array<number> = []
      let slow = false
      yield* handled(
        Effect.provideService(Worker.make({ tasks: [Work], idleTimeout: "1 hour" }), Transport, {
          ...faults.transport,
          // answers at once and is heard of half a minute later
          clock: Effect.tap(faults.transport.clock, () => slow ? Effect.sleep("30 seconds") : Effect.void)
        }),
        (n) => Effect.as(Effect.sync(() => started.push(n)), n)
      )
      const client = yield* Client.make
      slow = true
      const options = { delay: "35 seconds", expiresIn: "10 seconds" } as const
      const job = yield* Effect.provideService(Work.enqueue(1, options), Client.Client, client)
      yield* TestClock.adjust("36 seconds")
      yield* settle
      assert.strictEqual(yield* job.status, "expired")
      assert.deepStrictEqual(started, [])
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layer)))
})
