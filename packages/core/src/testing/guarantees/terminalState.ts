/**
 * Guarantee 2: success, failure, cancel and expiry race for one record, and
 * exactly one wins, for ever.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease, reclaim, type Work } from "./kit.ts"

/** ms that the state of a job is kept at least, whatever `resultTimeToLive` says. */
const stateTimeToLive = 60_000

export const cases: ReadonlyArray<Case> = [
  define("a success that comes after a cancel loses", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run) => Effect.uninterruptible(Effect.andThen(gate.await, done(run))))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      Check.equal(yield* job!.cancel, "cancelled", "the answer of cancel")
      yield* gate.open
      yield* kit.elapse(lease)
      Check.equal(yield* kit.outcome(job!), "JobCancelled", "the end of the job")
      Check.equal(yield* job!.status, "cancelled", "the state of the job")
    })),

  define("a cancel that comes after the end answers what was first", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      yield* kit.worker(work, (run) => run.job === "good" ? done(run) : Effect.fail("broken"))
      const [good, bad] = yield* kit.enqueue(work, "good", "bad")
      Check.equal(yield* kit.outcome(good!), "succeeded: done: good", "the end of the good job")
      Check.equal(yield* kit.outcome(bad!), "error: broken", "the end of the bad job")
      Check.equal([yield* good!.cancel, yield* bad!.cancel], ["succeeded", "failed"], "the answers of cancel")
      Check.equal([yield* good!.status, yield* bad!.status], ["succeeded", "failed"], "the states after cancel")
    })),

  define("a cancel that is overtaken by the end answers what was first", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work({ maxAttempts: 1 })
      yield* kit.worker(
        work,
        (run) => Effect.andThen(gate.await, run.job === "good" ? done(run) : Effect.fail("broken"))
      )
      const jobs = yield* kit.enqueue(work, "good", "bad")
      yield* kit.until(() => kit.journal.running.length === 2, "both runs")
      // the cancels find running jobs, and reach the broker when those are over
      yield* kit.faults.stall(({ operation }) => operation === "withdraw")
      const cancels = yield* Effect.forEach(
        jobs,
        (job) => Effect.forkChild(job.cancel, { startImmediately: true })
      )
      yield* kit.elapse(200)
      yield* gate.open
      yield* kit.reached(jobs[0]!, "succeeded")
      yield* kit.reached(jobs[1]!, "failed")
      yield* kit.faults.heal
      const answers = yield* kit.within(1_000, Effect.forEach(cancels, Fiber.join), "the answers of cancel")
      Check.equal(answers, ["succeeded", "failed"], "the answers of cancel")
      Check.equal(
        yield* Effect.forEach(jobs, (job) => kit.outcome(job)),
        ["succeeded: done: good", "error: broken"],
        "the ends"
      )
    })),

  define(
    "when cancels race with successes, failures and starts, answer, record and result agree",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        const names = Array.from({ length: 60 }, (_, i) => `${i}`)
        yield* kit.worker(
          work,
          (run) =>
            Effect.andThen(
              Effect.sleep(5 * (Number(run.job) % 6)),
              Number(run.job) % 2 === 0 ? done(run) : Effect.fail("broken")
            ),
          { concurrency: 8, prefetch: 8 }
        )
        const jobs = yield* kit.enqueue(work, ...names)
        const cancelAll = Effect.forEach(
          jobs,
          (job, i) => Effect.delay(job.cancel, 3 * (i % 20)),
          { concurrency: "unbounded" }
        )
        const answers = yield* kit.within(5_000, cancelAll, "all cancels")
        yield* kit.elapse(lease)
        for (const [i, job] of jobs.entries()) {
          const outcome = yield* kit.outcome(job)
          const own = i % 2 === 0 ? { state: "succeeded", outcome: `succeeded: done: ${i}` } : {
            state: "failed",
            outcome: "error: broken"
          }
          const expected = answers[i] === "cancelled" ? { state: "cancelled", outcome: "JobCancelled" } : own
          Check.equal({ state: yield* job.status, outcome }, expected, `job ${i}, whose cancel answered ${answers[i]}`)
          Check.equal(answers[i], expected.state, `answer of the cancel of job ${i}`)
        }
      })
  ),

  define("a worker that lost its lease cannot change how the job ended", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      const late = yield* kit.worker(work, () => Effect.succeed("late"), { concurrency: 1, prefetch: 0 })
      // nor does it get the job again
      yield* late.faults.stall(({ operation }) => ["settle", "extend", "pull"].includes(operation))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.until(() => kit.journal.hasSucceeded(1), "the end of the handler")
      yield* kit.worker(work, () => Effect.fail("in time"))
      Check.equal(yield* kit.outcome(job!, lease + reclaim), "error: in time", "the end of the job")
      yield* late.faults.heal
      yield* kit.elapse(2 * lease)
      Check.equal(yield* kit.outcome(job!), "error: in time", "the end of the job, later")
      Check.equal(yield* job!.status, "failed", "the state of the job")
    })),

  define("a job that is not started before its expiry expires and is never run", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ expiresIn: 1_000 })
      const [job] = yield* kit.enqueue(work, "one")
      const lasting = yield* work.enqueue("two", { expiresIn: "1 hour" })
      yield* kit.elapse(1_100)
      yield* kit.worker(work, done)
      Check.equal(yield* kit.outcome(job!), "JobExpired", "the end of the job")
      Check.equal(yield* kit.outcome(lasting), "succeeded: done: two", "the end of a job with more time")
      Check.equal([yield* job!.status, yield* job!.cancel], ["expired", "expired"], "state, and the answer of cancel")
      Check.equal(kit.journal.starts, ["two"], "the runs")
    })),

  define("a job that started before its expiry may finish after it", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ expiresIn: 2_000 })
      yield* kit.worker(work, (run) => Effect.andThen(Effect.sleep(2_500), done(run)))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      Check.equal(yield* kit.outcome(job!, 3_000), "succeeded: done: one", "the end of the job")
    })),

  define("no attempt starts after the expiry", (kit) =>
    Effect.gen(function*() {
      const expiresIn = 4_000
      const work = kit.work({ expiresIn, maxAttempts: 100 })
      yield* kit.worker(work, () => Effect.fail("broken"))
      const before = yield* kit.now
      const [job] = yield* kit.enqueue(work, "one")
      const after = yield* kit.now
      Check.equal(yield* kit.outcome(job!, expiresIn + 1_500), "JobExpired", "the end of the job")
      Check.between(kit.journal.runs.length, 2, 9, "attempts")
      for (const run of kit.journal.runs) {
        Check.between(run.startedAt, before, after + expiresIn + kit.slack, "when an attempt started")
      }
    })),

  define("the value goes after resultTimeToLive, the state stays", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ resultTimeToLive: 1_000 })
      yield* kit.worker(work, done)
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
      Check.isTrue(Option.isSome(yield* job!.poll), "poll finds the result")
      yield* kit.elapse(3_000)
      const { client } = yield* kit.client
      const record = Option.getOrThrow(yield* client.job(kit.queue, job!.id).record)
      Check.equal([record.state, record.value.length], ["succeeded", 0], "state and size of the value, later")
      Check.equal(yield* job!.status, "succeeded", "the state, later")
      Check.equal((yield* work.enqueue("one", { id: job!.id })).duplicate, true, "the id is taken")
      const late = Option.getOrThrow(yield* job!.poll)
      Check.isTrue(late._tag === "Failure" && String(late.cause).includes("ResultExpired"), "poll says what is gone")
    })),

  define(
    "the state is kept for a minute, and the same id can be used again when it is gone",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ resultTimeToLive: 0 })
        yield* kit.worker(work, done)
        yield* hearPushes(kit, work)
        const job = yield* work.enqueue("one", { id: "the-one" })
        Check.equal(yield* kit.outcome(job), "succeeded: done: one", "the end of the job")
        yield* kit.elapse(stateTimeToLive - 5_000)
        Check.equal(yield* job.status, "succeeded", "the state after 55 s")
        Check.equal((yield* work.enqueue("two", { id: "the-one" })).duplicate, true, "the id is taken")
        yield* kit.elapse(10_000)
        const gone = yield* Effect.flip(kit.within(5_000, eventually(job.status), "the end of the record"))
        Check.equal(gone._tag, "JobNotFound", "the state when the record is gone")
        yield* hearPushes(kit, work)
        const again = yield* work.enqueue("three", { id: "the-one" })
        Check.equal(again.duplicate, false, "the id is free")
        Check.equal(yield* kit.outcome(again), "succeeded: done: three", "the end of the new job")
      })
  ),

  define("a state is kept for four leases of its worker", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ resultTimeToLive: 0 })
      yield* kit.worker(work, done, { idleTimeout: 20_000 })
      yield* hearPushes(kit, work)
      const job = yield* work.enqueue("one", { id: "the-one" })
      Check.equal(yield* kit.outcome(job), "succeeded: done: one", "the end of the job")
      yield* kit.elapse(75_000)
      Check.equal(yield* job.status, "succeeded", "the state after 75 s")
    }))
]

/**
 * A value that is not kept is only pushed. A client hears every push from its first wait on, until nobody has waited
 * for half a minute; that first wait itself may begin after the push, so how its job ended does not count.
 */
const hearPushes = (kit: Kit, work: Work) =>
  Effect.flatMap(work.enqueue("not counted"), (job) => Effect.asVoid(kit.outcome(job)))

/** Looks again until it fails: a broker may keep a record for longer. */
const eventually = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<never, E> =>
  Effect.forever(Effect.andThen(effect, Effect.sleep(100)))
