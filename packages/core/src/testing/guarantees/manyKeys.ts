/**
 * Guarantee 9 at its edges: very long mailboxes, very many keys, and heads that
 * end badly.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as DeadLetter from "../../DeadLetter.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease, reclaim, type Work, type WorkJob } from "./kit.ts"

/** Payloads are like `key:name`. */
const keyed = (kit: Kit, options: Parameters<Kit["work"]>[0] = {}) =>
  kit.work({ key: (payload) => payload.split(":")[0]!, ...options })

const enqueueAll = (work: Work, names: ReadonlyArray<string>) =>
  Effect.map(
    work.enqueueMany(names.map((payload) => ({ payload }))),
    (outcomes) => outcomes.map((outcome): WorkJob => Result.getOrThrow(outcome))
  )

export const cases: ReadonlyArray<Case> = [
  define("a key with 10,000 waiting jobs does not delay a key with one", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      yield* kit.worker(work, (run) => Effect.andThen(Effect.sleep(5), done(run)), { concurrency: 4 })
      const jobs = yield* enqueueAll(work, Array.from({ length: 10_000 }, (_, i) => `long:${i}`))
      yield* kit.within(2_000, jobs[0]!.await, "the end of the first job")
      for (const name of ["one:a", "two:a", "three:a"]) {
        const [job] = yield* kit.enqueue(work, name)
        yield* kit.within(500, job!.await, `the end of ${name}`)
      }
      const ran = kit.journal.starts.filter((name) => name.startsWith("long"))
      Check.equal(ran, ran.map((_, i) => `long:${i}`), "the runs of the long mailbox")
      Check.between(ran.length, 1, 9_000, "runs of the long mailbox so far")
    })),

  define("10,000 keys all get their turn, each in its order", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const names = Array.from({ length: 10_000 }, (_, i) => `${i}:a`)
      for (let i = 0; i < 200; i++) names.push(`${i * 50}:b`)
      yield* enqueueAll(work, names)
      for (let i = 0; i < 2; i++) yield* kit.worker(work, done, { concurrency: 64 })
      // not one await after the other: a virtual clock goes on for each
      yield* kit.until(() => kit.journal.hasSucceeded(names.length), "the end of all jobs", 120_000)
      const last = new Map<string, string>()
      for (const job of kit.journal.starts) {
        const [key = "", name = ""] = job.split(":")
        Check.equal(name, last.has(key) ? "b" : "a", `the next job of key ${key}`)
        last.set(key, name)
      }
      Check.equal(kit.journal.starts.length, names.length, "runs")
    })),

  define("a head that ends its workers is dead-lettered, and the next one starts", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const jobs = yield* kit.enqueue(work, "a:poison", "a:next", "a:last")
      for (let i = 1; i <= 2; i++) {
        const victim = yield* kit.worker(work, () => Effect.never, { maxDeliveries: 2 })
        yield* kit.started("a:poison", i, lease + reclaim + 1_000)
        yield* victim.crash
      }
      yield* kit.worker(work, done, { maxDeliveries: 2 })
      const ends = yield* Effect.forEach(jobs, (job) => kit.outcome(job, lease + reclaim + 1_000))
      Check.equal(ends, ["JobFailed: Poison", "succeeded: done: a:next", "succeeded: done: a:last"], "the ends")
      Check.equal(kit.journal.starts, ["a:poison", "a:poison", "a:next", "a:last"], "the runs")
    })),

  define("a head that expires while it waits for its retry lets the next one start", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const busy = new Task.RetryAfter({ delay: Duration.seconds(5), reason: "busy" })
      yield* kit.worker(work, (run) => run.job === "a:1" ? Effect.fail(busy) : done(run))
      const first = yield* work.enqueue("a:1", { expiresIn: 2_500 })
      yield* kit.started("a:1")
      const [second] = yield* kit.enqueue(work, "a:2")
      Check.equal(yield* kit.outcome(first, 7_000), "JobExpired", "the end of the head")
      Check.equal(yield* kit.outcome(second!, 2_000), "succeeded: done: a:2", "the end of the next one")
      Check.equal(kit.journal.starts, ["a:1", "a:2"], "the runs")
    })),

  define("a dead letter that is replayed joins the end of its key", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit, { maxAttempts: 1 })
      const isFirst = (job: string) => kit.journal.of(job).length === 1
      yield* kit.worker(work, (run) =>
        run.job === "a:1" && isFirst(run.job)
          ? Effect.fail("broken")
          : run.job === "a:2"
          ? Effect.andThen(Effect.sleep(500), done(run))
          : done(run))
      const [one, , three] = yield* kit.enqueue(work, "a:1", "a:2", "a:3")
      yield* kit.started("a:2")
      Check.equal(yield* DeadLetter.replay(kit.queue, [one!.id]), ["done"], "the answer of replay")
      yield* kit.within(2_000, three!.await, "the end of the last job")
      yield* kit.until(() => kit.journal.of("a:1").length === 2, "the replay")
      Check.equal(kit.journal.starts, ["a:1", "a:2", "a:3", "a:1"], "the runs")
    })),

  define("a pause holds every key, and their order is the same afterwards", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      yield* kit.worker(work, (run) => Effect.andThen(Effect.sleep(100), done(run)), { concurrency: 2, prefetch: 4 })
      const names = Array.from({ length: 6 }, (_, i) => ["a", "b", "c"].map((key) => `${key}:${i}`)).flat()
      const jobs = yield* kit.enqueue(work, ...names)
      yield* kit.started("a:1")
      yield* JobQueue.pause(kit.queue)
      yield* kit.elapse(1_500)
      const before = kit.journal.starts.length
      yield* kit.elapse(500)
      Check.equal(kit.journal.starts.length, before, "runs while it is paused")
      yield* JobQueue.resume(kit.queue)
      yield* kit.within(5_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      for (const key of ["a", "b", "c"]) {
        const ofKey = (name: string) => name.startsWith(key)
        Check.equal(kit.journal.starts.filter(ofKey), names.filter(ofKey), `the runs of key ${key}`)
      }
    })),

  define("workers that end one after the other hand their keys on in order", (kit) =>
    Effect.gen(function*() {
      const work = keyed(kit)
      const names = Array.from({ length: 8 }, (_, i) => ["a", "b", "c", "d"].map((key) => `${key}:${i}`)).flat()
      const slow = (run: Parameters<typeof done>[0]) => Effect.andThen(Effect.sleep(50), done(run))
      const jobs = yield* kit.enqueue(work, ...names)
      for (let i = 0; i < 3; i++) {
        const worker = yield* kit.worker(work, slow, { concurrency: 1, prefetch: 8, gracePeriod: 0 })
        const before = kit.journal.starts.length
        yield* kit.until(() => kit.journal.starts.length > before + 2, "some runs")
        yield* kit.within(1_000, worker.shutdown, "the end of the worker")
      }
      yield* kit.worker(work, slow)
      yield* kit.within(5_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      for (const key of ["a", "b", "c", "d"]) {
        const ofKey = kit.journal.runs.filter((run) => run.job.startsWith(key) && run.outcome === "succeeded")
        Check.equal(ofKey.map((run) => run.job), names.filter((name) => name.startsWith(key)), `the runs of key ${key}`)
      }
    }))
]
