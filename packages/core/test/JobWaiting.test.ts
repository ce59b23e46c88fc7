/** How a client waits: pushes first, behind them one batched re-read, and nothing while nobody waits. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../src/Client.ts"
import * as DeadLetter from "../src/DeadLetter.ts"
import { records } from "../src/Store.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

const Count = Task.make("Count", { payload: Schema.Number, success: Schema.Number, queue: "a", maxAttempts: 1 })
const Other = Task.make("Other", { payload: Schema.Number, success: Schema.Number, queue: "b" })

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const workers = (handler: (n: number) => Effect.Effect<number>) =>
  run(
    Worker.layer({ tasks: [Count, Other] }).pipe(Layer.provide([Count.toLayer(handler), Other.toLayer(handler)]))
  )

/** A client whose pushes can be lost and whose calls are counted. `onPlain` stands for other processes. */
const watched = <A, E, R>(
  body: (
    spy: Spy.Spy,
    faults: Faults.Faults,
    onPlain: <A, E, R>(effect: Effect.Effect<A, E, R | Transport>) => Effect.Effect<A, E, Exclude<R, Transport>>
  ) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function*() {
    const transport = yield* Transport
    const spy = Spy.make(transport)
    const faults = Faults.make(spy.transport)
    return yield* body(spy, faults, Effect.provideService(Transport, transport)).pipe(
      Effect.provide(Client.layer, { local: true }),
      Effect.provideService(Transport, faults.transport)
    )
  })

const keysOf = (call: Spy.Call) => (call.args[1] as ReadonlyArray<string>).length

describe("pushes", () => {
  it.effect("answer without time passing, also the second time and to whoever else asks", () =>
    program(Effect.gen(function*() {
      yield* workers(Effect.succeed)
      // the client listens from its first wait on
      yield* Effect.flatMap(Count.enqueue(0), (job) => job.await)
      const job = yield* Count.enqueue(7)
      const both = yield* Effect.all([job.await, job.await], { concurrency: 2 })
      assert.deepStrictEqual(both, [7, 7])
      assert.strictEqual(yield* job.await, 7)
      assert.strictEqual(yield* job.await, 7)
      const early = yield* Count.enqueue(8)
      yield* settle
      assert.strictEqual(yield* early.await, 8)
    })))

  it.effect("of an earlier job with the same id do not answer for the next one", () =>
    program(Effect.gen(function*() {
      yield* workers(Effect.succeed)
      yield* Effect.flatMap(Count.enqueue(0), (job) => job.await)
      yield* Count.enqueue(1, { id: "same" })
      yield* settle
      yield* TestClock.adjust("2 hours")
      const again = yield* Count.enqueue(2, { id: "same" })
      assert.isFalse(again.duplicate)
      assert.strictEqual(yield* again.await, 2)
    })))

  it.effect("end when nobody has waited for half a minute, and begin again with the next wait", () =>
    program(watched(Effect.fnUntraced(function*(_spy, faults, onPlain) {
      yield* onPlain(workers(Effect.succeed))
      let pushed = 0
      yield* faults.losePushes(({ topic }) => {
        if (topic[0] === "results") pushed++
        return false
      })
      yield* Effect.flatMap(Count.enqueue(0), (job) => job.await)
      const early = yield* Count.enqueue(1)
      yield* settle
      pushed = 0
      yield* TestClock.adjust("25 seconds")
      yield* Count.enqueue(2)
      yield* settle
      assert.strictEqual(pushed, 1)
      yield* TestClock.adjust("10 seconds")
      for (let n = 3; n < 10; n++) yield* Count.enqueue(n)
      const late = yield* Count.enqueue(10)
      yield* settle
      assert.strictEqual(pushed, 1)
      assert.deepStrictEqual([yield* early.await, yield* late.await], [1, 10])
      const next = yield* Count.enqueue(11)
      yield* settle
      assert.strictEqual(pushed, 2)
      assert.strictEqual(yield* next.await, 11)
    }))))

  for (const [name, awaitFirst] of [["awaited", true], ["not awaited", false]] as const) {
    it.effect(`of a failed run, ${name}, do not answer for its replay`, () =>
      program(Effect.gen(function*() {
        let broken = true
        yield* workers((n) => broken ? Effect.die("broken") : Effect.succeed(n))
        yield* Effect.ignore(Effect.flatMap(Count.enqueue(0), (job) => job.await))
        const job = yield* Count.enqueue(7)
        if (awaitFirst) assert.strictEqual((yield* Effect.flip(job.await))._tag, "JobFailed")
        yield* settle
        broken = false
        assert.deepStrictEqual(yield* DeadLetter.replay("a", [job.id]), ["done"])
        assert.strictEqual(yield* job.await, 7)
      })))
  }
})

describe("re-reads", () => {
  it.effect("one batch per queue every 5 seconds, whatever the number of waiters", () =>
    program(watched(Effect.fnUntraced(function*(spy, faults, onPlain) {
      const { open, pass } = yield* gate
      yield* onPlain(workers((n) => Effect.as(pass, n)))
      const jobs = yield* Effect.forEach(
        Array.from({ length: 60 }, (_, n) => n),
        (n) => n % 3 === 0 ? Other.enqueue(n) : Count.enqueue(n)
      )
      yield* faults.losePushes(true)
      const waiting = yield* fork(Effect.all(jobs.map((job) => job.await), { concurrency: "unbounded" }))
      yield* settle
      spy.forget()
      for (let round = 1; round <= 3; round++) {
        yield* TestClock.adjust(4_999)
        assert.strictEqual(spy.of("store.get").length, 2 * (round - 1))
        yield* TestClock.adjust(1)
        assert.strictEqual(spy.of("store.get").length, 2 * round)
      }
      assert.deepStrictEqual(spy.of("store.get").slice(0, 2).map(keysOf).sort(), [20, 40])
      yield* open
      yield* settle
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* Fiber.join(waiting), Array.from({ length: 60 }, (_, n) => n))
      // nobody waits any more
      spy.forget()
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(spy.calls, [])
    }))))

  it.effect("a waiter that gave up is not read for", () =>
    program(watched(Effect.fnUntraced(function*(spy) {
      const jobs = [yield* Count.enqueue(1), yield* Count.enqueue(2, { delay: "1 day" })]
      const waiting = yield* Effect.forEach(jobs, (job) => fork(job.await))
      yield* settle
      yield* Fiber.interrupt(waiting[0]!)
      spy.forget()
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(spy.of("store.get").map(keysOf), [1])
      yield* Fiber.interrupt(waiting[1]!)
      spy.forget()
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual(spy.calls, [])
      // waiting begins anew
      yield* fork(jobs[0]!.await)
      yield* TestClock.adjust("10 seconds")
      assert.isAbove(spy.of("store.get").length, 1)
    }))))

  it.effect("go on while the broker is away", () =>
    program(watched(Effect.fnUntraced(function*(_, faults, onPlain) {
      const { open, pass } = yield* gate
      yield* onPlain(workers((n) => Effect.as(pass, n)))
      const job = yield* Count.enqueue(7)
      yield* faults.losePushes(true)
      const waiting = yield* fork(job.await)
      yield* settle
      yield* faults.loseRequests(true)
      yield* open
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(waiting.pollUnsafe())
      yield* faults.loseRequests(false)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* Fiber.join(waiting), 7)
    }))))

  it.effect("survive a defect of the transport", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      let broken = false
      const store: typeof transport.store = {
        ...transport.store,
        get: (collection, keys) =>
          Effect.suspend(() => broken ? Effect.die("broken") : transport.store.get(collection, keys))
      }
      const faults = Faults.make({ ...transport, store })
      yield* Effect.gen(function*() {
        const { open, pass } = yield* gate
        yield* workers((n) => Effect.as(pass, n))
        const job = yield* Count.enqueue(7)
        yield* faults.losePushes(true)
        const waiting = yield* fork(job.await)
        yield* settle
        broken = true
        yield* TestClock.adjust("11 seconds")
        broken = false
        yield* open
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* Fiber.join(waiting), 7)
      }).pipe(
        Effect.provide(Client.layer, { local: true }),
        Effect.provideService(Transport, { ...faults.transport })
      )
    })))

  it.effect("a record that is no record fails its own waiter only", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const bad = yield* Deferred.make<void>()
      const store: typeof transport.store = {
        ...transport.store,
        get: (collection, keys) =>
          Effect.map(
            transport.store.get(collection, keys),
            (rows) =>
              rows.map((row, i) =>
                collection.name === records("a").name && keys[i] === "bad" && Deferred.isDoneUnsafe(bad)
                  ? { ...row, _tag: "Some", value: { value: new Uint8Array([1, 2, 3]), revision: 1 } } as typeof row
                  : row
              )
          )
      }
      const faults = Faults.make({ ...transport, store })
      yield* Effect.gen(function*() {
        const { open, pass } = yield* gate
        const jobs = [yield* Count.enqueue(1, { id: "bad" }), yield* Count.enqueue(2, { id: "good" })] as const
        yield* faults.losePushes(true)
        const waiting = [yield* fork(Effect.flip(jobs[0].await)), yield* fork(jobs[1].await)] as const
        yield* settle
        yield* Deferred.succeed(bad, undefined)
        yield* open
        yield* Effect.provideService(workers((n) => Effect.as(pass, n)), Transport, transport)
        yield* TestClock.adjust("5 seconds")
        assert.strictEqual(yield* Fiber.join(waiting[1]), 2)
        const error = yield* Fiber.join(waiting[0])
        assert.strictEqual(error._tag === "TransportError" && error.reason._tag, "Refused")
        assert.include(String(error), "reading the record of job \"bad\" of queue \"a\"")
        assert.strictEqual((yield* Effect.flip(jobs[0].status))._tag, "TransportError")
      }).pipe(
        Effect.provide(Client.layer, { local: true }),
        Effect.provideService(Transport, faults.transport)
      )
    })))
})
