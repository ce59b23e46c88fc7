/**
 * Guarantee 13: whoever waits for a result gets it, from a push or from the
 * record, or hears that the job does not exist.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Result from "effect/Result"
import * as DeadLetter from "../../DeadLetter.ts"
import * as Job from "../../Job.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, lease, never } from "./kit.ts"

/** How long a waiter may take whose push was lost, ms. */
const reread = 5_000

export const cases: ReadonlyArray<Case> = [
  define("a result that was there before the wait is found, by any client", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.until(() => kit.journal.hasSucceeded(1), "the run")
      yield* kit.elapse(200)
      Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end, for the client that enqueued it")
      Check.equal(yield* kit.outcome(job!), "succeeded: done: one", "the end, asked again")
      const { run } = yield* kit.client
      const handle = yield* run(Job.fromId(work, job!.id))
      Check.equal(yield* kit.outcome(handle), "succeeded: done: one", "the end, for another client")
    })),

  define("a waiter is woken by a push, in whichever client it waits", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)))
      const [job] = yield* kit.enqueue(work, "one")
      const { client, run } = yield* kit.client
      const handle = yield* run(Job.fromId(work, job!.id))
      const waits = yield* Effect.forEach(
        [
          job!.await,
          job!.await,
          handle.await,
          handle.await,
          Effect.as(client.job(kit.queue, job!.id).awaitRecord, "untyped")
        ],
        (wait) => Effect.forkChild(wait, { startImmediately: true })
      )
      yield* kit.elapse(500)
      yield* gate.open
      const ends = yield* kit.within(500, Effect.forEach(waits, Fiber.join), "the end of all waits")
      Check.equal(ends, ["done: one", "done: one", "done: one", "done: one", "untyped"], "what they got")
    })),

  define("a waiter that gives up does not disturb the others", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)))
      const [job] = yield* kit.enqueue(work, "one")
      const impatient = yield* Effect.forkChild(job!.await, { startImmediately: true })
      const patient = yield* Effect.forkChild(job!.await, { startImmediately: true })
      yield* kit.elapse(100)
      yield* Fiber.interrupt(impatient)
      yield* gate.open
      Check.equal(yield* kit.within(500, Fiber.join(patient), "the end of the wait"), "done: one", "the success")
    })),

  define("a waiter whose push was lost reads the record within five seconds", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)))
      const { faults, run } = yield* kit.client
      const jobs = yield* kit.enqueue(work, "one", "two")
      const handles = yield* Effect.forEach(jobs, (job) => run(Job.fromId(work, job.id)))
      yield* kit.faults.losePushes(true)
      yield* faults.losePushes(true)
      const waits = yield* Effect.forEach(
        [...jobs, ...handles],
        (job) => Effect.forkChild(job.await, { startImmediately: true })
      )
      yield* kit.elapse(300)
      yield* gate.open
      const ends = yield* kit.within(reread + 300, Effect.forEach(waits, Fiber.join), "the end of all waits")
      Check.equal(ends, ["done: one", "done: two", "done: one", "done: two"], "what they got")
    })),

  define("results of many jobs that nobody awaited yet are all found later", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done, { concurrency: 100 })
      const first = yield* work.enqueue("first")
      yield* kit.outcome(first)
      const items = Array.from({ length: 1_500 }, (_, i) => ({ payload: `${i}` }))
      const jobs = (yield* work.enqueueMany(items)).filter(Result.isSuccess).map((result) => result.success)
      yield* kit.until(() => kit.journal.hasSucceeded(1_501), "all runs", 10_000)
      yield* kit.elapse(500)
      const ends = yield* kit.within(
        2_000,
        Effect.forEach(jobs, (job) => job.await, { concurrency: "unbounded" }),
        "the end of all waits"
      )
      Check.equal(ends, items.map(({ payload }) => `done: ${payload}`), "results")
    })),

  define(
    "a result that was pushed before a replay is not taken for the one of the replay",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        let repaired = false
        yield* kit.worker(work, (run) => repaired || run.job === "first" ? done(run) : Effect.fail("broken"))
        const [first] = yield* kit.enqueue(work, "first")
        yield* kit.outcome(first!)
        // this client listens to its pushes by now, and nobody takes the next one
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.reached(job!, "failed")
        repaired = true
        Check.equal(yield* DeadLetter.replay(kit.queue, [job!.id]), ["done"], "the answer of replay")
        const handle = yield* Job.fromId(work, job!.id)
        Check.equal(yield* kit.outcome(handle), "succeeded: done: one", "the end of the replay")
      })
  ),

  define(
    "a waiter gets a result that is not kept, and later ones hear that it is gone",
    (kit) =>
      Effect.gen(function*() {
        const gate = yield* Latch.make()
        const work = kit.work({ resultTimeToLive: 0 })
        yield* kit.worker(work, (run) => run.job === "one" ? Effect.andThen(gate.await, done(run)) : done(run))
        // this client listens to its pushes by then
        const [first] = yield* kit.enqueue(work, "first")
        yield* kit.outcome(first!)
        const [job] = yield* kit.enqueue(work, "one")
        const wait = yield* Effect.forkChild(job!.await, { startImmediately: true })
        yield* kit.elapse(200)
        yield* gate.open
        Check.equal(yield* kit.within(500, Fiber.join(wait), "the end of the wait"), "done: one", "the success")
        yield* kit.elapse(1_000)
        const { run } = yield* kit.client
        Check.equal(yield* kit.outcome(yield* run(Job.fromId(work, job!.id))), "ResultExpired", "the end, later")
      })
  ),

  define("a job that does not exist ends every question with JobNotFound", (kit) =>
    Effect.gen(function*() {
      const job = yield* Job.fromId(kit.work(), "nobody")
      const errors = yield* kit.within(
        1_000,
        Effect.forEach(
          [Effect.asVoid(job.await), Effect.asVoid(job.status), Effect.asVoid(job.info), Effect.asVoid(job.cancel)],
          (question) => Effect.map(Effect.flip(question), (error) => typeof error === "string" ? error : error._tag)
        ),
        "the answers"
      )
      Check.equal(errors, ["JobNotFound", "JobNotFound", "JobNotFound", "JobNotFound"], "the answers")
      Check.equal((yield* job.poll)._tag, "None", "the answer of poll")
    })),

  define(
    "a wait with a time limit says in which state the job is, and the job goes on",
    (kit) =>
      Effect.gen(function*() {
        const gate = yield* Latch.make()
        const work = kit.work()
        yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)), { concurrency: 1, prefetch: 0 })
        const [running] = yield* kit.enqueue(work, "running")
        yield* kit.started("running")
        const [queued] = yield* kit.enqueue(work, "queued")
        const scheduled = yield* work.enqueue("scheduled", { delay: "1 hour" })
        const errors = yield* kit.within(
          1_500,
          Effect.forEach([running!, queued!, scheduled], (job) => Effect.flip(job.awaitWithin(400)), {
            concurrency: "unbounded"
          }),
          "the end of all waits"
        )
        Check.equal(
          errors.map((error) => typeof error !== "string" && error._tag === "AwaitTimeout" ? error.state : error),
          ["running", "queued", "scheduled"],
          "the states"
        )
        yield* gate.open
        Check.equal(yield* kit.outcome(running!), "succeeded: done: running", "the end of the job, later")
        const value = yield* kit.within(1_000, queued!.awaitWithin("1 minute"), "the end of a wait with enough time")
        Check.equal(value, "done: queued", "the success")
      })
  ),

  define("a wait with a time limit ends although the broker is silent", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.faults.stall(true)
      const error = yield* kit.within(3_000, Effect.flip(job!.awaitWithin(1_000)), "the end of the wait")
      Check.equal(
        typeof error !== "string" && error._tag === "AwaitTimeout" ? error.state : error,
        "unknown",
        "the state"
      )
    })),

  define("a waiter survives a broker that is away, and gets what happened meanwhile", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run) => Effect.andThen(gate.await, done(run)))
      const [job] = yield* kit.enqueue(work, "one")
      const wait = yield* Effect.forkChild(job!.await, { startImmediately: true })
      yield* kit.elapse(100)
      yield* kit.faults.loseRequests(true)
      yield* kit.faults.losePushes(true)
      yield* gate.open
      yield* kit.elapse(2 * reread)
      Check.equal(wait.pollUnsafe(), undefined, "what the waiter got from a broker that is away")
      yield* kit.faults.heal
      Check.equal(yield* kit.within(reread, Fiber.join(wait), "the end of the wait"), "done: one", "the success")
    })),

  define("a job that vanishes while somebody waits ends the wait with JobNotFound", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ resultTimeToLive: 0 })
      const worker = yield* kit.worker(work, never)
      const [job] = yield* kit.enqueue(work, "one")
      const wait = yield* Effect.forkChild(Effect.flip(job!.await), { startImmediately: true })
      const run = yield* kit.started("one")
      yield* kit.faults.losePushes(true)
      yield* kit.faults.loseRequests(true)
      // its end, and the end of its record, while nobody can hear of them
      yield* kit.within(1_000, Effect.andThen(worker.stopNow, worker.shutdown), "the end of the worker")
      Check.equal(run.outcome, "interrupted", "the run")
      yield* kit.worker(work, done)
      yield* kit.started("one", 2)
      yield* kit.elapse(60_000 + 5_000)
      yield* kit.faults.heal
      const error = yield* kit.within(reread + 5_000 + lease, Fiber.join(wait), "the end of the wait")
      Check.equal(typeof error === "string" ? error : error._tag, "JobNotFound", "the error")
    }))
]
