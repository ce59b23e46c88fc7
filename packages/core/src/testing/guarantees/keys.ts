/**
 * Guarantee 9: jobs of one key start one at a time, in the order they became
 * due, across all workers.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease, longLease, never, reclaim } from "./kit.ts"

/** Payloads are like `key:name`; without a colon there is no key. */
const keyed = (kit: Kit, options: Parameters<Kit["work"]>[0] = {}) =>
  kit.work({ key: (payload) => payload.split(":")[0]!, ...options })

/** Insists that no two runs of one key overlapped. */
const insistOnTurns = (kit: Kit) => {
  const runs = kit.journal.runs.filter((run) => run.outcome !== "crashed")
  for (const [i, run] of runs.entries()) {
    const overlap = runs.slice(i + 1).find((other) =>
      other.job.split(":")[0] === run.job.split(":")[0] && (run.endedAt === undefined || other.startedAt < run.endedAt)
    )
    if (overlap !== undefined) Check.fail(`${overlap.job} started before ${run.job} ended`)
  }
}

export const cases: ReadonlyArray<Case> = [
  define("jobs of one key run one at a time, in order, across two workers", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const slow = (run: Parameters<typeof done>[0]) => Effect.andThen(Effect.sleep(30), done(run))
      yield* kit.worker(work, slow)
      yield* kit.worker(work, slow)
      const names = Array.from({ length: 10 }, (_, i) => [`a:${i}`, `b:${i}`]).flat()
      const jobs = yield* kit.enqueue(work, ...names)
      yield* kit.within(3_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      for (const key of ["a", "b"]) {
        const ofKey = (job: string) => job.startsWith(key)
        Check.equal(kit.journal.starts.filter(ofKey), names.filter(ofKey), `the runs of key ${key}`)
      }
      insistOnTurns(kit)
    })),

  define("a slow key holds only itself", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const free = kit.work()
      const options = { concurrency: 2, prefetch: 2, idleTimeout: longLease }
      yield* kit.worker(work, (run) => run.job === "slow:1" ? Effect.never : done(run), options)
      yield* kit.enqueue(work, ...Array.from({ length: 30 }, (_, i) => `slow:${i + 1}`))
      const jobs = yield* kit.enqueue(work, "other:1", "other:2", "third:1")
      const keyless = yield* kit.enqueue(free, "none", "none at all")
      yield* kit.within(1_000, Effect.forEach([...jobs, ...keyless], (job) => job.await), "the end of the other jobs")
      yield* kit.elapse(2 * lease)
      Check.equal(kit.journal.starts.filter((job) => job.startsWith("slow")), ["slow:1"], "runs of the slow key")
    })),

  define("a head that waits for a retry keeps its turn", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      yield* kit.worker(work, (run) => run.job === "a:1" && run.attempt < 3 ? Effect.fail("again") : done(run))
      const jobs = yield* kit.enqueue(work, "a:1", "a:2", "a:3")
      yield* kit.within(5_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, ["a:1", "a:1", "a:1", "a:2", "a:3"], "the runs")
    })),

  define("a head that snoozes keeps its turn", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const isTired = (job: string) => job === "a:1" && kit.journal.of(job).length < 3
      yield* kit.worker(work, (run) =>
        isTired(run.job) ? Effect.fail(new Task.Snooze({ delay: Duration.millis(500) })) : done(run))
      const jobs = yield* kit.enqueue(work, "a:1", "a:2")
      yield* kit.within(
        5_000,
        Effect.forEach(jobs, (job) =>
          job.await),
        "the end of all jobs"
      )
      Check.equal(kit.journal.starts, ["a:1", "a:1", "a:1", "a:2"], "the runs")
    })),

  define("a head whose worker crashed keeps its turn", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const victim = yield* kit.worker(work, never)
      const jobs = yield* kit.enqueue(work, "a:1", "a:2", "a:3")
      yield* kit.started("a:1")
      yield* victim.crash
      yield* kit.worker(work, done)
      yield* kit.worker(work, done)
      yield* kit.within(lease + reclaim + 1_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, ["a:1", "a:1", "a:2", "a:3"], "the runs")
      insistOnTurns(kit)
    })),

  define("a head that is released at a shutdown keeps its turn", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const first = yield* kit.worker(work, never, { gracePeriod: 0 })
      const jobs = yield* kit.enqueue(work, "a:1", "a:2")
      yield* kit.started("a:1")
      yield* kit.worker(work, done)
      yield* kit.within(1_000, first.shutdown, "the end of the worker")
      yield* kit.within(1_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, ["a:1", "a:1", "a:2"], "the runs")
      insistOnTurns(kit)
    })),

  define("a running head that is cancelled lets the next one start", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      yield* kit.worker(work, (run) => run.job === "a:1" ? Effect.never : done(run))
      const [one, two] = yield* kit.enqueue(work, "a:1", "a:2")
      yield* kit.started("a:1")
      yield* one!.cancel
      Check.equal(yield* kit.outcome(two!), "succeeded: done: a:2", "the end of the next job")
    })),

  define(
    "a head that is cancelled while it waits for a retry lets the next one start",
    (kit) =>
      Effect.gen(function*() {
        const work = keyed(kit)
        yield* kit.worker(work, (run) =>
          run.job === "a:1"
            ? Effect.fail(new Task.RetryAfter({ delay: Duration.hours(1), reason: "busy" }))
            : done(run))
        const [one, two] = yield* kit.enqueue(work, "a:1", "a:2")
        yield* kit.started("a:1")
        yield* kit.elapse(lease)
        Check.equal(kit.journal.starts, ["a:1"], "the runs before")
        Check.equal(yield* one!.cancel, "cancelled", "the answer of cancel")
        Check.equal(yield* kit.outcome(two!), "succeeded: done: a:2", "the end of the next job")
      })
  ),

  define(
    "a job that waits behind its key and is cancelled never starts, and the others keep their order",
    (kit) =>
      Effect.gen(function*() {
        const gate = yield* Latch.make()
        const work = keyed(kit)
        yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)))
        const [, two, three] = yield* kit.enqueue(work, "a:1", "a:2", "a:3")
        yield* kit.started("a:1")
        Check.equal(yield* two!.cancel, "cancelled", "the answer of cancel")
        yield* gate.open
        Check.equal(yield* kit.outcome(three!), "succeeded: done: a:3", "the end of the last job")
        Check.equal(kit.journal.starts, ["a:1", "a:3"], "the runs")
      })
  ),

  define(
    "a head that fails for good, expires or is discarded lets the next one start",
    (kit) =>
      Effect.gen(function*() {
        const work = keyed(kit, { maxAttempts: 1 })
        const [failing, discarded] = yield* kit.enqueue(work, "a:failing", "a:discarded")
        const expiring = yield* work.enqueue("a:expiring", { expiresIn: 200 })
        const [last] = yield* kit.enqueue(work, "a:last")
        yield* kit.elapse(300)
        yield* kit.worker(work, (run) =>
          run.job === "a:failing"
            ? Effect.fail("broken")
            : run.job === "a:discarded"
            ? Effect.fail(new Task.Discard({ reason: "no use" }))
            : done(run))
        Check.equal(
          [
            yield* kit.outcome(failing!),
            yield* kit.outcome(discarded!),
            yield* kit.outcome(expiring),
            yield* kit.outcome(last!)
          ],
          ["error: broken", "JobFailed: Discarded", "JobExpired", "succeeded: done: a:last"],
          "the ends"
        )
      })
  ),

  define("a delayed job joins its key when it is due, and holds it not before", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = keyed(kit)
      yield* kit.worker(work, (run) => run.job === "a:long" ? Effect.andThen(gate.await, done(run)) : done(run))
      const delayed = yield* work.enqueue("a:delayed", { delay: 4_000 })
      const [early] = yield* kit.enqueue(work, "a:early")
      Check.equal(
        yield* kit.outcome(early!, 3_000),
        "succeeded: done: a:early",
        "the end of a job behind the delayed one"
      )
      const [long] = yield* kit.enqueue(work, "a:long")
      // due before this one, while the head still runs
      yield* kit.elapse(4_200)
      const [late] = yield* kit.enqueue(work, "a:late")
      yield* gate.open
      yield* kit.within(3_000, Effect.forEach([delayed, long!, late!], (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, ["a:early", "a:long", "a:delayed", "a:late"], "the runs")
      insistOnTurns(kit)
    })),

  define("jobs of one key with different priorities keep their order, or are refused", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const low = yield* work.enqueue("a:1", { priority: "low" })
      const second = yield* Effect.result(work.enqueue("a:2", { priority: "high" }))
      if (!kit.transport.capabilities.keyedPriority) {
        const refusal = second._tag === "Failure" && second.failure._tag === "TransportError"
          ? second.failure.reason._tag
          : "accepted"
        return Check.equal(refusal, "Unsupported", "the answer of a broker without keyed priorities")
      }
      const jobs = [low, Check.present(second._tag === "Success" ? second.success : undefined, "the second job")]
      yield* kit.worker(work, done, { concurrency: 1, prefetch: 0 })
      yield* kit.within(1_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, ["a:1", "a:2"], "the runs")
    })),

  define("ids, keys and payloads may hold any characters", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit, { key: (payload) => `key ${payload}` })
      yield* kit.worker(work, done)
      const strange = [
        "a|||b",
        "line\nbreak",
        "nul\u0000nul",
        "😀 emoji",
        "*.>",
        "{}",
        "a/b\\c",
        " ",
        "..",
        "%2E",
        "ä ö ü"
      ]
      const jobs = yield* Effect.forEach(strange, (text) => work.enqueue(text, { id: text, headers: { [text]: text } }))
      const ends = yield* kit.within(2_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(ends, strange.map((text) => `done: ${text}`), "results")
      Check.equal(kit.journal.starts.length, strange.length, "runs")
      Check.sameMembers(kit.journal.runs.map((run) => run.id), strange, "ids")
    }))
]
