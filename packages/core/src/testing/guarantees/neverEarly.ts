/**
 * Guarantee 6: a delayed job, a retry or a snooze never starts before its due
 * time, and soon after it.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit } from "./kit.ts"

/** How much later than due a job may start on an idle worker, ms. */
const tolerance = 1_000

/** Delays of 600, 1200, … ms. */
const doubling = Schedule.exponential(600)

/** Insists that the run started when it was due. `written`: the time before and after the due time was set. */
const isDue = (kit: Kit, startedAt: number, before: number, after: number, delay: number) =>
  Check.between(startedAt, before + delay, after + delay + tolerance + kit.slack, "when the job started")

export const cases: ReadonlyArray<Case> = [
  define("a job with a delay starts when it is due, although nothing else happens", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const before = yield* kit.now
      const job = yield* work.enqueue("one", { delay: "3 seconds" })
      const after = yield* kit.now
      Check.equal(yield* job.status, "scheduled", "the state before")
      // a broker rounds up to whole ms: a delay is never short
      Check.between((yield* job.info).dueAt ?? 0, before + 3_000, after + 3_001, "the due time")
      const run = yield* kit.started("one", 1, 3_000 + tolerance)
      isDue(kit, run.startedAt, before, after, 3_000)
    })),

  define("a job with a delay is not taken along by the jobs that flow before", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const before = yield* kit.now
      const delayed = yield* work.enqueue("delayed", { delay: 2_000 })
      const after = yield* kit.now
      for (let i = 0; i < 15; i++) {
        yield* kit.enqueue(work, `other ${i}`)
        yield* kit.elapse(100)
      }
      yield* kit.outcome(delayed, 2_000 + tolerance)
      isDue(kit, kit.journal.of("delayed")[0]!.startedAt, before, after, 2_000)
    })),

  define("a job for a time starts then, and at once if the time is past", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const at = Math.ceil(yield* kit.now) + 2_500
      yield* work.enqueue("at a number", { at })
      yield* work.enqueue("at a date", { at: new Date(at) })
      yield* work.enqueue("past", { at: at - 60_000 })
      yield* kit.started("past")
      for (const name of ["at a number", "at a date"]) {
        const run = yield* kit.started(name, 1, 2_500 + tolerance)
        isDue(kit, run.startedAt, at, at, 0)
      }
    })),

  define(
    "a job whose due time passed while no worker was there starts with the first that comes",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const job = yield* work.enqueue("one", { delay: 500 })
        yield* kit.elapse(2_000)
        Check.equal(yield* job.status, "queued", "the state of a job that is due")
        yield* kit.worker(work, done)
        Check.equal(yield* kit.outcome(job), "succeeded: done: one", "the end of the job")
      })
  ),

  define("a retry starts after the delay of its schedule", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ retry: doubling })
      yield* kit.worker(work, (run) => run.attempt === 3 ? done(run) : Effect.fail("again"))
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!, 5_000), "succeeded: done: one", "the end of the job")
      const [first, second, third] = kit.journal.of("one")
      isDue(kit, second!.startedAt, first!.endedAt!, first!.endedAt!, 600)
      isDue(kit, third!.startedAt, second!.endedAt!, second!.endedAt!, 1_200)
    })),

  define(
    "a handler that fails with RetryAfter is tried again after its own delay, and that counts",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ retry: doubling, maxAttempts: 2 })
        yield* kit.worker(
          work,
          (run) => Effect.fail(new Task.RetryAfter({ delay: Duration.seconds(2), reason: `busy ${run.attempt}` }))
        )
        const [job] = yield* kit.enqueue(work, "one")
        Check.equal(yield* kit.outcome(job!, 4_000), "JobFailed: Exhausted", "the end of the job")
        const [first, second] = kit.journal.of("one")
        isDue(kit, second!.startedAt, first!.endedAt!, first!.endedAt!, 2_000)
        Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 2], "attempts")
        Check.equal((yield* job!.info).lastError, "busy 2", "the last error")
      })
  ),

  define("a snooze starts again after its delay, and does not count as an attempt", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      yield* kit.worker(work, (run) =>
        kit.journal.of(run.job).length < 4 ? Effect.fail(new Task.Snooze({ delay: Duration.millis(700) })) : done(run))
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!, 6_000), "succeeded: done: one", "the end of the job")
      const runs = kit.journal.of("one")
      Check.equal(
        runs.map(({ attempt, deliveries }) => [attempt, deliveries]),
        [[1, 1], [1, 1], [1, 1], [1, 1]],
        "runs"
      )
      for (let i = 1; i < runs.length; i++) {
        isDue(kit, runs[i]!.startedAt, runs[i - 1]!.endedAt!, runs[i - 1]!.endedAt!, 700)
      }
      Check.equal((yield* job!.info).attempts, 1, "attempts of the record")
    })),

  define("a job that waits for a retry says when it is due and what it failed with", (kit) =>
    Effect.gen(function*() {
      const delay = 10_000
      const work = kit.work({ retry: Schedule.spaced(delay) })
      yield* kit.worker(work, () => Effect.fail("out of paper"))
      const [job] = yield* kit.enqueue(work, "one")
      const run = yield* kit.started("one")
      yield* kit.reached(job!, "scheduled")
      const info = yield* job!.info
      Check.equal([info.state, info.attempts, info.lastError], ["scheduled", 1, "out of paper"], "the info")
      Check.between(
        info.dueAt ?? 0,
        run.startedAt + delay,
        run.endedAt! + delay + tolerance + kit.slack,
        "the due time"
      )
    })),

  define("jobs that are due in the same millisecond all start, once each", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const at = Math.ceil(yield* kit.now) + 1_500
      const payloads = Array.from({ length: 300 }, (_, i) => ({ payload: `${i}`, options: { at } }))
      yield* work.enqueueMany(payloads)
      yield* kit.worker(work, done)
      yield* kit.until(() => kit.journal.hasSucceeded(300), "300 runs", 1_500 + tolerance)
      yield* kit.elapse(500)
      Check.sameMembers(kit.journal.starts, payloads.map(({ payload }) => payload), "the runs")
      const first = Math.min(...kit.journal.runs.map((run) => run.startedAt))
      Check.isTrue(first >= at, `a job started ${at - first} ms early`)
    }))
]
