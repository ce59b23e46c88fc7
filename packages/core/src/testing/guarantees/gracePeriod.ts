/**
 * Guarantee 8: a worker that shuts down hands back what it has not started at
 * once, lets the rest finish within the grace period, and releases what is left.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import { type Body, type Case, define, done, lease, longLease, never } from "./kit.ts"

const slow = (milliseconds: number): Body => (run) => Effect.andThen(Effect.sleep(milliseconds), done(run))

export const cases: ReadonlyArray<Case> = [
  define(
    "prefetched jobs are handed back within a second, uncounted, while the running one goes on",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const options = { concurrency: 1, prefetch: 10, idleTimeout: longLease }
        const first = yield* kit.worker(work, slow(3_000), options)
        const [one] = yield* kit.enqueue(work, "one", "two", "three", "four")
        yield* kit.started("one")
        yield* kit.elapse(200)
        const shutdown = yield* Effect.forkChild(first.shutdown, { startImmediately: true })
        const second = yield* kit.worker(work, done, { idleTimeout: longLease })
        yield* kit.until(() => kit.journal.by(second.id).length === 3, "the runs of the jobs that were handed back")
        const runs = kit.journal.by(second.id)
        Check.sameMembers(runs.map((run) => run.job), ["two", "three", "four"], "jobs on the second worker")
        Check.isTrue(runs.every((run) => run.attempt === 1 && run.deliveries === 1), "a hand-back was counted")
        Check.equal(kit.journal.of("one")[0]!.outcome, "running", "what the running handler does meanwhile")
        Check.equal(yield* kit.outcome(one!, 3_500), "succeeded: done: one", "the end of the running job")
        yield* kit.within(1_000, Fiber.join(shutdown), "the end of the worker")
        Check.equal(kit.journal.by(first.id).length, 1, "runs of the first worker")
      })
  ),

  define("a worker that shuts down takes no new jobs", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, slow(1_000))
      yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      const shutdown = yield* Effect.forkChild(worker.shutdown, { startImmediately: true })
      yield* kit.elapse(50)
      const [late] = yield* kit.enqueue(work, "late")
      yield* kit.within(1_500, Fiber.join(shutdown), "the end of the worker")
      Check.equal(kit.journal.starts, ["one"], "the runs")
      Check.equal(yield* late!.status, "queued", "the state of a job that came later")
    })),

  define("a handler that fails within the grace period is settled as a failure", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      const worker = yield* kit.worker(
        work,
        () => Effect.andThen(Effect.sleep(500), Effect.fail("broken")),
        { idleTimeout: longLease }
      )
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* kit.within(1_500, worker.shutdown, "the end of the worker")
      Check.equal(yield* kit.outcome(job!), "error: broken", "the end of the job")
    })),

  define(
    "handlers left over when the grace period ends run their finalizers and are released uncounted",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        let released = false
        const cleanUp = Effect.addFinalizer(() =>
          Effect.andThen(
            Effect.sleep(300),
            Effect.sync(() => {
              released = true
            })
          )
        )
        const first = yield* kit.worker(
          work,
          () => Effect.andThen(cleanUp, Effect.never),
          { idleTimeout: longLease, gracePeriod: 2_000 }
        )
        const [job] = yield* kit.enqueue(work, "one")
        const run = yield* kit.started("one")
        const before = yield* kit.now
        yield* kit.within(3_000, first.shutdown, "the end of the worker")
        Check.between((yield* kit.now) - before, 2_000, 2_300 + 500 + kit.slack, "ms until the worker had ended")
        Check.equal([run.outcome, released], ["interrupted", true], "the first run, and whether its finalizers ran")
        yield* kit.worker(work, done, { idleTimeout: longLease })
        const second = yield* kit.started("one", 2)
        Check.equal([second.attempt, second.deliveries], [1, 1], "attempt and deliveries of the second run")
        Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
      })
  ),

  define(
    "a handler whose finalizers fail at the end of the grace period is released uncounted as well",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        const first = yield* kit.worker(
          work,
          () => Effect.andThen(Effect.addFinalizer(() => Effect.die(new Error("cannot clean up"))), Effect.never),
          { idleTimeout: longLease, gracePeriod: 0 }
        )
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.started("one")
        yield* kit.within(1_000, first.shutdown, "the end of the worker")
        yield* kit.worker(work, done, { idleTimeout: longLease })
        Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
        Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 1], "attempts")
      })
  ),

  define("a second signal skips the rest of the grace period", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, never, { idleTimeout: longLease, gracePeriod: "1 minute" })
      const [job] = yield* kit.enqueue(work, "one")
      const run = yield* kit.started("one")
      const shutdown = yield* Effect.forkChild(worker.shutdown, { startImmediately: true })
      yield* kit.elapse(1_000)
      Check.equal(run.outcome, "running", "the run within the grace period")
      yield* worker.stopNow
      yield* kit.within(1_000, Fiber.join(shutdown), "the end of the worker")
      Check.equal(run.outcome, "interrupted", "the run after the second signal")
      Check.equal(yield* job!.status, "queued", "the state of the released job")
    })),

  define("an idle worker ends at once", (kit) =>
    Effect.gen(function*() {
      const worker = yield* kit.worker(kit.work(), done, { gracePeriod: "1 minute" })
      yield* kit.within(500, worker.shutdown, "the end of the worker")
    })),

  define("heartbeats go on within the grace period", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const first = yield* kit.worker(work, slow(5 * lease))
      yield* kit.worker(work, done)
      const jobs = yield* kit.enqueue(work, "one", "two", "three", "four")
      yield* kit.until(() => kit.journal.starts.length === 4, "four runs")
      yield* kit.within(6 * lease, first.shutdown, "the end of the worker")
      yield* kit.within(1_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts.length, 4, "runs")
    })),

  define("settlements that were on their way when the worker shut down arrive", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, done, { idleTimeout: longLease })
      yield* worker.faults.loseRequests(({ operation }) => operation === "settle")
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.until(() => kit.journal.hasSucceeded(1), "the end of the handler")
      const shutdown = yield* Effect.forkChild(worker.shutdown, { startImmediately: true })
      yield* kit.elapse(500)
      Check.isTrue(shutdown.pollUnsafe() === undefined, "the worker ended before its settlement was answered")
      yield* worker.faults.heal
      yield* kit.within(4_000, Fiber.join(shutdown), "the end of the worker")
      Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job")
      Check.equal(kit.journal.starts, ["one"], "the runs")
    })),

  define("what a handler's layer acquired is released after the last job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const log: Array<string> = []
      const note = (text: string) => Effect.sync(() => void log.push(text))
      const resource = Layer.effectDiscard(Effect.acquireRelease(note("acquired"), () => note("released")))
      let started = 0
      const handler = Effect.as(
        Effect.acquireRelease(note("handler built"), () => note("handler released")),
        (job: string) => {
          started++
          return Effect.as(Effect.andThen(Effect.sleep(500), note(`ran ${job}`)), job)
        }
      )
      const process = yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [work] }).pipe(Layer.provide(work.toLayer(handler)), Layer.provide(resource))
      )
      const jobs = yield* kit.enqueue(work, "one", "two")
      yield* kit.until(() => log.length >= 2, "the layers are built")
      yield* kit.until(() => started === 2, "both runs")
      yield* kit.within(2_000, process.shutdown, "the end of the worker")
      Check.equal(yield* Effect.forEach(jobs, (job) => job.status), ["succeeded", "succeeded"], "states")
      Check.equal(
        log,
        ["acquired", "handler built", "ran one", "ran two", "handler released", "released"],
        "what happened"
      )
    }))
]
