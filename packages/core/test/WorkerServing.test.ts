/** What a worker takes from its queues and how much of it at once. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const task = (tag: string, queue = "q") => Task.make(tag, { payload: Schema.String, queue })

const enqueue = (one: ReturnType<typeof task>, count: number) =>
  one.enqueueMany(Array.from({ length: count }, (_, i) => ({ payload: `${i}` })))

describe("prefetch and concurrency", () => {
  const A = task("A")

  const holding = (prefetch: number | undefined) =>
    Effect.gen(function*() {
      const spy = Spy.make(yield* Transport)
      const { arrived, open, pass } = yield* gate
      const { worker } = yield* run(
        Worker.layer({ tasks: [A], concurrency: 2, prefetch }).pipe(Layer.provide(A.toLayer(() => pass)))
      ).pipe(Effect.provideService(Transport, spy.transport))
      yield* enqueue(A, 20)
      yield* settle
      const { queued, running } = yield* JobQueue.stats("q")
      const held = yield* worker.held
      assert.strictEqual(yield* worker.running, 2)
      assert.strictEqual(arrived(), 2)
      yield* open
      yield* settle
      assert.strictEqual(yield* worker.finished, 20)
      return {
        queued,
        running,
        held,
        asked: Math.max(...spy.of("subscription.pull").map(({ args }) => Number(args[0])))
      }
    })

  it.effect("0 really fetches nothing ahead of free slots", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* holding(0), { queued: 18, running: 2, held: 2, asked: 2 })
    })))

  it.effect("1 fetches one", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* holding(1), { queued: 17, running: 3, held: 3, asked: 3 })
    })))

  it.effect("as many as run, by default", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* holding(undefined), { queued: 16, running: 4, held: 4, asked: 4 })
    })))

  it.effect("a task of its own limit does not take the slots of others", () =>
    program(Effect.gen(function*() {
      const B = task("B")
      const most = { A: 0, B: 0 }
      const now = { A: 0, B: 0 }
      const handler = (tag: "A" | "B") => () =>
        Effect.gen(function*() {
          most[tag] = Math.max(most[tag], ++now[tag])
          yield* Effect.sleep(100)
          now[tag]--
        })
      const { worker } = yield* run(
        Worker.layer({ tasks: [A, B], concurrency: 5, prefetch: 10, taskConcurrency: { A: 2 } }).pipe(
          Layer.provide([A.toLayer(handler("A")), B.toLayer(handler("B"))])
        )
      )
      yield* enqueue(A, 6)
      yield* enqueue(B, 6)
      yield* settle
      assert.deepStrictEqual(now, { A: 2, B: 3 })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* worker.finished, 12)
      assert.strictEqual(most.A, 2)
      assert.isAtLeast(most.B, 3)
    })))
})

describe("queues", () => {
  const A = task("A", "a")
  const B = task("B", "b")
  const handlers = Layer.mergeAll(A.toLayer(() => Effect.never), B.toLayer(() => Effect.never))

  it.effect("all of its tasks' queues, each with its own slots", () =>
    program(Effect.gen(function*() {
      const { worker } = yield* run(
        Worker.layer({ tasks: [A, B], concurrency: 2, prefetch: 0 }).pipe(Layer.provide(handlers))
      )
      yield* enqueue(A, 5)
      yield* enqueue(B, 5)
      yield* settle
      assert.deepStrictEqual([...worker.queues].sort(), ["a", "b"])
      assert.deepStrictEqual(
        [(yield* JobQueue.stats("a")).running, (yield* JobQueue.stats("b")).running, yield* worker.running],
        [2, 2, 4]
      )
    })))

  it.effect("only those that it was told", () =>
    program(Effect.gen(function*() {
      const { worker } = yield* run(Worker.layer({ tasks: [A, B], queues: ["b"] }).pipe(Layer.provide(handlers)))
      yield* enqueue(A, 1)
      yield* enqueue(B, 1)
      yield* settle
      assert.deepStrictEqual(worker.queues, ["b"])
      const a = yield* JobQueue.stats("a")
      const b = yield* JobQueue.stats("b")
      assert.deepStrictEqual([a.queued, a.running, a.consumers], [1, 0, 0])
      assert.deepStrictEqual([b.queued, b.running, b.consumers], [0, 1, 1])
      const { items: [info] } = yield* JobQueue.workers()
      assert.deepStrictEqual([info!.queues, info!.tasks], [["b"], ["B"]])
    })))
})

describe("priorities", () => {
  const A = task("A")

  const order = (priorities: ReadonlyArray<string> | undefined) =>
    Effect.gen(function*() {
      const started: Array<string> = []
      for (const priority of ["low", "normal", "high", "low", "high"]) yield* A.enqueue(priority, { priority })
      yield* run(
        Worker.layer({ tasks: [A], concurrency: 1, prefetch: 0, priorities }).pipe(
          Layer.provide(A.toLayer((name) => Effect.sync(() => void started.push(name))))
        )
      )
      yield* settle
      return { started, left: (yield* JobQueue.stats("q")).queued }
    })

  it.effect("the highest first", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* order(undefined), { started: ["high", "high", "normal", "low", "low"], left: 0 })
    })))

  it.effect("only those that it was told, in the order that it was told", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* order(["high", "low"]), { started: ["low", "low", "high", "high"], left: 1 })
    })))
})

describe("burst", () => {
  const A = Task.make("A", { payload: Schema.String, queue: "q", retry: Schedule.spaced("1 hour"), key: (key) => key })
  const B = task("B", "r")

  /** Runs a burst to its end, and says how long it took (ms). */
  const burst = (options: { readonly priorities?: ReadonlyArray<string> } = {}) =>
    Effect.gen(function*() {
      const before = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const running = yield* fork(
        Worker.burst({ tasks: [A, B], ...options }).pipe(Effect.provide([
          A.toLayer((name, { attempt }) => name === "fails" && attempt === 1 ? Effect.die("no") : Effect.sleep(200)),
          B.toLayer((name) => name === "spawns" ? Effect.asVoid(Effect.orDie(spawn)) : Effect.void)
        ]))
      )
      let elapsed = 0
      while (running.pollUnsafe() === undefined && elapsed < 10_000) {
        yield* settle
        yield* TestClock.adjust(50)
        elapsed = (yield* Effect.clockWith((clock) => clock.currentTimeMillis)) - before
      }
      return { report: yield* Fiber.join(running), elapsed }
    })
  let spawn: Effect.Effect<unknown, unknown> = Effect.void

  it.effect("ends at once when there is nothing to do", () =>
    program(Effect.gen(function*() {
      const { elapsed, report } = yield* burst()
      assert.deepStrictEqual(report, { finished: 0, scheduled: 0, queued: 0 })
      assert.isAtMost(elapsed, 50)
      assert.deepStrictEqual((yield* JobQueue.workers()).items, [])
    })))

  it.effect("runs what is due in all queues, and what that enqueues; counts what is not due", () =>
    program(Effect.gen(function*() {
      spawn = Effect.provide(B.enqueue("spawned"), yield* Effect.context<never>()) as Effect.Effect<unknown, unknown>
      yield* A.enqueue("one")
      yield* A.enqueue("fails")
      yield* A.enqueue("later", { delay: "1 hour" })
      yield* B.enqueue("spawns")
      const { elapsed, report } = yield* burst()
      assert.deepStrictEqual(report, { finished: 3, scheduled: 2, queued: 0 })
      assert.isAtMost(elapsed, 1_000)
    })))

  it.effect("does not wait for a paused queue", () =>
    program(Effect.gen(function*() {
      yield* A.enqueue("one")
      yield* B.enqueue("two")
      yield* JobQueue.pause("q")
      const { elapsed, report } = yield* burst()
      assert.deepStrictEqual(report, { finished: 1, scheduled: 0, queued: 1 })
      assert.isAtMost(elapsed, 3_000)
    })))

  it.effect("does not wait for a level that it does not serve, nor for a key whose head waits", () =>
    program(Effect.gen(function*() {
      yield* B.enqueue("two", { priority: "low" })
      yield* A.enqueue("fails")
      yield* A.enqueue("fails")
      const { elapsed, report } = yield* burst({ priorities: ["normal", "high"] })
      assert.deepStrictEqual(report, { finished: 0, scheduled: 1, queued: 2 })
      assert.isAtMost(elapsed, 3_000)
    })))
})
