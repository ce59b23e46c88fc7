/**
 * How an attempt can end, and how that reaches whoever waits: typed from end to end.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Codec from "../../Codec.ts"
import * as DeadLetter from "../../DeadLetter.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease } from "./kit.ts"

/** An error of a task of its own class. */
class MailboxUnavailable extends Schema.TaggedError<MailboxUnavailable>()("MailboxUnavailable", {
  mailbox: Schema.String,
  until: Schema.Date
}) {}

/** Values that JSON cannot hold by itself. */
const Rich = Schema.Struct({
  at: Schema.Date,
  bytes: Schema.Uint8Array,
  big: Schema.BigInt,
  maybe: Schema.Option(Schema.String),
  nothing: Schema.Option(Schema.String),
  text: Schema.String
})

const rich: typeof Rich.Type = {
  at: new Date(Date.UTC(2024, 1, 29, 12, 30)),
  bytes: new Uint8Array([0, 127, 128, 255]),
  big: 2n ** 80n,
  maybe: Option.some("there"),
  nothing: Option.none(),
  text: "\u0000 😀 |||\n"
}

const echo = (kit: Kit) => Task.make("Echo", { payload: Rich, success: Rich, queue: kit.queue })

const launchEcho = (kit: Kit, task: ReturnType<typeof echo>) =>
  kit.launch((id) =>
    Worker.layer({ id, tasks: [task] }).pipe(Layer.provide(task.toLayer((payload) => Effect.succeed(payload))))
  )

const insistOnRich = (value: typeof Rich.Type) => {
  Check.equal(value.at.getTime(), rich.at.getTime(), "the date")
  Check.equal(value.bytes, rich.bytes, "the bytes")
  Check.isTrue(value.big === rich.big, "the big integer")
  Check.equal(value.text, rich.text, "the text")
  Check.equal([value.maybe._tag, value.nothing._tag], ["Some", "None"], "the options")
}

export const cases: ReadonlyArray<Case> = [
  define("payload and success survive with dates, bytes, big integers and options", (kit) =>
    Effect.gen(function*() {
      const task = echo(kit)
      yield* launchEcho(kit, task)
      const job = yield* task.enqueue(rich)
      insistOnRich(yield* kit.within(1_000, job.await, "the end of the job"))
    })),

  define("producer and worker may use different codecs", (kit) =>
    Effect.gen(function*() {
      const task = echo(kit)
      yield* Effect.provide(launchEcho(kit, task), Codec.layer(Codec.binary))
      const json = yield* task.enqueue(rich)
      insistOnRich(yield* kit.within(1_000, json.await, "the end of a job in JSON"))
      const { run } = yield* Effect.provide(kit.client, Codec.layer(Codec.binary))
      const binary = yield* run(task.enqueue(rich))
      insistOnRich(yield* kit.within(1_000, binary.await, "the end of a binary job"))
    })),

  define("a typed error reaches whoever waits as what it was, after the last attempt", (kit) =>
    Effect.gen(function*() {
      const until = new Date(Date.UTC(2030, 0, 1))
      const task = Task.make("Send", {
        payload: Schema.String,
        error: MailboxUnavailable,
        queue: kit.queue,
        maxAttempts: 2,
        retry: Schedule.spaced(200)
      })
      let attempts = 0
      yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [task] }).pipe(Layer.provide(task.toLayer((mailbox) => {
          attempts++
          return Effect.fail(new MailboxUnavailable({ mailbox, until }))
        })))
      )
      const job = yield* task.enqueue("inbox")
      const error = yield* kit.within(2_000, Effect.flip(job.await), "the end of the job")
      if (!(error instanceof MailboxUnavailable)) return Check.fail(`the error is ${String(error)}`)
      Check.equal([error.mailbox, error.until.getTime()], ["inbox", until.getTime()], "the error")
      Check.equal(attempts, 2, "attempts")
      const polled = Option.getOrThrow(yield* job.poll)
      Check.isTrue(polled._tag === "Failure", "poll says that it failed")
      const { attempts: counted, reason, state } = yield* job.info
      Check.equal([state, reason, counted], ["failed", "Error", 2], "the info")
      const [letter] = (yield* DeadLetter.list(kit.queue)).items
      Check.equal([letter?.id, letter?.reason], [job.id, "Error"], "the dead letter")
    })),

  define("a defect is tried again like any failure, and then says what it was", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 2 })
      yield* kit.worker(work, () => Effect.die(new TypeError("x is not a function")))
      const [job] = yield* kit.enqueue(work, "one")
      const error = yield* kit.within(2_000, Effect.flip(job!.await), "the end of the job")
      if (typeof error === "string" || error._tag !== "JobFailed") return Check.fail(`the error is ${String(error)}`)
      Check.equal([error.reason, error.attempts], ["Defect", 2], "reason and attempts")
      Check.isTrue(error.description.includes("x is not a function"), `the description is "${error.description}"`)
    })),

  define("a handler that interrupts itself fails its attempt", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 2 })
      yield* kit.worker(work, (run) => run.attempt === 1 ? Effect.interrupt : done(run))
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!, 2_000), "succeeded: done: one", "the end of the job")
      Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 2], "attempts")
    })),

  define(
    "an attempt that takes longer than its timeout is interrupted, counts, and is tried again",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ timeout: 600, maxAttempts: 2 })
        let released = 0
        const deadlines: Array<number | undefined> = []
        yield* kit.worker(work, (_, execution) => {
          deadlines.push(execution.deadline)
          return Effect.andThen(Effect.addFinalizer(() => Effect.sync(() => void released++)), Effect.never)
        })
        const [job] = yield* kit.enqueue(work, "one")
        Check.equal(yield* kit.outcome(job!, 3_000), "JobFailed: TimedOut", "the end of the job")
        const runs = kit.journal.of("one")
        Check.equal(
          runs.map(({ attempt, outcome }) => [attempt, outcome]),
          [[1, "interrupted"], [2, "interrupted"]],
          "runs"
        )
        for (const run of runs) {
          Check.between(run.endedAt! - run.startedAt, 500, 600 + kit.slack, "ms that an attempt took")
        }
        Check.equal(released, 2, "attempts whose finalizers ran")
        Check.isTrue(
          deadlines.every((deadline) => deadline !== undefined),
          "an attempt with a timeout knows its deadline"
        )
      })
  ),

  define("an attempt within its timeout is left alone, although others time out", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ timeout: 4_000, maxAttempts: 1 })
      yield* kit.worker(
        work,
        (run) => run.job === "slow" ? Effect.never : Effect.andThen(Effect.sleep(2_500), done(run))
      )
      const [slow] = yield* kit.enqueue(work, "slow")
      yield* kit.elapse(2_000)
      const [fast] = yield* kit.enqueue(work, "fast")
      Check.equal(
        [yield* kit.outcome(slow!, 4_000), yield* kit.outcome(fast!, 3_000)],
        ["JobFailed: TimedOut", "succeeded: done: fast"],
        "the ends"
      )
    })),

  define(
    "a success that does not fit its schema fails the job as Unencodable, and is not tried again",
    (kit) =>
      Effect.gen(function*() {
        const task = Task.make("Count", { success: Schema.Int, queue: kit.queue })
        let runs = 0
        yield* kit.launch((id) =>
          Worker.layer({ id, tasks: [task] }).pipe(Layer.provide(task.toLayer(() =>
            Effect.sync(() => {
              runs++
              return 0.5
            })
          )))
        )
        const job = yield* task.enqueue()
        const error = yield* kit.within(1_000, Effect.flip(job.await), "the end of the job")
        Check.equal(error._tag === "JobFailed" ? error.reason : error._tag, "Unencodable", "the error")
        yield* kit.elapse(3_000)
        Check.equal(runs, 1, "runs")
      })
  ),

  define("a handler that fails with Discard ends the job at once, with its reason", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 5 })
      yield* kit.worker(work, () => Effect.fail(new Task.Discard({ reason: "the account is closed" })))
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!), "JobFailed: Discarded", "the end of the job")
      Check.equal((yield* job!.info).lastError, "the account is closed", "the last error")
      Check.equal((yield* DeadLetter.list(kit.queue)).items.length, 1, "dead letters")
      yield* kit.elapse(lease)
      Check.equal(kit.journal.starts.length, 1, "runs")
    })),

  define("attempts end with maxAttempts, or with the retry schedule", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 3 })
      const brief = Task.make("Brief", {
        queue: kit.queue,
        error: Schema.String,
        maxAttempts: 10,
        retry: Schedule.recurs(1)
      })
      let runs = 0
      yield* kit.worker(work, () => Effect.fail("again"))
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!, 3_000), "error: again", "the end of the job")
      Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 2, 3], "attempts")
      yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [brief] }).pipe(
          Layer.provide(brief.toLayer(() => {
            runs++
            return Effect.fail("again")
          }))
        )
      )
      const error = yield* kit.within(40_000, Effect.flip((yield* brief.enqueue()).await), "the end of the brief job")
      Check.equal(error, "again", "its error")
      Check.equal(runs, 2, "its runs")
    })),

  define("what a handler acquires for an attempt is released with the attempt", (kit) =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      const work = kit.work({ maxAttempts: 3 })
      yield* kit.worker(work, (run) =>
        Effect.andThen(
          Effect.acquireRelease(note(`acquire ${run.attempt}`), () => note(`release ${run.attempt}`)),
          run.attempt < 3 ? Effect.fail("again") : done(run)
        ))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.outcome(job!, 2_000)
      Check.equal(log, [1, 2, 3].flatMap((attempt) => [`acquire ${attempt}`, `release ${attempt}`]), "what happened")
    })),

  define("a handler knows its job: id, key, headers, attempt, when it was enqueued", (kit) =>
    Effect.gen(function*() {
      const seen: Array<object> = []
      const work = kit.work({ key: (payload) => `key of ${payload}`, maxAttempts: 4 })
      yield* kit.worker(work, (run, execution) => {
        const { attempt, deliveries, enqueuedAt, headers, id, key, maxAttempts, queue, task } = execution
        seen.push({
          attempt,
          deliveries,
          enqueuedAt: Math.floor(enqueuedAt),
          headers,
          id,
          key,
          maxAttempts,
          queue,
          task
        })
        return run.attempt === 1
          ? Effect.fail(new Task.RetryAfter({ delay: Duration.millis(100), reason: "" }))
          : done(run)
        // a machine that stands still for a second must not have the job delivered twice
      }, { idleTimeout: 10 * lease })
      const before = Math.floor(yield* kit.now)
      const job = yield* work.enqueue("one", { id: "the-one", headers: { tenant: "a", "trace id": "ü" } })
      yield* kit.outcome(job, 1_500)
      const [first, second] = seen as ReadonlyArray<{ readonly enqueuedAt: number }>
      Check.between(first?.enqueuedAt ?? 0, before - kit.slack, before + kit.slack, "when it was enqueued")
      const expected = {
        attempt: 1,
        deliveries: 1,
        enqueuedAt: first?.enqueuedAt,
        headers: { tenant: "a", "trace id": "ü" },
        id: "the-one",
        key: "key of one",
        maxAttempts: 4,
        queue: kit.queue,
        task: "Work"
      }
      Check.equal<object | undefined>(first, expected, "what the first attempt knew")
      Check.equal<object | undefined>(second, { ...expected, attempt: 2 }, "what the second attempt knew")
    }))
]
