/**
 * Guarantee 4: a delivery that is not heartbeaten for `idleTimeout` is handed
 * out again within a second, and a healthy one is not.
 */
import * as Effect from "effect/Effect"
import * as Check from "../Check.ts"
import type { Call } from "../Faults.ts"
import { type Case, define, done, type Kit, lease, never, type Process, reclaim } from "./kit.ts"

/** A connection that is lost: the broker is silent, or refuses everything. */
const outages: ReadonlyArray<readonly [string, (process: Process) => Effect.Effect<void>]> = [
  ["is not answered", ({ faults }) => faults.stall(true)],
  ["is refused", ({ faults }) => faults.loseRequests(true)]
]

/** A handler that takes this many ms. */
const slow = (milliseconds: number) => (run: Parameters<typeof done>[0]) =>
  Effect.andThen(Effect.sleep(milliseconds), done(run))

/** Runs a job on a worker that is then cut off, and lets another worker take over. */
const cutOff = (kit: Kit, cut: (process: Process) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const work = kit.work()
    // no pull is under way when the connection breaks: a job handed to it would be late by another lease
    const first = yield* kit.worker(work, never, { concurrency: 1, prefetch: 0 })
    // away from the beats of the heartbeat, which began when the worker started
    yield* kit.elapse(150)
    const [job] = yield* kit.enqueue(work, "one")
    yield* kit.started("one")
    const cutAt = yield* kit.now
    yield* cut(first)
    const second = yield* kit.worker(work, done)
    Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: done: one", "the end of the job")
    const [lost, won] = kit.journal.of("one")
    return { first, second, job: job!, cutAt, lost: lost!, won: won! }
  })

export const cases: ReadonlyArray<Case> = [
  define(
    "a job is handed out again within a second after the idle timeout, and not before",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const victim = yield* kit.worker(work, never)
        const before = yield* kit.now
        yield* kit.enqueue(work, "one")
        yield* kit.started("one")
        yield* victim.crash
        const after = yield* kit.now
        yield* kit.worker(work, done)
        const second = yield* kit.started("one", 2, lease + reclaim)
        const latest = after + lease + reclaim + kit.slack
        Check.between(second.startedAt, before + lease, latest, "when the job started again")
      })
  ),

  define("a crash after many heartbeats is noticed as fast as one at the start", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const victim = yield* kit.worker(work, never)
      yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* kit.elapse(4.5 * lease)
      yield* victim.crash
      const crashedAt = yield* kit.now
      yield* kit.worker(work, done)
      const second = yield* kit.started("one", 2, lease + reclaim)
      // the last heartbeat was sent a third of a lease before, at most
      const earliest = crashedAt + lease * 2 / 3 - kit.slack
      Check.between(second.startedAt, earliest, crashedAt + lease + reclaim + kit.slack, "when the job started again")
    })),

  define("the idle timeout of a queue is the largest that a live worker announces", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const victim = yield* kit.worker(work, never, { prefetch: 0 })
      yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* kit.worker(work, done, { idleTimeout: 3 * lease })
      const before = yield* kit.now
      yield* victim.crash
      const second = yield* kit.started("one", 2, 3 * lease + reclaim)
      Check.between(
        second.startedAt,
        before + 2 * lease,
        before + 3 * lease + reclaim + kit.slack,
        "when the job started again"
      )
    })),

  define("a healthy job of eleven leases runs once", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, slow(11 * lease))
      yield* kit.worker(work, slow(11 * lease))
      const jobs = yield* kit.enqueue(work, "one", "two", "three")
      yield* kit.within(12 * lease, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.sameMembers(kit.journal.starts, ["one", "two", "three"], "the runs")
      Check.isTrue(kit.journal.runs.every((run) => run.deliveries === 1), "no job was handed out again")
      // the result comes to the client before the answer comes to the worker
      yield* kit.within(1_000, worker.worker.idle, "the end of what the worker has in hand")
    })),

  define("a job that waits in a worker's buffer for many leases is handed out once", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const names = ["one", "two", "three", "four"]
      yield* kit.worker(work, slow(1.5 * lease), { concurrency: 1, prefetch: 10 })
      const jobs = yield* kit.enqueue(work, ...names)
      yield* kit.within(7 * lease, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(kit.journal.starts, names, "the runs")
      Check.isTrue(kit.journal.runs.every((run) => run.deliveries === 1), "no job was handed out again")
    })),

  ...outages.map(([what, cut]) =>
    define(
      `a worker whose heartbeat ${what} for a lease interrupts its handler before the job runs elsewhere`,
      (kit) =>
        Effect.gen(function*() {
          const { cutAt, lost, won } = yield* cutOff(kit, cut)
          Check.equal([lost.outcome, won.outcome], ["interrupted", "succeeded"], "the two runs")
          const endedAt = Check.present(lost.endedAt, "the end of the first run")
          Check.between(endedAt, cutAt, cutAt + lease + kit.slack, "when the handler was interrupted")
          Check.isTrue(endedAt <= won.startedAt + kit.slack, "it was interrupted after the job started elsewhere")
        })
    )
  ),

  define("a worker that was cut off for more than a lease settles nothing", (kit) =>
    Effect.gen(function*() {
      const calls: Array<Call> = []
      const { first, job } = yield* cutOff(kit, ({ faults }) => faults.stall(true))
      yield* first.faults.heal
      yield* first.faults.loseRequests((call) => {
        calls.push(call)
        return false
      })
      yield* kit.elapse(2 * lease)
      Check.equal(calls.filter((call) => call.operation === "settle"), [], "settlements after the outage")
      Check.equal(yield* job.status, "succeeded", "the state of the job")
      // it is a worker like any other again
      const [next] = yield* kit.enqueue(kit.work(), "two")
      yield* kit.until(() => kit.journal.of("two").length > 0, "the run of the next job")
      Check.isTrue(kit.journal.of("two").length === 1 && next !== undefined, "the next job runs once")
    })),

  define(
    "the success of a handler that could not be interrupted in time loses against the one of the new owner",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const stubborn = yield* kit.worker(
          work,
          () => Effect.uninterruptible(Effect.as(Effect.sleep(4 * lease), "from the one who lost it")),
          // it must not wait for the job that it loses
          { concurrency: 1, prefetch: 0 }
        )
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.started("one")
        yield* stubborn.faults.stall(true)
        yield* kit.worker(work, done)
        Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: done: one", "the end of the job")
        yield* stubborn.faults.heal
        yield* kit.elapse(4 * lease)
        Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end of the job, later")
      })
  ),

  ...outages.map(([what, cut]) =>
    define(`a heartbeat that ${what} for less than a lease costs nothing`, (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const options = { idleTimeout: 3 * lease }
        const owner = yield* kit.worker(work, slow(6 * lease), options)
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.started("one")
        yield* kit.worker(work, done, options)
        yield* cut(owner)
        // two beats, of which one may have been due just then: more of a lease is left than a machine stands still
        yield* kit.elapse(lease)
        yield* owner.faults.heal
        Check.equal(yield* kit.outcome(job!, 10 * lease), "succeeded: done: one", "the end of the job")
        Check.equal(kit.journal.starts, ["one"], "the runs")
      }))
  )
]
