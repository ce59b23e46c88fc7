/** What operators see and do. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"

const Work = Task.make("Work", { payload: Schema.String, success: Schema.String, queue: "q", maxAttempts: 1 })

const worker = (wait: Effect.Effect<void>, options: Partial<Parameters<typeof Worker.layer>[0]> = {}) =>
  Worker.layer({ id: "w", ...options, tasks: [Work] }).pipe(
    Layer.provide(Work.toLayer((name) => name === "fails" ? Effect.die("broken") : Effect.as(wait, name)))
  )

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("stats and list", () => {
  it.effect("of a queue that nobody ever used", () =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* JobQueue.stats("nobody"), {
        scheduled: 0,
        queued: 0,
        running: 0,
        dead: 0,
        oldestAge: undefined,
        consumers: 0,
        paused: false
      })
      assert.deepStrictEqual(yield* JobQueue.list("nobody", "queued"), { items: [], next: undefined })
    })))

  it.effect("count and show jobs by state", () =>
    program(Effect.gen(function*() {
      yield* run(worker(Effect.never, { concurrency: 1, prefetch: 0 }))
      yield* Work.enqueue("fails", { id: "dead" })
      yield* settle
      yield* Work.enqueue("runs", { id: "running" })
      yield* settle
      yield* Work.enqueue("waits", { id: "queued-1", priority: "low" })
      yield* TestClock.adjust(500)
      yield* Work.enqueue("waits", { id: "queued-2" })
      yield* Work.enqueue("later", { id: "scheduled", delay: "1 hour" })
      yield* TestClock.adjust(250)
      yield* JobQueue.pause("q")
      assert.deepStrictEqual(yield* JobQueue.stats("q"), {
        scheduled: 1,
        queued: 2,
        running: 1,
        dead: 1,
        oldestAge: 750,
        consumers: 1,
        paused: true
      })
      for (
        const [place, ids] of [
          ["scheduled", ["scheduled"]],
          ["queued", ["queued-1", "queued-2"]],
          ["running", ["running"]],
          ["dead", ["dead"]]
        ] as const
      ) {
        const { items, next } = yield* JobQueue.list("q", place)
        assert.deepStrictEqual(items.map(({ envelope }) => envelope.id).sort(), [...ids])
        assert.isTrue(items.every((one) => one.place === place))
        assert.isUndefined(next)
      }
      const { items: [later] } = yield* JobQueue.list("q", "scheduled")
      assert.strictEqual(later!.dueAt, 500 + 3_600_000)
    })))

  it.effect("lists come in pages", () =>
    program(Effect.gen(function*() {
      yield* Work.enqueueMany(Array.from({ length: 25 }, (_, i) => ({ payload: "x", options: { id: `${i}` } })))
      const seen: Array<string> = []
      let cursor: string | undefined
      let pages = 0
      do {
        const { items, next } = yield* JobQueue.list("q", "queued", { limit: 10, cursor })
        assert.isAtMost(items.length, 10)
        seen.push(...items.map(({ envelope }) => envelope.id))
        cursor = next
        pages++
      } while (cursor !== undefined)
      assert.isAtMost(pages, 4)
      assert.deepStrictEqual([...seen].sort(), Array.from({ length: 25 }, (_, i) => `${i}`).sort())
    })))
})

describe("pause", () => {
  it.effect("starts nothing new and hands back what waits; running jobs go on; resume goes on", () =>
    program(Effect.gen(function*() {
      const { arrived, open, pass } = yield* gate
      const { worker: self } = yield* run(worker(pass, { concurrency: 1, prefetch: 3 }))
      const jobs = yield* Effect.forEach(["1", "2", "3", "4"], (name) => Work.enqueue(name))
      yield* settle
      assert.strictEqual(yield* self.held, 4)
      yield* JobQueue.pause("q")
      yield* settle
      // told by the bus: no time passed
      assert.deepStrictEqual([yield* self.held, yield* self.running], [1, 1])
      assert.isTrue(yield* JobQueue.isPaused("q"))
      assert.strictEqual((yield* JobQueue.stats("q")).queued, 3)
      yield* open
      assert.strictEqual(yield* jobs[0]!.await, "1")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(arrived(), 1)
      yield* JobQueue.resume("q")
      assert.isFalse(yield* JobQueue.isPaused("q"))
      assert.deepStrictEqual(yield* Effect.all(jobs.map((job) => job.await)), ["1", "2", "3", "4"])
    })))

  it.effect("reaches a worker within a second when the message is lost", () =>
    program(Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      yield* faults.losePushes(true)
      yield* Effect.provideService(run(worker(Effect.void)), Transport, faults.transport)
      yield* JobQueue.pause("q")
      yield* TestClock.adjust("1 second")
      const job = yield* Work.enqueue("1")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* job.status, "queued")
      yield* JobQueue.resume("q")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* job.await, "1")
    })))

  it.effect("holds for workers that start later, twice is once, and only for its queue", () =>
    program(Effect.gen(function*() {
      yield* JobQueue.pause("q")
      yield* JobQueue.pause("q")
      yield* JobQueue.pause("other")
      yield* run(worker(Effect.void))
      const job = yield* Work.enqueue("1")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* job.status, "queued")
      yield* JobQueue.resume("other")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* job.status, "queued")
      yield* JobQueue.resume("q")
      yield* JobQueue.resume("q")
      assert.strictEqual(yield* job.await, "1")
    })))

  it.effect("a paused worker still drains", () =>
    program(Effect.gen(function*() {
      const { open, pass } = yield* gate
      const { stop } = yield* run(worker(pass))
      const job = yield* Work.enqueue("1")
      yield* settle
      yield* JobQueue.pause("q")
      const stopping = yield* fork(stop)
      yield* settle
      yield* JobQueue.resume("q")
      yield* Work.enqueue("2")
      yield* settle
      yield* open
      yield* Fiber.join(stopping)
      assert.strictEqual(yield* job.await, "1")
      assert.strictEqual((yield* JobQueue.stats("q")).queued, 1)
    })))
})

describe("purge", () => {
  it.effect("cancels what waits, tells who waits for it, and leaves the rest", () =>
    program(Effect.gen(function*() {
      yield* run(worker(Effect.never, { concurrency: 1, prefetch: 0 }))
      yield* Work.enqueue("fails", { id: "dead" })
      yield* settle
      const running = yield* Work.enqueue("runs")
      yield* settle
      const queued = yield* Work.enqueue("waits")
      yield* Work.enqueueMany(
        Array.from({ length: 600 }, (_, i) => ({
          payload: "x",
          options: i % 2 === 0 ? { delay: "1 hour" } as const : { key: "k" }
        }))
      )
      const waiting = yield* fork(Effect.flip(queued.await))
      yield* settle
      assert.strictEqual(yield* JobQueue.purge("q"), 601)
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "JobCancelled")
      const { dead, queued: left, running: busy, scheduled } = yield* JobQueue.stats("q")
      assert.deepStrictEqual([dead, left, busy, scheduled], [1, 0, 1, 0])
      assert.strictEqual(yield* running.status, "running")
      assert.strictEqual(yield* JobQueue.purge("q"), 0)
    })))
})

describe("workers", () => {
  it.effect("says who lives, what it serves and how busy it is", () =>
    program(Effect.gen(function*() {
      yield* TestClock.adjust(7_000)
      const { stop } = yield* run(worker(Effect.never, { concurrency: 3 }))
      yield* Work.enqueue("1")
      yield* Work.enqueue("fails")
      yield* settle
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* JobQueue.workers(), {
        items: [{
          id: "w",
          startedAt: 7_000,
          queues: ["q"],
          tasks: ["Work"],
          concurrency: 3,
          running: 1,
          finished: 1
        }],
        next: undefined
      })
      const stopping = yield* fork(stop)
      yield* TestClock.adjust("10 seconds")
      // it drains: it lives
      assert.strictEqual((yield* JobQueue.workers()).items.length, 1)
      yield* TestClock.adjust("20 seconds")
      yield* Fiber.join(stopping)
      assert.deepStrictEqual((yield* JobQueue.workers()).items, [])
    })))

  it.effect("come in pages, and forget a killed worker after 5 seconds", () =>
    program(Effect.gen(function*() {
      for (const id of ["a", "b", "c"]) yield* run(worker(Effect.void, { id }))
      const first = yield* JobQueue.workers({ limit: 2 })
      assert.strictEqual(first.items.length, 2)
      const second = yield* JobQueue.workers({ limit: 2, cursor: first.next })
      assert.deepStrictEqual([...first.items, ...second.items].map(({ id }) => id).sort(), ["a", "b", "c"])
      const { store } = yield* Transport
      const row = { name: "workers", queue: undefined, listable: true }
      yield* store.put(row, "killed", new TextEncoder().encode(JSON.stringify({ ...first.items[0]!, id: "killed" })), {
        timeToLive: 5_000
      })
      yield* store.put(row, "strange", new TextEncoder().encode("no worker"), { timeToLive: 5_000 })
      assert.deepStrictEqual((yield* JobQueue.workers()).items.map(({ id }) => id).sort(), ["a", "b", "c", "killed"])
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual((yield* JobQueue.workers()).items.map(({ id }) => id).sort(), ["a", "b", "c"])
    })))
})
