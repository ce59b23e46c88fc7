/** How a worker starts, what it serves and what it owns. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import { TransportError, Unavailable } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import { Logs } from "./fixtures/logs.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** A service that notes when it comes and goes. */
const traced = (name: string, trace: Array<string>) => {
  class Resource extends Context.Service<Resource, string>()(`test/${name}`) {}
  const layer = Layer.effect(
    Resource,
    Effect.acquireRelease(
      Effect.sync(() => {
        trace.push(`acquire ${name}`)
        return name
      }),
      () => Effect.sync(() => void trace.push(`release ${name}`))
    )
  )
  return { Resource, layer }
}

describe("start", () => {
  const Plain = Task.make("Plain", { queue: "start" })
  const PlainLive = Plain.toLayer(() => Effect.void)
  const plain = (id: string) => Worker.layer({ tasks: [Plain], id }).pipe(Layer.provide(PlainLive))

  it.effect("two tasks with one tag: the error names both", () =>
    program(Effect.gen(function*() {
      const Twin = Task.make("Plain", { queue: "other" })
      const error = yield* Effect.flip(run(
        Worker.layer({ tasks: [Plain, Twin] }).pipe(Layer.provide(PlainLive))
      ))
      assert.strictEqual(
        error.message,
        "The worker did not start: two tasks have the tag \"Plain\": task \"Plain\" of queue \"start\" and " +
          "task \"Plain\" of queue \"other\". Rename one of them."
      )
    })))

  it.effect("a handler of another definition with the same tag", () =>
    program(Effect.gen(function*() {
      const Twin = Task.make("Plain", { queue: "start" })
      const error = yield* Effect.flip(run(Worker.layer({ tasks: [Twin] }).pipe(Layer.provide(PlainLive))))
      assert.strictEqual(
        error.message,
        "The worker did not start: the handler of task \"Plain\" was built from another definition: " +
          "call toLayer on the task that the worker lists."
      )
    })))

  it.effect("a live worker with the same id, while the first goes on", () =>
    program(Effect.gen(function*() {
      yield* run(plain("same"))
      const second = yield* fork(Effect.flip(run(plain("same"))))
      yield* TestClock.adjust("2 seconds")
      const error = yield* Fiber.join(second)
      assert.strictEqual(
        error.message,
        "The worker did not start: another live worker has the id \"same\": give each worker its own id, or none."
      )
      yield* Effect.flatMap(Plain.enqueue(), (job) => job.await)
    })))

  it.effect("the id of a worker that stopped is free at once", () =>
    program(Effect.gen(function*() {
      const first = yield* run(plain("same"))
      yield* first.stop
      yield* run(plain("same"))
      yield* Effect.flatMap(Plain.enqueue(), (job) => job.await)
    })))

  it.effect("the id of a worker that was killed is free when its row has ended", () =>
    program(Effect.gen(function*() {
      const { store } = yield* Transport
      // what a killed worker leaves: a row that nobody renews
      yield* store.put({ name: "workers", queue: undefined, listable: true }, "same", new Uint8Array(1), {
        timeToLive: 5_000
      })
      const second = yield* fork(run(plain("same")))
      yield* TestClock.adjust("4900 millis")
      assert.isUndefined(second.pollUnsafe())
      const { matching } = yield* Logs
      assert.strictEqual(matching("Another worker \"same\" was here").length, 1)
      yield* TestClock.adjust("600 millis")
      yield* Fiber.join(second)
    })))

  it.effect("a start that fails half-way runs nothing on, and hands back what it took", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const trace: Array<string> = []
      const First = Task.make("First", { queue: "first" })
      const Second = Task.make("Second", { queue: "second" })
      const pulled = yield* Deferred.make<void>()
      const { Resource, layer } = traced("resource", trace)
      const FirstLive = First.toLayer(Effect.fnUntraced(function*() {
        yield* Resource
        yield* Deferred.succeed(pulled, undefined)
        yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => void trace.push("interrupted")))
      }))
      // the second queue's pause flag cannot be read, but only once the first queue has a job at work
      const broken: Transport["Service"] = {
        ...transport,
        store: {
          ...transport.store,
          get: (collection, keys) =>
            collection.name === "pauses" && collection.queue === "second"
              ? Effect.andThen(
                Deferred.await(pulled),
                Effect.fail(new TransportError({ reason: new Unavailable({ operation: "get", description: "away" }) }))
              )
              : transport.store.get(collection, keys)
        }
      }
      const job = yield* First.enqueue()
      const start = run(
        Worker.layer({ tasks: [First, Second], gracePeriod: 0 }).pipe(
          Layer.provide([FirstLive.pipe(Layer.provide(layer)), Second.toLayer(() => Effect.void)])
        )
      ).pipe(Effect.provideService(Transport, broken))
      const starting = yield* fork(Effect.exit(start))
      yield* settle
      const exit = yield* Fiber.join(starting)
      assert.isTrue(Exit.isFailure(exit))
      yield* settle
      assert.deepStrictEqual(trace, ["acquire resource", "interrupted", "release resource"])
      assert.strictEqual(yield* job.status, "queued")
      assert.strictEqual((yield* transport.log.stats("first")).consumers, 0)
    })))
})

describe("lifespan", () => {
  it.effect("what handlers' Layers acquire comes before the first job and goes after the last, in reverse", () =>
    program(Effect.gen(function*() {
      const trace: Array<string> = []
      const database = traced("database", trace)
      const mailer = traced("mailer", trace)
      const A = Task.make("A", { payload: Schema.Number })
      const B = Task.make("B", { payload: Schema.Number })
      const note = (text: string) => Effect.sync(() => void trace.push(text))
      const ALive = A.toLayer(Effect.gen(function*() {
        yield* database.Resource
        yield* Effect.acquireRelease(note("acquire A"), () => note("release A"))
        return (n) => note(`A ${n}`)
      })).pipe(Layer.provide(database.layer))
      const BLive = B.toLayer(Effect.gen(function*() {
        yield* mailer.Resource
        return (n) => note(`B ${n}`)
      })).pipe(Layer.provide(mailer.layer), Layer.provide(database.layer))
      yield* A.enqueueMany([1, 2, 3].map((payload) => ({ payload })))
      yield* B.enqueue(4)
      const { stop, worker } = yield* run(
        Worker.layer({ tasks: [A, B], concurrency: 1 }).pipe(
          Layer.provide(BLive),
          Layer.provide(ALive)
        )
      )
      yield* settle
      yield* worker.idle
      yield* stop
      const jobs = trace.filter((one) => /^[AB] /.test(one))
      assert.deepStrictEqual([...jobs].sort(), ["A 1", "A 2", "A 3", "B 4"])
      const acquired = trace.filter((one) => one.startsWith("acquire"))
      const released = trace.filter((one) => one.startsWith("release"))
      // each once, however many handlers use it and jobs run
      assert.deepStrictEqual([...acquired].sort(), ["acquire A", "acquire database", "acquire mailer"])
      assert.deepStrictEqual(released.map((one) => one.replace("release", "acquire")), [...acquired].reverse())
      assert.deepStrictEqual(trace, [...acquired, ...jobs, ...released])
    })))

  it.effect("what was acquired is released in reverse when another Layer fails to build", () =>
    program(Effect.gen(function*() {
      const trace: Array<string> = []
      const first = traced("first", trace)
      const second = traced("second", trace)
      const A = Task.make("A")
      const ALive = A.toLayer(Effect.gen(function*() {
        yield* first.Resource
        yield* second.Resource
        return yield* Effect.fail("no such file")
      })).pipe(Layer.provide(second.layer), Layer.provide(first.layer))
      const job = yield* A.enqueue()
      assert.strictEqual(
        yield* Effect.flip(run(Worker.layer({ tasks: [A] }).pipe(Layer.provide(ALive)))),
        "no such file"
      )
      const acquired = trace.filter((one) => one.startsWith("acquire"))
      assert.strictEqual(acquired.length, 2)
      assert.deepStrictEqual(
        trace,
        [...acquired, ...[...acquired].reverse().map((one) => one.replace("acquire", "release"))]
      )
      assert.strictEqual(yield* job.status, "queued")
    })))

  it.effect("two workers in one process that share a Layer share what it acquires", () =>
    program(Effect.gen(function*() {
      const trace: Array<string> = []
      const { Resource, layer } = traced("pool", trace)
      const A = Task.make("A", { queue: "a" })
      const ALive = A.toLayer(Effect.as(Resource, () => Effect.void)).pipe(Layer.provide(layer))
      const one = Worker.layer({ tasks: [A], id: "one" }).pipe(Layer.provide(ALive))
      const two = Worker.layer({ tasks: [A], id: "two" }).pipe(Layer.provide(ALive))
      yield* Effect.scoped(Layer.build(Layer.merge(one, two)))
      assert.deepStrictEqual(trace, ["acquire pool", "release pool"])
    })))

  it.effect("handlers are released after the jobs that they run on when the worker stops", () =>
    program(Effect.gen(function*() {
      const trace: Array<string> = []
      const { Resource, layer } = traced("pool", trace)
      const A = Task.make("A", { payload: Schema.Number })
      const ALive = A.toLayer(Effect.fnUntraced(function*(n) {
        yield* Resource
        yield* Effect.sleep(n)
        trace.push(`ran ${n}`)
      })).pipe(Layer.provide(layer))
      yield* A.enqueueMany([100, 200].map((payload) => ({ payload })))
      const { stop } = yield* run(Worker.layer({ tasks: [A] }).pipe(Layer.provide(ALive)))
      yield* settle
      const stopping = yield* fork(stop)
      yield* TestClock.adjust(200)
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(trace, ["acquire pool", "ran 100", "ran 200", "release pool"])
    })))
})

describe("logs", () => {
  const Log = Task.make("Log", { payload: Schema.Number, queue: "logs" })
  const LogLive = Log.toLayer((n) => n === 0 ? Effect.die("broken") : Effect.sleep(n))
  const worker = Worker.layer({ tasks: [Log], id: "w", idleTimeout: "3 seconds" }).pipe(Layer.provide(LogLive))

  it.effect("debug logs show hand-outs, leases and settlements", () =>
    program(
      Effect.gen(function*() {
        const { matching } = yield* Logs
        yield* run(worker)
        yield* Log.enqueue(2_000, { id: "slow" })
        yield* Log.enqueue(0, { id: "broken" })
        yield* settle
        assert.strictEqual(matching("Handed out", "\"slow\"", "\"queue\":\"logs\"", "\"task\":\"Log\"").length, 1)
        assert.strictEqual(matching("Start", "\"slow\"", "\"attempt\":1").length, 1)
        assert.strictEqual(matching("Settlement Forward: settled", "\"broken\"").length, 1)
        assert.strictEqual(matching("Leases renewed").length, 0)
        yield* TestClock.adjust(1_000)
        assert.isAbove(matching("Leases renewed", "\"queue\":\"logs\"", "\"renewed\":1", "\"lost\":0").length, 0)
        yield* TestClock.adjust(1_000)
        assert.strictEqual(matching("Settlement Ack: settled", "\"slow\"").length, 1)
      }),
      { logs: "Debug" }
    ))

  it.effect("at the usual level jobs are not logged, start and drain are", () =>
    program(Effect.gen(function*() {
      const { lines, matching } = yield* Logs
      const { stop } = yield* run(worker)
      yield* Effect.flatMap(Log.enqueue(1), (job) =>
        Effect.andThen(settle, Effect.andThen(TestClock.adjust(1), job.await)))
      yield* stop
      assert.strictEqual(matching("Worker \"w\" started on transport \"memory\": queues logs; tasks Log;").length, 1)
      assert.strictEqual(matching("Worker \"w\" drains 0 jobs in hand").length, 1)
      assert.strictEqual(lines.length, 2)
    })))
})

it.effect("without a memory broker of its own, a worker serves the one that it is given", () =>
  program(Effect.gen(function*() {
    const A = Task.make("A", { success: Schema.String })
    const own = Worker.layer({ tasks: [A] }).pipe(
      Layer.provide(A.toLayer(() => Effect.succeed("done"))),
      Layer.provide(Layer.fresh(MemoryTransport.layer))
    )
    yield* run(own)
    const job = yield* A.enqueue()
    yield* settle
    assert.strictEqual(yield* job.status, "queued")
  })))
