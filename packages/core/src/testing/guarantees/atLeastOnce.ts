/**
 * Guarantees 1 and 3: at least once; record first, then acknowledge.
 */
import * as Effect from "effect/Effect"
import * as Check from "../Check.ts"
import { type Case, define, done, lease, never, reclaim } from "./kit.ts"

export const cases: ReadonlyArray<Case> = [
  define("a job whose worker crashed is run by another worker", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const victim = yield* kit.worker(work, never)
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* victim.crash
      const heir = yield* kit.worker(work, done)
      Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: done: one", "the end of the job")
      const [, second] = kit.journal.of("one")
      Check.equal([second?.worker, second?.attempt, second?.deliveries], [heir.id, 1, 2], "the second run")
    })),

  define(
    "jobs that a crashed worker held and had not started are run by another worker",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const victim = yield* kit.worker(work, never, { concurrency: 1, prefetch: 10 })
        const names = ["one", "two", "three", "four"]
        const jobs = yield* kit.enqueue(work, ...names)
        yield* kit.started("one")
        yield* victim.crash
        yield* kit.worker(work, done)
        yield* kit.within(lease + reclaim, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
        Check.sameMembers(kit.journal.starts, ["one", ...names], "the runs")
      })
  ),

  define(
    "jobs that were enqueued while no worker was there are run by the first that comes",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const jobs = yield* kit.enqueue(work, "one", "two", "three")
        yield* kit.elapse(3 * lease)
        Check.equal(yield* Effect.forEach(jobs, (job) => job.status), ["queued", "queued", "queued"], "states")
        yield* kit.worker(work, done)
        yield* kit.within(1_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      })
  ),

  define("of twenty workers one runs the job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* Effect.forEach(Array.from({ length: 20 }), () => kit.worker(work, done), { concurrency: "unbounded" })
      const [job] = yield* kit.enqueue(work, "one")
      Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
      yield* kit.elapse(lease + reclaim)
      Check.equal(kit.journal.starts, ["one"], "the runs")
    })),

  define("workers that crash one after the other lose no job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const names = Array.from({ length: 12 }, (_, i) => `job ${i}`)
      const jobs = yield* kit.enqueue(work, ...names)
      for (let generation = 0; generation < 3; generation++) {
        // every job with an even number of this generation hangs
        const victim = yield* kit.worker(
          work,
          (run) => Number(run.job.slice(4)) % 4 === generation ? done(run) : Effect.never,
          { concurrency: 4 }
        )
        yield* kit.until(() => kit.journal.by(victim.id).length >= 4, "four runs", lease + reclaim)
        yield* victim.crash
      }
      yield* kit.worker(work, done, { maxDeliveries: 10 })
      const ends = yield* kit.within(20_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(ends, names.map((name) => `done: ${name}`), "results")
    })),

  define("a hand-out whose reply was lost comes again when its lease ends", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, done)
      yield* worker.faults.loseReplies(({ operation }) => operation === "pull")
      const [one, two] = yield* kit.enqueue(work, "one", "two")
      yield* kit.elapse(200)
      yield* worker.faults.heal
      Check.equal(kit.journal.starts, [], "runs of jobs that nobody knows of")
      Check.equal(
        [yield* kit.outcome(one!, lease + reclaim), yield* kit.outcome(two!)],
        ["succeeded: done: one", "succeeded: done: two"],
        "the ends"
      )
      Check.sameMembers(kit.journal.starts, ["one", "two"], "the runs")
    })),

  define("an enqueue whose reply was lost can be repeated with the same id", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.faults.loseReplies(({ operation }) => operation === "send")
      const lost = yield* Effect.flip(work.enqueue("one", { id: "the-one" }))
      Check.equal([lost._tag, lost.reason._tag], ["TransportError", "Unavailable"], "the error of a lost reply")
      yield* kit.faults.heal
      const job = yield* work.enqueue("one", { id: "the-one" })
      yield* kit.worker(work, done)
      Check.equal(yield* kit.outcome(job), "succeeded: done: one", "the end of the job")
      yield* kit.elapse(500)
      Check.equal(kit.journal.starts, ["one"], "the runs")
    })),

  define("a broker that is away for less than a lease costs running jobs nothing", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(
        work,
        (run) => Effect.andThen(Effect.sleep(1_000), done(run)),
        { idleTimeout: 6_000 }
      )
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* worker.faults.loseRequests(true)
      yield* kit.until(() => kit.journal.hasSucceeded(1), "the end of the handler", 1_500)
      yield* kit.elapse(500)
      yield* worker.faults.heal
      Check.equal(yield* kit.outcome(job!, 3_000), "succeeded: done: one", "the end of the job")
      const [next] = yield* kit.enqueue(work, "two")
      Check.equal(yield* kit.outcome(next!, 7_000), "succeeded: done: two", "the end of a job after the outage")
      Check.equal(kit.journal.starts, ["one", "two"], "the runs")
    })),

  define(
    "a worker that crashes after the handler and before the record repeats the job",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const victim = yield* kit.worker(work, done)
        yield* victim.faults.loseRequests(({ operation }) => operation === "settle")
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.until(() => kit.journal.hasSucceeded(1), "the end of the handler")
        yield* victim.crash
        Check.equal(yield* job!.status, "running", "the state of a job without a record")
        yield* kit.worker(work, done)
        Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: done: one", "the end of the job")
        Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 1], "attempts of the two runs")
      })
  ),

  define(
    "a worker that crashes after the record and before it hears of it loses no answer",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const victim = yield* kit.worker(work, done)
        yield* victim.faults.loseReplies(({ operation }) => operation === "settle")
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.reached(job!, "succeeded")
        yield* victim.crash
        yield* kit.worker(work, () => Effect.fail("a second run"))
        yield* kit.elapse(lease + reclaim)
        Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
        Check.equal(kit.journal.starts, ["one"], "the runs")
      })
  ),

  define("settlements that are repeated or whose replies are lost count once", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 5 })
      const worker = yield* kit.worker(
        work,
        (run, execution) => execution.attempt < 4 ? Effect.fail(`failed ${execution.attempt}`) : done(run)
      )
      yield* worker.faults.repeatSettlements(true)
      let calls = 0
      yield* worker.faults.loseReplies(({ operation }) => operation === "settle" && calls++ % 2 === 0)
      const jobs = yield* kit.enqueue(work, "one", "two")
      yield* kit.within(10_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      yield* kit.elapse(lease + reclaim)
      for (const name of ["one", "two"]) {
        Check.equal(kit.journal.of(name).map((run) => run.attempt), [1, 2, 3, 4], `attempts of job ${name}`)
      }
    }))
]
