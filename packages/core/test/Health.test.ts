/** What a worker says of itself, on a broker that is told to misbehave. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../src/Client.ts"
import * as CronScheduler from "../src/CronScheduler.ts"
import { Health, layer, make, type Report } from "../src/Health.ts"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import * as Telemetry from "../src/Telemetry.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import { TransportError, Unavailable } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"

const A = Task.make("A", { payload: Schema.String, queue: "a" })
const B = Task.make("B", { queue: "b" })

const report = Effect.flatMap(Effect.service(Health), (health) => health.report)

/** `queue state @since` of each queue. */
const states = ({ workers }: Report) =>
  workers.flatMap(({ queues }) => queues.map(({ queue, since, state }) => `${queue} ${state} @${since}`))

const second = Effect.andThen(TestClock.adjust("1 second"), settle)

/** A worker of task A, and B if it is wanted, on a transport with faults. */
const start = Effect.fnUntraced(function*(
  handler: Effect.Effect<void> = Effect.void,
  wrap: (transport: Transport["Service"]) => Transport["Service"] = (transport) => transport
) {
  const faults = Faults.make(wrap(yield* Transport))
  const running = yield* run(
    Worker.layer({ tasks: [A, B], id: "w", concurrency: 1, prefetch: 0 }).pipe(
      Layer.provide([A.toLayer(() => handler), B.toLayer(() => Effect.void)])
    )
  ).pipe(Effect.provideService(Transport, faults.transport))
  yield* settle
  return { ...running, faults }
})

/** What the metric says of the queues, after the next look. */
const readiness = (recorded: ReadonlyMap<string, number>) => Effect.map(second, () => Object.fromEntries(recorded))

const test = (name: string, body: Parameters<typeof program>[0]) =>
  it.effect(name, () => program(Effect.provide(body, layer)))

describe("a process", () => {
  it.effect("is ready when all its workers are, and not before there is one", () =>
    Effect.gen(function*() {
      const health = make()
      assert.deepStrictEqual(yield* health.report, {
        ready: false,
        reasons: ["no worker runs"],
        workers: [],
        clients: []
      })
      const queue = { queue: "q", state: "pulling", since: 0, reason: undefined } as const
      yield* Effect.scoped(Effect.gen(function*() {
        yield* health.register(() => ({ id: "1", queues: [queue, { ...queue, state: "paused" }] }))
        assert.isTrue((yield* health.report).ready)
        yield* health.register(() => ({ id: "2", queues: [{ ...queue, state: "failing", reason: "no rights" }] }))
        assert.deepStrictEqual((yield* health.report).reasons, ["queue \"q\" is failing: no rights"])
      }))
      assert.deepStrictEqual((yield* health.report).workers, [])
    }))

  it.effect("that is said to run is ready without a worker, and never while it starts or stops", () =>
    Effect.gen(function*() {
      const health = make()
      health.enter("running")
      assert.isTrue((yield* health.report).ready)
      health.enter("stopping")
      yield* health.register(() => ({ id: "1", queues: [] }))
      assert.deepStrictEqual((yield* health.report).reasons, ["the process is stopping"])
      health.enter("starting")
      assert.deepStrictEqual((yield* health.report).reasons, ["the process is starting"])
    }))
})

describe("a worker", () => {
  test(
    "is ready while it pulls, whether there are jobs or not",
    Effect.gen(function*() {
      yield* start()
      assert.deepStrictEqual(states(yield* report), ["a pulling @0", "b pulling @0"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(states(yield* report), ["a pulling @0", "b pulling @0"])
      assert.isTrue((yield* report).ready)
    })
  )

  test(
    "is not ready before it has subscribed",
    Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      yield* faults.stall(({ operation }) => operation === "subscribe")
      const starting = yield* Effect.forkChild(
        Effect.provideService(
          run(
            Worker.layer({ tasks: [B] }).pipe(Layer.provide(B.toLayer(() => Effect.void)))
          ),
          Transport,
          faults.transport
        ),
        { startImmediately: true }
      )
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["b starting @0"])
      assert.deepStrictEqual((yield* report).reasons, ["queue \"b\" is starting"])
      yield* second
      yield* faults.heal
      yield* Fiber.join(starting)
      assert.deepStrictEqual(states(yield* report), ["b pulling @1000"])
    })
  )

  test(
    "says that the broker is away, and comes back by itself",
    Effect.gen(function*() {
      const { faults } = yield* start()
      yield* TestClock.adjust("10 seconds")
      yield* faults.loseRequests(true)
      assert.isTrue((yield* report).ready)
      yield* second
      const away = yield* report
      assert.isFalse(away.ready)
      // last heard of a second ago
      assert.deepStrictEqual(states(away), ["a disconnected @10000", "b disconnected @10000"])
      assert.match(away.reasons[0]!, /^queue "a" is disconnected: The broker did not answer get: /)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(states(yield* report), ["a disconnected @10000", "b disconnected @10000"])
      yield* faults.heal
      yield* second
      assert.deepStrictEqual(states(yield* report), ["a pulling @72000", "b pulling @72000"])
      assert.isTrue((yield* report).ready)
    })
  )

  test(
    "does not take silence for an answer",
    Effect.gen(function*() {
      const { faults } = yield* start()
      yield* TestClock.adjust("10 seconds")
      yield* faults.stall(true)
      yield* TestClock.adjust("3 seconds")
      assert.isTrue((yield* report).ready)
      yield* TestClock.adjust("1 millis")
      const away = yield* report
      assert.deepStrictEqual(states(away), ["a disconnected @10000", "b disconnected @10000"])
      assert.deepStrictEqual(away.reasons[0], "queue \"a\" is disconnected: the broker has not answered for 3001 ms")
      yield* faults.heal
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a pulling @13001", "b pulling @13001"])
    })
  )

  test(
    "tells the queue that is away from one that is not",
    Effect.gen(function*() {
      let away = false
      yield* start(Effect.void, (transport) => ({
        ...transport,
        store: {
          ...transport.store,
          get: (collection, keys) =>
            Effect.suspend(() =>
              away && collection.queue === "a"
                ? Effect.fail(
                  new TransportError({ reason: new Unavailable({ operation: "get", description: "moved" }) })
                )
                : transport.store.get(collection, keys)
            )
        }
      }))
      away = true
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(states(yield* report), ["a disconnected @0", "b pulling @0"])
      assert.lengthOf((yield* report).reasons, 1)
    })
  )

  test(
    "says that pulls fail though the broker answers, until one of them works",
    Effect.gen(function*() {
      const { faults } = yield* start()
      yield* faults.loseReplies(({ operation }) => operation === "pull")
      yield* A.enqueue("lost")
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a failing @0", "b pulling @0"])
      assert.match((yield* report).reasons.join(), /^queue "a" is failing: .*its reply was lost on purpose/)
      // a pull that waits for jobs works if it does not fail soon
      yield* second
      yield* second
      assert.deepStrictEqual(states(yield* report), ["a pulling @2000", "b pulling @0"])
      yield* A.enqueue("lost again")
      yield* settle
      assert.isFalse((yield* report).ready)
      yield* faults.heal
      yield* A.enqueue("at last")
      yield* TestClock.adjust("200 millis")
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a pulling @2200", "b pulling @0"])
    })
  )

  test(
    "is counted as long as it is ready",
    Effect.gen(function*() {
      const recorded = new Map<string, number>()
      const recorder: Telemetry.Recorder = {
        bind: ({ name }, attributes) => {
          const queue = String(attributes["messaging.destination.name"])
          return (value) => {
            if (name === "job.worker.ready") recorded.set(queue, (recorded.get(queue) ?? 0) + value)
          }
        }
      }
      const { open, pass } = yield* gate
      const { faults, stop } = yield* Effect.provideService(start(pass), Telemetry.Recorder, recorder)
      assert.deepStrictEqual(yield* readiness(recorded), { a: 1, b: 1 })
      yield* faults.loseRequests(true)
      assert.deepStrictEqual(yield* Effect.andThen(second, readiness(recorded)), { a: 0, b: 0 })
      yield* faults.heal
      assert.deepStrictEqual(yield* Effect.andThen(second, readiness(recorded)), { a: 1, b: 1 })
      yield* A.enqueue("long")
      yield* settle
      const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
      assert.deepStrictEqual(yield* readiness(recorded), { a: 0, b: 0 })
      yield* open
      yield* Fiber.join(stopping)
      // what was told is taken back
      assert.deepStrictEqual(Object.fromEntries(recorded), { a: 0, b: 0 })
    })
  )

  test(
    "is ready with a queue that is paused, and says so",
    Effect.gen(function*() {
      yield* start()
      yield* second
      yield* JobQueue.pause("a")
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a paused @1000", "b pulling @0"])
      assert.isTrue((yield* report).ready)
      yield* second
      yield* JobQueue.resume("a")
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a pulling @2000", "b pulling @0"])
    })
  )

  test(
    "is not ready from the first moment of its drain on, whatever the broker does",
    Effect.gen(function*() {
      const { open, pass } = yield* gate
      const { faults, stop } = yield* start(pass)
      yield* A.enqueue("long")
      yield* settle
      const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
      assert.deepStrictEqual(states(yield* report), ["a draining @0", "b draining @0"])
      assert.deepStrictEqual((yield* report).reasons, ["queue \"a\" is draining", "queue \"b\" is draining"])
      yield* faults.stall(({ operation }) => operation === "get")
      yield* TestClock.adjust("10 seconds")
      yield* JobQueue.pause("a")
      yield* settle
      assert.deepStrictEqual(states(yield* report), ["a draining @0", "b draining @0"])
      yield* faults.heal
      yield* open
      yield* Fiber.join(stopping)
      assert.deepStrictEqual(yield* report, { ready: false, reasons: ["no worker runs"], workers: [], clients: [] })
    })
  )
})

describe.each([
  ["a client", Effect.asVoid(Client.make)],
  ["a scheduler", Effect.asVoid(CronScheduler.make)]
])("%s", (_, part) => {
  /** One part, in a process that runs without a worker, on a transport with faults. */
  const started = Effect.gen(function*() {
    const health = yield* Health
    health.enter("running")
    health.watch()
    const faults = Faults.make(yield* Transport)
    yield* Effect.provideService(part, Transport, faults.transport)
    yield* settle
    return faults
  })

  /** `state @since` of each. */
  const standing = Effect.map(report, ({ clients }) => clients.map(({ since, state }) => `${state} @${since}`))

  test(
    "is connected whether it does anything or not, until its scope closes",
    Effect.gen(function*() {
      yield* Effect.scoped(Effect.gen(function*() {
        yield* started
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* standing, ["connected @0"])
        assert.isTrue((yield* report).ready)
      }))
      assert.deepStrictEqual(yield* standing, [])
    })
  )

  test(
    "makes its process not ready while the broker is away, and comes back by itself",
    Effect.scoped(Effect.gen(function*() {
      const faults = yield* started
      yield* TestClock.adjust("10 seconds")
      yield* faults.loseRequests(true)
      yield* second
      const { clients: [away], ready, reasons } = yield* report
      assert.isFalse(ready)
      assert.lengthOf(reasons, 1)
      assert.strictEqual(reasons[0], `client "${away!.id}" is disconnected: ${away!.reason}`)
      assert.match(away!.reason!, /^The broker did not answer get: /)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* standing, ["disconnected @10000"])
      yield* faults.heal
      yield* second
      assert.deepStrictEqual(yield* standing, ["connected @72000"])
      assert.isTrue((yield* report).ready)
    }))
  )

  test(
    "does not take silence for an answer",
    Effect.scoped(Effect.gen(function*() {
      const faults = yield* started
      yield* TestClock.adjust("10 seconds")
      yield* faults.stall(true)
      yield* TestClock.adjust("3 seconds")
      assert.isTrue((yield* report).ready)
      yield* TestClock.adjust("1 millis")
      assert.match(
        (yield* report).reasons.join(),
        /^client ".*" is disconnected: the broker has not answered for 3001 ms$/
      )
      yield* faults.heal
      yield* settle
      assert.deepStrictEqual(yield* standing, ["connected @13001"])
    }))
  )
})

describe("a client that nobody watches", () => {
  test(
    "is looked at from when somebody does, however late",
    Effect.scoped(Effect.gen(function*() {
      yield* Client.make
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* report).clients, [])
      const health = yield* Health
      health.watch()
      yield* settle
      const watched = Effect.map(report, ({ clients }) => clients.map(({ since, state }) => `${state} @${since}`))
      assert.deepStrictEqual(yield* watched, ["connected @3600000"])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* watched, ["connected @3600000"])
    }))
  )
})
