import { assert, describe, it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Client } from "../src/Client.ts"
import * as Codec from "../src/Codec.ts"
import * as Job from "../src/Job.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { gate, otherClient, program, run, settle } from "./fixtures/kit.ts"

class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", { floor: Schema.Number }) {}

class Work extends Task.make("Work", {
  payload: Schema.Literals(["succeed", "fail", "die", "discard", "wait", "retry", "snooze"]),
  success: Schema.DateFromString,
  error: NoRoom,
  queue: "work",
  priority: "high",
  key: (payload) => payload,
  retry: Schedule.spaced("1 minute")
}) {}

/** `wait` waits at the gate; `retry` and `snooze` do so once. */
const WorkLive = (wait: Effect.Effect<void> = Effect.never) =>
  Work.toLayer(Effect.fnUntraced(function*(payload, { attempt }) {
    if (payload === "wait") yield* wait
    if (payload === "fail") return yield* new NoRoom({ floor: attempt })
    if (payload === "die") return yield* Effect.die(new Error("a defect"))
    if (payload === "discard") return yield* new Task.Discard({ reason: "no use" })
    if (payload === "retry" && attempt === 1) return yield* new NoRoom({ floor: 1 })
    return new Date(5)
  }))

const worker = (wait?: Effect.Effect<void>) => Worker.layer({ tasks: [Work] }).pipe(Layer.provide(WorkLive(wait)))

/** Runs an effect while this much time passes. */
const withTime = (duration: Duration.Input) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* settle
    yield* TestClock.adjust(duration)
    return yield* Fiber.join(fiber)
  })

const ignored = (effect: Effect.Effect<unknown, unknown>) => Effect.ignore(effect)

describe("info and status", () => {
  it.effect("scheduled, then queued", () =>
    program(Effect.gen(function*() {
      yield* TestClock.adjust(1_000)
      const job = yield* Work.enqueue("wait", { delay: 500 })
      assert.strictEqual(yield* job.status, "scheduled")
      const expected = {
        id: job.id,
        queue: "work",
        task: "Work",
        state: "scheduled",
        attempts: 0,
        lastError: undefined,
        reason: undefined,
        dueAt: 1_500,
        enqueuedAt: 1_000,
        finishedAt: undefined,
        priority: "high",
        key: "wait"
      } as const
      assert.deepStrictEqual(yield* job.info, expected)
      yield* TestClock.adjust(500)
      assert.strictEqual(yield* job.status, "queued")
      assert.deepStrictEqual(yield* job.info, { ...expected, state: "queued" })
    })))

  it.effect("running", () =>
    program(Effect.gen(function*() {
      const { arrived, open, pass } = yield* gate
      yield* run(worker(pass))
      const job = yield* Work.enqueue("wait")
      yield* settle
      assert.strictEqual(arrived(), 1)
      assert.strictEqual(yield* job.status, "running")
      const info = yield* job.info
      assert.deepStrictEqual([info.state, info.attempts, info.finishedAt], ["running", 0, undefined])
      yield* open
      assert.deepStrictEqual(yield* job.await, new Date(5))
      assert.strictEqual(yield* job.status, "succeeded")
    })))

  it.effect("waiting for a retry: attempts so far, the last error, when it is due", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      yield* TestClock.adjust(1_000)
      const job = yield* Work.enqueue("retry")
      yield* settle
      const info = yield* job.info
      assert.deepStrictEqual(
        [info.state, info.attempts, info.dueAt, info.enqueuedAt, info.reason],
        ["scheduled", 1, 61_000, 1_000, undefined]
      )
      assert.include(info.lastError, "NoRoom")
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* job.await, new Date(5))
      assert.strictEqual((yield* job.info).attempts, 2)
    })))

  it.effect("succeeded", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      yield* TestClock.adjust(1_000)
      const job = yield* Work.enqueue("succeed")
      yield* job.await
      assert.deepStrictEqual(yield* job.info, {
        id: job.id,
        queue: "work",
        task: "Work",
        state: "succeeded",
        attempts: 1,
        lastError: undefined,
        reason: undefined,
        dueAt: undefined,
        enqueuedAt: undefined,
        finishedAt: 1_000,
        priority: undefined,
        key: undefined
      })
    })))

  it.effect("failed, with the reason", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      const job = yield* Work.enqueue("discard")
      yield* ignored(job.await)
      assert.strictEqual(yield* job.status, "failed")
      const info = yield* job.info
      assert.deepStrictEqual([info.attempts, info.reason, info.lastError], [1, "Discarded", "no use"])
    })))

  it.effect("cancelled and expired", () =>
    program(Effect.gen(function*() {
      const cancelled = yield* Work.enqueue("wait", { delay: "1 hour" })
      yield* cancelled.cancel
      assert.strictEqual(yield* cancelled.status, "cancelled")
      assert.strictEqual((yield* cancelled.info).attempts, 0)
      const expired = yield* Work.enqueue("succeed", { expiresIn: 10 })
      yield* TestClock.adjust(10)
      yield* run(worker())
      assert.strictEqual((yield* Effect.flip(expired.await))._tag, "JobExpired")
      assert.strictEqual(yield* expired.status, "expired")
      assert.strictEqual((yield* expired.info).attempts, 0)
    })))

  it.effect("a job that never was, or whose record is gone", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      const never = yield* Job.fromId(Work, "no such job")
      const error = yield* Effect.flip(never.status)
      assert.strictEqual(error._tag, "JobNotFound")
      assert.include(error.message, "Job \"no such job\" of queue \"work\" does not exist")
      for (const ask of [never.info, never.cancel, never.await]) {
        assert.strictEqual((yield* Effect.flip<unknown, { readonly _tag: string }, never>(ask))._tag, "JobNotFound")
      }
      assert.isTrue(Option.isNone(yield* never.poll))
      const job = yield* Work.enqueue("succeed")
      yield* job.await
      yield* TestClock.adjust("61 minutes")
      assert.strictEqual((yield* Effect.flip(job.status))._tag, "JobNotFound")
    })))
})

describe("await and poll", () => {
  const exitOf = (payload: "succeed" | "fail" | "die" | "discard") =>
    Effect.gen(function*() {
      const job = yield* Work.enqueue(payload)
      assert.isTrue(Option.isNone(yield* job.poll))
      yield* TestClock.adjust("10 minutes")
      const exit = Option.getOrThrow(yield* job.poll)
      assert.deepStrictEqual<Exit.Exit<unknown, unknown>>(yield* Effect.exit(job.await), exit)
      return exit
    })

  it.effect("a value, decoded", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      assert.deepStrictEqual(yield* exitOf("succeed"), Exit.succeed(new Date(5)))
    })))

  it.effect("an error of the task, of its class", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      const exit = yield* exitOf("fail")
      const error = Option.getOrThrow(Exit.findErrorOption(exit))
      assert.instanceOf(error, NoRoom)
      // the last of three attempts
      assert.strictEqual((error as NoRoom).floor, 3)
    })))

  it.effect("a defect and a discard are failures of the job", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      const died = Option.getOrThrow(Exit.findErrorOption(yield* exitOf("die")))
      assert(died._tag === "JobFailed")
      assert.deepStrictEqual([died.reason, died.attempts, died.task, died.queue], ["Defect", 3, "Work", "work"])
      assert.include(died.description, "a defect")
      assert.include(died.message, "(task \"Work\") failed after 3 attempt(s), Defect: ")
      const discarded = Option.getOrThrow(Exit.findErrorOption(yield* exitOf("discard")))
      assert(discarded._tag === "JobFailed")
      assert.deepStrictEqual(
        [discarded.reason, discarded.attempts, discarded.description],
        ["Discarded", 1, "no use"]
      )
    })))

  it.effect("a cancelled job", () =>
    program(Effect.gen(function*() {
      const job = yield* Work.enqueue("wait")
      yield* job.cancel
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobCancelled")
      assert.strictEqual(error.message, `Job "${job.id}" of queue "work" was cancelled.`)
      assert.deepStrictEqual(Option.getOrThrow(yield* job.poll), Exit.fail(error))
    })))

  it.effect("within a time: the error says where the job is, and the job goes on", () =>
    program(Effect.gen(function*() {
      const { open, pass } = yield* gate
      const job = yield* Work.enqueue("wait")
      const timeout = yield* Effect.flip(job.awaitWithin("1 second")).pipe(withTime("1 second"))
      assert(timeout._tag === "AwaitTimeout")
      assert.deepStrictEqual([timeout.state, timeout.timeoutMillis], ["queued", 1_000])
      assert.include(timeout.message, "was not over after 1000 ms: it is queued. The job goes on.")
      yield* run(worker(pass))
      const running = yield* Effect.flip(job.awaitWithin(500)).pipe(withTime(500))
      assert.strictEqual(running._tag === "AwaitTimeout" && running.state, "running")
      yield* open
      assert.deepStrictEqual(yield* job.awaitWithin("1 second"), new Date(5))
    })))

  it.effect("a result that is no longer kept: the state is", () =>
    program(Effect.gen(function*() {
      const Brief = Task.make("Brief", { success: Schema.Number, resultTimeToLive: "10 seconds" })
      yield* run(Worker.layer({ tasks: [Brief] }).pipe(Layer.provide(Brief.toLayer(() => Effect.succeed(1)))))
      const job = yield* Brief.enqueue()
      assert.strictEqual(yield* job.await, 1)
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* job.status, "succeeded")
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "ResultExpired")
      assert.strictEqual(error.state, "succeeded")
      assert.deepStrictEqual(Option.getOrThrow(yield* job.poll), Exit.fail(error))
    })))

  it.effect("a result that is not kept at all still reaches who waits", () =>
    program(Effect.gen(function*() {
      const Fleeting = Task.make("Fleeting", { success: Schema.Number, resultTimeToLive: 0 })
      const { open, pass } = yield* gate
      yield* run(
        Worker.layer({ tasks: [Fleeting] }).pipe(Layer.provide(Fleeting.toLayer(() => Effect.as(pass, 1))))
      )
      const job = yield* Fleeting.enqueue()
      const other = yield* Effect.provideService(Job.fromId(Fleeting, job.id), Client, yield* otherClient)
      const waiting = yield* Effect.forkChild(Effect.all([job.await, other.await], { concurrency: 2 }), {
        startImmediately: true
      })
      yield* settle
      yield* open
      assert.deepStrictEqual(yield* Fiber.join(waiting), [1, 1])
      assert.strictEqual((yield* Effect.flip(job.await))._tag, "ResultExpired")
    })))

  it.effect("a result in a format that is not accepted here", () =>
    program(Effect.gen(function*() {
      const Plain = Task.make("Plain", { success: Schema.Number })
      yield* run(
        Worker.layer({ tasks: [Plain] }).pipe(
          Layer.provide(Plain.toLayer(() => Effect.succeed(1))),
          Layer.provide(Codec.layer({ ...Codec.json, contentType: "text/odd" }))
        )
      )
      const job = yield* Plain.enqueue()
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "ResultUnreadable")
      assert.include(error.message, "content type \"text/odd\" is not in Codec.Accepted")
    })))
})

describe("cancel", () => {
  it.effect("answers the state that stands", () =>
    program(Effect.gen(function*() {
      const queued = yield* Work.enqueue("succeed")
      assert.strictEqual(yield* queued.cancel, "cancelled")
      assert.strictEqual(yield* queued.cancel, "cancelled")
      const expired = yield* Work.enqueue("succeed", { expiresIn: 0 })
      yield* run(worker())
      yield* settle
      assert.strictEqual(yield* expired.cancel, "expired")
      const succeeded = yield* Work.enqueue("succeed")
      yield* succeeded.await
      assert.strictEqual(yield* succeeded.cancel, "succeeded")
      const failed = yield* Work.enqueue("discard")
      yield* ignored(failed.await)
      assert.strictEqual(yield* failed.cancel, "failed")
      // its record has expired, the dead letter stays
      yield* TestClock.adjust("2 hours")
      assert.strictEqual(yield* failed.cancel, "failed")
    })))

  it.effect("ends a retry that waits, and keeps its attempts", () =>
    program(Effect.gen(function*() {
      yield* run(worker())
      const job = yield* Work.enqueue("retry")
      yield* settle
      assert.strictEqual(yield* job.cancel, "cancelled")
      assert.strictEqual((yield* job.info).attempts, 1)
    })))
})

describe("handles by id", () => {
  it.effect("see the same job through another client", () =>
    program(Effect.gen(function*() {
      const { open, pass } = yield* gate
      const there = yield* otherClient
      yield* run(worker(pass))
      const job = yield* Work.enqueue("wait")
      const typed = yield* Effect.provideService(Job.fromId(Work, job.id), Client, there)
      const untyped = there.job("work", job.id)
      yield* settle
      assert.deepStrictEqual([typed.id, typed.queue, typed.duplicate], [job.id, "work", false])
      assert.deepStrictEqual([yield* typed.status, yield* untyped.status], ["running", "running"])
      const waiting = yield* Effect.forkChild(
        Effect.all([typed.await, untyped.awaitRecord], { concurrency: 2 }),
        { startImmediately: true }
      )
      yield* settle
      yield* open
      const [value, record] = yield* Fiber.join(waiting)
      assert.deepStrictEqual(value, new Date(5))
      assert.strictEqual(record.state, "succeeded")
      assert.deepStrictEqual(Option.getOrThrow(yield* typed.poll), Exit.succeed(new Date(5)))
      assert.isTrue(Option.isSome(yield* untyped.record))
    })))

  it.effect("cancel through another client", () =>
    program(Effect.gen(function*() {
      const there = yield* otherClient
      yield* run(worker())
      const job = yield* Work.enqueue("wait")
      yield* settle
      assert.strictEqual(yield* there.job("work", job.id).cancel, "cancelled")
      assert.strictEqual((yield* Effect.flip(job.await))._tag, "JobCancelled")
    })))

  it.effect("a definition with another queue looks there", () =>
    program(Effect.gen(function*() {
      const job = yield* Work.enqueue("wait")
      const Elsewhere = Task.make("Work", { queue: "elsewhere" })
      const handle = yield* Job.fromId(Elsewhere, job.id)
      assert.strictEqual((yield* Effect.flip(handle.status))._tag, "JobNotFound")
    })))
})
