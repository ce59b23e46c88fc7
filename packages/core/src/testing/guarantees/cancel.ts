/**
 * Guarantee 7: after `cancel` returns the record is `cancelled`, or `cancel`
 * says which record was first; a job not yet handed out never starts.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import { cancelTopic } from "../../Bus.ts"
import * as Job from "../../Job.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease, never, type WorkJob } from "./kit.ts"

/** Cancels the job and insists on what everybody then says of it. */
const cancel = (kit: Kit, job: WorkJob) =>
  Effect.gen(function*() {
    Check.equal(yield* job.cancel, "cancelled", "the answer of cancel")
    Check.equal(yield* job.status, "cancelled", "the state of the job")
    Check.equal(yield* kit.outcome(job), "JobCancelled", "the end of the job")
  })

export const cases: ReadonlyArray<Case> = [
  define("a queued job that is cancelled never starts", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const [one] = yield* kit.enqueue(work, "one", "two")
      yield* cancel(kit, one!)
      yield* kit.worker(work, done)
      yield* kit.elapse(2 * lease)
      Check.equal(kit.journal.starts, ["two"], "the runs")
      Check.equal(yield* one!.cancel, "cancelled", "the answer of a second cancel")
    })),

  define("a scheduled job that is cancelled never starts", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const job = yield* work.enqueue("one", { delay: 500 })
      yield* cancel(kit, job)
      yield* kit.elapse(500 + 2 * lease)
      Check.equal(kit.journal.starts, [], "the runs")
    })),

  define("a job that waits for a retry and is cancelled is not tried again", (kit) =>
    Effect.gen(function*() {
      // longer than a busy machine takes to cancel it
      const pause = 3_000
      const work = kit.work({ retry: Schedule.spaced(pause) })
      yield* kit.worker(work, () => Effect.fail("again"))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* kit.reached(job!, "scheduled")
      yield* cancel(kit, job!)
      yield* kit.elapse(pause + 2 * lease)
      Check.equal(kit.journal.starts, ["one"], "the runs")
      Check.equal((yield* job!.info).attempts, 1, "attempts of the record")
    })),

  define("a job that is cancelled in a worker's buffer never starts", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      const worker = yield* kit.worker(
        work,
        (run) => Effect.andThen(gate.await, done(run)),
        { concurrency: 1, prefetch: 10, idleTimeout: 15_000 }
      )
      const [, two, three] = yield* kit.enqueue(work, "one", "two", "three")
      yield* kit.started("one")
      yield* kit.eventually(worker.worker.held, (held) => held === 3, "the hand-out of all three")
      Check.equal(yield* two!.status, "running", "the state of a job that a worker holds")
      yield* cancel(kit, two!)
      yield* gate.open
      Check.equal(yield* kit.outcome(three!, 2_000), "succeeded: done: three", "the end of the job behind it")
      yield* kit.elapse(lease)
      Check.equal(kit.journal.starts, ["one", "three"], "the runs")
      Check.equal(yield* worker.worker.held, 0, "jobs in hand")
    })),

  define(
    "a running job that is cancelled is interrupted at once, and its finalizers run",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        let released = false
        yield* kit.worker(
          work,
          () =>
            Effect.andThen(
              Effect.addFinalizer(() =>
                Effect.sync(() => {
                  released = true
                })
              ),
              Effect.never
            ),
          // the heartbeat that would notice comes after 10 s
          { idleTimeout: 30_000 }
        )
        const [job] = yield* kit.enqueue(work, "one")
        const run = yield* kit.started("one")
        yield* cancel(kit, job!)
        yield* kit.until(() => run.outcome === "interrupted", "the interruption", 500)
        Check.isTrue(released, "the handler's finalizers did not run")
        const [next] = yield* kit.enqueue(work, "two")
        yield* kit.started("two")
        yield* cancel(kit, next!)
      })
  ),

  define(
    "a running job whose cancel message was lost is interrupted at the next heartbeat",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const worker = yield* kit.worker(work, never, { idleTimeout: 3_000 })
        yield* worker.faults.losePushes(({ topic }) => topic[0] === cancelTopic(kit.queue)[0])
        const [job] = yield* kit.enqueue(work, "one")
        const run = yield* kit.started("one")
        yield* cancel(kit, job!)
        yield* kit.until(() => run.outcome === "interrupted", "the interruption", 1_000)
      })
  ),

  define("a buffered job whose cancel message was lost never starts", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      // the job before it runs for three heartbeats: one that is late is still in time
      const worker = yield* kit.worker(
        work,
        (run) => Effect.andThen(Effect.sleep(4_000), done(run)),
        { concurrency: 1, prefetch: 10, idleTimeout: 2 * lease }
      )
      yield* worker.faults.losePushes(({ topic }) => topic[0] === cancelTopic(kit.queue)[0])
      const [one, two] = yield* kit.enqueue(work, "one", "two")
      yield* kit.started("one")
      yield* cancel(kit, two!)
      Check.equal(yield* kit.outcome(one!, 4_500), "succeeded: done: one", "the end of the job before it")
      yield* kit.elapse(lease)
      Check.equal(kit.journal.starts, ["one"], "the runs")
    })),

  define("a job is cancelled by its id, by another client", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, never)
      const [one, two] = yield* kit.enqueue(work, "one", "two")
      const run = yield* kit.started("one")
      const { client } = yield* kit.client
      Check.equal(yield* client.job(kit.queue, one!.id).cancel, "cancelled", "the answer of cancel")
      Check.equal(yield* kit.outcome(one!), "JobCancelled", "the end of the job")
      yield* kit.until(() => run.outcome === "interrupted", "the interruption")
      const handle = yield* Job.fromId(work, two!.id)
      yield* cancel(kit, handle)
    })),

  define("a job that crashed with its worker and is cancelled is not run again", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const victim = yield* kit.worker(work, never)
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* victim.crash
      yield* cancel(kit, job!)
      yield* kit.worker(work, done)
      yield* kit.elapse(3 * lease)
      Check.equal(kit.journal.starts, ["one"], "the runs")
    })),

  define("cancelling what does not exist says so", (kit) =>
    Effect.gen(function*() {
      const job = yield* Job.fromId(kit.work(), "nobody")
      Check.equal((yield* Effect.flip(job.cancel))._tag, "JobNotFound", "the error of cancel")
    }))
]
