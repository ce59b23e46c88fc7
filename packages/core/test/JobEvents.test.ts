/** Lifecycle events and progress: who hears what, and that nobody pays while nobody listens. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../src/Client.ts"
import * as Job from "../src/Job.ts"
import * as JobEvents from "../src/JobEvents.ts"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { gate, otherClient, program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

const Work = Task.make("Work", {
  payload: Schema.String,
  success: Schema.String,
  queue: "work",
  maxAttempts: 2,
  retry: Schedule.spaced(100)
})
const Other = Task.make("Other", { payload: Schema.String, queue: "other" })

const handlers = Layer.mergeAll(
  Work.toLayer(Effect.fnUntraced(function*(name, execution) {
    if (name === "fails") return yield* Effect.die("broken")
    if (name === "retries" && execution.attempt === 1) return yield* Effect.die("once")
    if (name === "snoozes" && execution.deliveries === 1 && snoozes-- > 0) {
      return yield* new Task.Snooze({ delay: Duration.millis(50) })
    }
    if (name === "waits") return yield* Effect.never
    yield* execution.progress({ name })
    return name
  })),
  Other.toLayer(() => Effect.void)
)
let snoozes = 1

const worker = Worker.layer({ tasks: [Work, Other], gracePeriod: 0 }).pipe(Layer.provide(handlers))

/** Collects events for as long as the test lasts, and lets everybody hear of the listener. */
const listen = Effect.fnUntraced(function*(filter?: JobEvents.Filter) {
  const heard: Array<JobEvents.JobEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEach(JobEvents.stream(filter), (event) => Effect.sync(() => void heard.push(event))),
    { startImmediately: true }
  )
  yield* settle
  return { heard, of: (id: string) => heard.filter((one) => one.id === id).map((one) => one._tag) }
})

describe("events", () => {
  it.effect("tell the life of a job", () =>
    program(Effect.gen(function*() {
      snoozes = 1
      const { of } = yield* listen()
      const { stop } = yield* run(worker)
      yield* TestClock.adjust("1 second")
      for (const id of ["succeeds", "fails", "retries", "snoozes", "waits"]) yield* Work.enqueue(id, { id })
      yield* Work.enqueue("late", { id: "expires", expiresIn: 10, delay: 20 })
      yield* Effect.flatMap(Work.enqueue("cancelled", { id: "cancelled", delay: 10 }), (job) => job.cancel)
      yield* settle
      yield* TestClock.adjust("1 second")
      yield* stop
      yield* settle
      assert.deepStrictEqual(of("succeeds"), ["Enqueued", "Started", "Progress", "Succeeded"])
      assert.deepStrictEqual(of("fails"), ["Enqueued", "Started", "Retried", "Started", "Failed", "DeadLettered"])
      assert.deepStrictEqual(of("retries"), ["Enqueued", "Started", "Retried", "Started", "Progress", "Succeeded"])
      assert.deepStrictEqual(of("snoozes"), ["Enqueued", "Started", "Snoozed", "Started", "Progress", "Succeeded"])
      assert.deepStrictEqual(of("waits"), ["Enqueued", "Started", "Released"])
      assert.deepStrictEqual(of("expires"), ["Enqueued", "Expired"])
      assert.deepStrictEqual(of("cancelled"), ["Enqueued", "Cancelled"])
    })))

  it.effect("carry what an observer needs", () =>
    program(Effect.gen(function*() {
      const { heard } = yield* listen()
      yield* run(worker)
      yield* TestClock.adjust("1 second")
      yield* Work.enqueue("retries", { id: "1" })
      yield* settle
      yield* TestClock.adjust("1 second")
      const base = { queue: "work", task: "Work", id: "1" }
      assert.deepStrictEqual(heard, [
        { _tag: "Enqueued", ...base, at: 1_000, attempt: 1 },
        { _tag: "Started", ...base, at: 1_000, attempt: 1 },
        { _tag: "Retried", ...base, at: 1_000, attempt: 1, delay: 100, reason: "once" },
        { _tag: "Started", ...base, at: 1_100, attempt: 2 },
        { _tag: "Progress", ...base, at: 1_100, attempt: 2, value: { name: "retries" } },
        { _tag: "Succeeded", ...base, at: 1_100, attempt: 2 }
      ])
    })))

  it.effect("are filtered by queue, task and job", () =>
    program(Effect.gen(function*() {
      const all = yield* listen()
      const byQueue = yield* listen({ queue: "other" })
      const byTask = yield* listen({ task: "Work" })
      const byId = yield* listen({ id: "2" })
      const none = yield* listen({ queue: "other", task: "Work" })
      yield* run(worker)
      yield* TestClock.adjust("1 second")
      yield* Work.enqueue("one", { id: "1" })
      yield* Work.enqueue("two", { id: "2" })
      yield* Other.enqueue("three", { id: "3" })
      yield* settle
      const ids = (heard: ReadonlyArray<JobEvents.JobEvent>) => [...new Set(heard.map(({ id }) => id))].sort()
      assert.deepStrictEqual(ids(all.heard), ["1", "2", "3"])
      assert.deepStrictEqual(ids(byQueue.heard), ["3"])
      assert.deepStrictEqual(ids(byTask.heard), ["1", "2"])
      assert.deepStrictEqual(ids(byId.heard), ["2"])
      assert.deepStrictEqual(none.heard, [])
    })))

  it.effect("a purge says which jobs it cancelled", () =>
    program(Effect.gen(function*() {
      const { of } = yield* listen({ queue: "work" })
      yield* Work.enqueue("one", { id: "1" })
      yield* Work.enqueue("two", { id: "2", delay: "1 hour" })
      yield* settle
      assert.strictEqual(yield* JobQueue.purge("work"), 2)
      yield* settle
      assert.deepStrictEqual(of("1").at(-1), "Cancelled")
      assert.deepStrictEqual(of("2").at(-1), "Cancelled")
    })))

  it.effect("are not published while nobody listens, nor for queues that nobody listens to", () =>
    program(Effect.gen(function*() {
      const spy = Spy.make(yield* Transport)
      const published = () =>
        spy.of("bus.publish").filter(({ args: [topic] }) => (topic as Array<string>)[0] === "events")
      yield* Effect.gen(function*() {
        yield* run(worker)
        const work = (id: string) =>
          Effect.gen(function*() {
            yield* Work.enqueue("one", { id: `${id}-a` })
            yield* Other.enqueue("two", { id: `${id}-b` })
            yield* Effect.flatMap(Work.enqueue("three", { id: `${id}-c`, delay: 10 }), (job) => job.cancel)
            yield* settle
          })
        yield* work("before")
        assert.deepStrictEqual(published(), [])

        const listening = yield* Effect.forkChild(Stream.runDrain(JobEvents.stream({ queue: "other" })), {
          startImmediately: true
        })
        yield* settle
        spy.forget()
        yield* work("during")
        assert.isAbove(published().length, 0)
        assert.isTrue(published().every(({ args: [topic] }) => (topic as Array<string>)[1] === "other"))

        yield* Fiber.interrupt(listening)
        yield* TestClock.adjust("3 seconds")
        spy.forget()
        yield* work("after")
        assert.deepStrictEqual(published(), [])
      }).pipe(Effect.provide(Client.layer, { local: true }), Effect.provideService(Transport, spy.transport))
    })))

  it.effect("of one turn travel together", () =>
    program(Effect.gen(function*() {
      const spy = Spy.make(yield* Transport)
      yield* Effect.gen(function*() {
        const { heard } = yield* listen({ queue: "work" })
        spy.forget()
        yield* Work.enqueueMany(Array.from({ length: 100 }, (_, i) => ({ payload: `${i}` })))
        yield* settle
        assert.strictEqual(heard.length, 100)
        assert.isAtMost(spy.of("bus.publish").length, 3)
      }).pipe(Effect.provide(Client.layer, { local: true }), Effect.provideService(Transport, spy.transport))
    })))
})

describe("progress", () => {
  const Steps = Task.make("Steps", { payload: Schema.Number, success: Schema.String, queue: "steps" })

  it.effect("is a stream of what the handler says, and ends with the job", () =>
    program(Effect.gen(function*() {
      const { open, pass } = yield* gate
      yield* run(
        Worker.layer({ tasks: [Steps] }).pipe(
          Layer.provide(Steps.toLayer(Effect.fnUntraced(function*(count, execution) {
            yield* pass
            for (let step = 1; step <= count; step++) yield* execution.progress({ step, of: [count], note: null })
            return "done"
          })))
        )
      )
      const job = yield* Steps.enqueue(3)
      const other = yield* Effect.provideService(Job.fromId(Steps, job.id), Client.Client, yield* otherClient)
      const another = yield* Steps.enqueue(1)
      const collected = yield* Effect.forEach(
        [job, other, another],
        (one) => Effect.forkChild(Stream.runCollect(one.progress), { startImmediately: true })
      )
      yield* settle
      yield* open
      const expected = [1, 2, 3].map((step) => ({ step, of: [3], note: null }))
      assert.deepStrictEqual(yield* Fiber.join(collected[0]!), expected)
      assert.deepStrictEqual(yield* Fiber.join(collected[1]!), expected)
      assert.deepStrictEqual(yield* Fiber.join(collected[2]!), [{ step: 1, of: [1], note: null }])
      assert.strictEqual(yield* job.await, "done")
      // over already
      assert.deepStrictEqual(yield* Stream.runCollect(job.progress), [])
    })))

  it.effect("of a job that is nowhere fails", () =>
    program(Effect.gen(function*() {
      const job = yield* Job.fromId(Steps, "no such job")
      assert.strictEqual((yield* Effect.flip(Stream.runCollect(job.progress)))._tag, "JobNotFound")
    })))
})
