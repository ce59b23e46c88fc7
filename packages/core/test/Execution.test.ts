/** What a handler knows of its run and may do to it: control errors, timeouts, what it acquires. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Client } from "../src/Client.ts"
import * as Codec from "../src/Codec.ts"
import * as DeadLetter from "../src/DeadLetter.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import { fails, later, withTask } from "./fixtures/oneTask.ts"

describe("what a handler knows", () => {
  it.effect("the identity of its job and of this attempt", () =>
    program(Effect.gen(function*() {
      yield* TestClock.adjust(1_000)
      const { Job, runs } = yield* withTask(
        { maxAttempts: 2, timeout: "30 seconds", retry: Schedule.spaced(500) },
        ({ attempt }) => attempt === 1 ? fails() : Effect.succeed("done")
      )
      const job = yield* Job.enqueue(undefined, { id: "1", key: "k", headers: { tenant: "t" } })
      yield* settle
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* job.await, "done")
      const [first, second] = runs.map(({ execution }) => execution)
      assert.deepStrictEqual(
        {
          id: second!.id,
          queue: second!.queue,
          task: second!.task,
          key: second!.key,
          attempt: second!.attempt,
          maxAttempts: second!.maxAttempts,
          deliveries: second!.deliveries,
          headers: second!.headers,
          enqueuedAt: second!.enqueuedAt,
          deadline: second!.deadline
        },
        {
          id: "1",
          queue: "default",
          task: "Job",
          key: "k",
          attempt: 2,
          maxAttempts: 2,
          deliveries: 1,
          headers: { tenant: "t" },
          enqueuedAt: 1_000,
          deadline: 31_500
        }
      )
      assert.deepStrictEqual([first!.attempt, first!.deadline], [1, 31_000])
    })))

  it.effect("a fencing token is taken once per attempt, and grows from attempt to attempt", () =>
    program(Effect.gen(function*() {
      const tokens: Array<number> = []
      const { Job } = yield* withTask({}, (execution) =>
        Effect.gen(function*() {
          tokens.push(yield* execution.fencingToken, yield* execution.fencingToken)
          return execution.attempt < 3 ? yield* fails() : "done"
        }))
      const job = yield* Job.enqueue()
      yield* later
      yield* job.await
      const [a, b, c, d, e, f] = tokens as [number, number, number, number, number, number]
      assert.deepStrictEqual([a, c, e], [b, d, f])
      assert.isTrue(a < c && c < e)
    })))
})

describe("control errors", () => {
  it.effect("RetryAfter: its own delay, counted; the last one fails the job", () =>
    program(Effect.gen(function*() {
      const { Job, runs, times } = yield* withTask(
        {},
        () => Effect.fail(new Task.RetryAfter({ delay: Duration.minutes(7), reason: "the other side is busy" }))
      )
      const job = yield* Job.enqueue()
      yield* settle
      const info = yield* job.info
      assert.deepStrictEqual([info.state, info.attempts, info.dueAt, info.lastError], [
        "scheduled",
        1,
        420_000,
        "the other side is busy"
      ])
      yield* later
      assert.deepStrictEqual(times(), [0, 420_000, 840_000])
      assert.deepStrictEqual(runs.map(({ execution }) => execution.attempt), [1, 2, 3])
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobFailed")
      assert.deepStrictEqual(
        [error.reason, error.attempts, error.description],
        ["Exhausted", 3, "the other side is busy"]
      )
    })))

  it.effect("Snooze: again after its delay, not counted, as often as it likes", () =>
    program(Effect.gen(function*() {
      let count = 0
      const { Job, runs, times } = yield* withTask({ maxAttempts: 1 }, () =>
        ++count < 8 ? Effect.fail(new Task.Snooze({ delay: Duration.seconds(1) })) : Effect.succeed("done"))
      const job = yield* Job.enqueue()
      yield* settle
      assert.deepStrictEqual([(yield* job.info).attempts, (yield* job.info).dueAt], [0, 1_000])
      yield* later
      assert.strictEqual(yield* job.await, "done")
      assert.deepStrictEqual(
        times(),
        [0, 1, 2, 3, 4, 5, 6, 7].map((second) =>
          second * 1_000
        )
      )
      assert.isTrue(runs.every(({ execution }) => execution.attempt === 1 && execution.deliveries === 1))
      assert.strictEqual((yield* job.info).attempts, 1)
    })))

  it.effect("Discard: failed at once, kept as a dead letter", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({ maxAttempts: 10 }, () =>
        Effect.fail(new Task.Discard({ reason: "nobody wants it" })))
      const job = yield* Job.enqueue()
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobFailed")
      assert.deepStrictEqual([error.reason, error.attempts], ["Discarded", 1])
      yield* later
      assert.strictEqual(runs.length, 1)
      const { items: [letter] } = yield* DeadLetter.list("default")
      assert.deepStrictEqual([letter!.id, letter!.reason, letter!.message], [job.id, "Discarded", "nobody wants it"])
    })))
})

describe("timeouts", () => {
  it.effect("end the attempt and count as a failure", () =>
    program(Effect.gen(function*() {
      const { Job, times } = yield* withTask(
        { timeout: "10 seconds", maxAttempts: 2, retry: Schedule.spaced("1 second") },
        () => Effect.never
      )
      const job = yield* Job.enqueue()
      yield* settle
      yield* TestClock.adjust(9_999)
      assert.strictEqual(yield* job.status, "running")
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* job.status, "scheduled")
      assert.include((yield* job.info).lastError, "longer than its timeout of 10000 ms")
      yield* later
      assert.deepStrictEqual(times(), [0, 11_000])
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobFailed")
      assert.deepStrictEqual([error.reason, error.attempts], ["TimedOut", 2])
    })))

  it.effect("of many attempts ring each at its time", () =>
    program(Effect.gen(function*() {
      const ended: Array<readonly [string, number]> = []
      const { Job } = yield* withTask({ timeout: 1_000, maxAttempts: 1 }, ({ id }) =>
        Effect.onInterrupt(Effect.never, () =>
          Effect.clockWith((clock) =>
            Effect.sync(() => void ended.push([id, clock.currentTimeMillisUnsafe()]))
          )))
      for (const id of ["a", "b", "c"]) {
        yield* Job.enqueue(undefined, { id })
        yield* settle
        yield* TestClock.adjust(300)
      }
      yield* TestClock.adjust(5_000)
      assert.deepStrictEqual(ended, [["a", 1_000], ["b", 1_300], ["c", 1_600]])
    })))

  it.effect("do not touch an attempt that ended in time", () =>
    program(Effect.gen(function*() {
      const { Job } = yield* withTask({ timeout: 1_000 }, () => Effect.delay(Effect.succeed("done"), 999))
      const job = yield* Job.enqueue()
      yield* settle
      yield* TestClock.adjust(999)
      assert.strictEqual(yield* job.await, "done")
      yield* TestClock.adjust(10_000)
      assert.strictEqual(yield* job.status, "succeeded")
    })))

  it.effect("run the finalizers of the attempt first", () =>
    program(Effect.gen(function*() {
      const { Job } = yield* withTask({ timeout: 1_000, maxAttempts: 1 }, () =>
        Effect.onInterrupt(Effect.never, () => Effect.sleep(500)))
      const job = yield* Job.enqueue()
      yield* settle
      yield* TestClock.adjust(1_400)
      assert.strictEqual(yield* job.status, "running")
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* job.status, "failed")
    })))
})

describe("what cannot be encoded or compiled", () => {
  it.effect("a success that does not fit its schema fails the job, not the worker", () =>
    program(Effect.gen(function*() {
      const { Job } = yield* withTask({}, ({ id }) => Effect.succeed(id === "bad" ? 1 as never : "done"))
      const bad = yield* Job.enqueue(undefined, { id: "bad" })
      const error = yield* Effect.flip(bad.await)
      assert.strictEqual(error._tag === "JobFailed" && error.reason, "Unencodable")
      assert.strictEqual(yield* Effect.flatMap(Job.enqueue(), (job) => job.await), "done")
    })))

  it.effect("an error that does not fit its schema says so, after the last attempt", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({}, () => Effect.fail({ _tag: "Strange" } as never))
      const job = yield* Job.enqueue()
      yield* later
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobFailed")
      assert.deepStrictEqual([error.reason, runs.length], ["Unencodable", 3])
      assert.include(error.description, "does not fit the task's error schema")
    })))

  it.effect("a codec that throws at a schema fails the job, not the worker", () =>
    program(Effect.gen(function*() {
      const broken: Codec.Codec = {
        contentType: "text/broken",
        compile: () => {
          throw new Error("no such schema")
        }
      }
      const Plain = Task.make("Plain", { payload: Schema.Number, success: Schema.Number, maxAttempts: 1 })
      const accepted = Layer.succeed(Codec.Accepted, [Codec.json, broken])
      yield* run(
        Worker.layer({ tasks: [Plain] }).pipe(Layer.provide(Plain.toLayer(Effect.succeed)), Layer.provide(accepted))
      )
      const client = yield* Client
      const body = new TextEncoder().encode("1")
      const bad = yield* client.sendOne({ task: "Plain", queue: "default", body, contentType: "text/broken" })
      const record = yield* bad.awaitRecord
      assert.deepStrictEqual([record.state, record.reason], ["failed", "Defect"])
      assert.include(record.message, "no such schema")
      assert.strictEqual(yield* Effect.flatMap(Plain.enqueue(1), (job) => job.await), 1)
    })))
})

it.effect("what an attempt acquires is released with it: success, failure, interruption", () =>
  program(Effect.gen(function*() {
    const trace: Array<string> = []
    const note = (text: string) => Effect.sync(() => void trace.push(text))
    const { Job } = yield* withTask(
      { timeout: 1_000, retry: Schedule.spaced(1) },
      ({ attempt }) =>
        Effect.gen(function*() {
          yield* Effect.acquireRelease(note(`acquire ${attempt}`), (_, exit) => note(`release ${attempt} ${exit._tag}`))
          if (attempt === 1) return yield* fails()
          return attempt === 2 ? yield* Effect.never : "done"
        })
    )
    const job = yield* Job.enqueue()
    yield* settle
    yield* TestClock.adjust(1)
    yield* TestClock.adjust(1_001)
    assert.strictEqual(yield* job.await, "done")
    assert.deepStrictEqual(trace, [
      "acquire 1",
      "release 1 Failure",
      "acquire 2",
      "release 2 Failure",
      "acquire 3",
      "release 3 Success"
    ])
  })))
