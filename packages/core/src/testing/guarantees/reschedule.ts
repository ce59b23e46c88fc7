/**
 * Guarantees 6, 7, 9 and 10 for jobs that wait for their time and get another
 * one, or are taken back, from any process.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import * as DeadLetter from "../../DeadLetter.ts"
import { RescheduleError } from "../../JobError.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Signing from "../../Signing.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, longLease, never } from "./kit.ts"

/** How much later than due a job may start on an idle worker, ms. */
const tolerance = 1_000

const startsAt = (kit: Kit, name: string, earliest: number, latest: number, times = 1) =>
  Effect.map(kit.started(name, times, 5_000), (run) => {
    Check.between(run.startedAt, earliest, latest + tolerance + kit.slack, `when ${name} started`)
    return run
  })

const signed = Effect.map(Signing.generateKey, (secret) => Signing.layerHmac({ keys: [{ id: "ours", secret }] }))

export const cases: ReadonlyArray<Case> = [
  define(
    "a job that is rescheduled starts at its new time, earlier, later or now, on a worker that is at work",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done)
        const earlier = yield* work.enqueue("earlier", { delay: "1 hour" })
        const later = yield* work.enqueue("later", { delay: "2 seconds" })
        const now = yield* work.enqueue("now", { delay: "1 hour" })
        const at = (yield* kit.now) + 3_500
        Check.equal(yield* later.reschedule({ at }), "rescheduled", "the answer")
        const before = yield* kit.now
        Check.equal(yield* earlier.reschedule({ delay: "1 second" }), "rescheduled", "the answer")
        const after = yield* kit.now
        Check.equal(yield* now.reschedule({}), "rescheduled", "the answer")
        const info = yield* later.info
        Check.equal([info.state, info.dueAt, info.attempts], ["scheduled", Math.ceil(at), 0], "what it says of itself")
        yield* startsAt(kit, "now", after, yield* kit.now)
        yield* startsAt(kit, "earlier", before + 1_000, after + 1_000)
        yield* startsAt(kit, "later", at, at)
        Check.equal(yield* kit.outcome(later), "succeeded: done: later", "the end")
        Check.sameMembers(kit.journal.starts, ["now", "earlier", "later"], "all runs")
      })
  ),

  define("a retry and a snooze are rescheduled, and their attempts count on", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ retry: Schedule.spaced("1 hour"), maxAttempts: 2 })
      yield* kit.worker(work, (run) => run.attempt === 1 ? Effect.fail("again") : done(run))
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* kit.reached(job!, "scheduled")
      Check.equal(yield* job!.reschedule({ delay: 500 }), "rescheduled", "the answer")
      const { attempts, lastError, state } = yield* job!.info
      Check.equal([state, attempts, lastError], ["scheduled", 1, "again"], "what it says of itself")
      Check.equal(yield* kit.outcome(job!, 3_000), "succeeded: done: one", "the end")
      Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 2], "its attempts")
    })),

  define(
    "another process reschedules and takes back by queue and id, without the definition",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done)
        const one = yield* work.enqueue("one", { delay: "1 hour" })
        const two = yield* work.enqueue("two", { delay: "1 hour" })
        const { client } = yield* kit.client
        Check.equal(yield* client.job(kit.queue, one.id).reschedule({}), "rescheduled", "the answer")
        Check.equal(yield* client.job(kit.queue, two.id).unschedule, "unscheduled", "the answer")
        Check.equal(yield* kit.outcome(one), "succeeded: done: one", "the end of one")
        Check.equal(yield* kit.outcome(two), "JobCancelled", "the end of two")
        Check.equal(yield* client.job(kit.queue, one.id).reschedule({}), "succeeded", "the answer for one that is over")
        Check.equal(yield* client.job(kit.queue, two.id).unschedule, "cancelled", "the answer for one taken back")
        const unknown = yield* Effect.flip(client.job(kit.queue, "nobody").reschedule({}))
        Check.equal(unknown._tag, "JobNotFound", "the answer for an id that nobody has")
      })
  ),

  define("a job that is due or runs is neither moved nor interrupted", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, never, { concurrency: 1, prefetch: 0, idleTimeout: longLease })
      const [runs, waits] = yield* kit.enqueue(work, "runs", "waits")
      yield* kit.started("runs")
      for (const [job, state] of [[runs!, "running"], [waits!, "queued"]] as const) {
        Check.equal(yield* job.reschedule({ delay: "1 hour" }), state, "the answer to reschedule")
        Check.equal(yield* job.unschedule, state, "the answer to unschedule")
        Check.equal(yield* job.status, state, "the state")
      }
      yield* kit.elapse(2_500)
      Check.equal(kit.journal.of("runs").map((run) => run.outcome), ["running"], "the run")
      yield* worker.stopNow
    })),

  define(
    "of callers that contradict each other the last one counts, and the job runs once",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done)
        const job = yield* work.enqueue("one", { delay: "1 hour" })
        const clients = [yield* kit.client, yield* kit.client, yield* kit.client]
        const answers = yield* Effect.forEach(
          clients,
          ({ client }, i) => client.job(kit.queue, job.id).reschedule({ delay: 3_000 + 300 * i }),
          { concurrency: "unbounded" }
        )
        Check.equal(answers, ["rescheduled", "rescheduled", "rescheduled"], "the answers")
        const { dueAt } = yield* job.info
        yield* startsAt(kit, "one", dueAt!, dueAt!)
        yield* kit.elapse(1_500)
        Check.equal(kit.journal.starts, ["one"], "its runs")
      })
  ),

  define(
    "a reschedule whose reply was lost can be repeated; one that did not arrive changed nothing",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done)
        const lost = yield* work.enqueue("lost", { delay: "1 hour" })
        yield* kit.faults.loseRequests(({ operation }) => operation === "revise")
        Check.equal((yield* Effect.flip(lost.reschedule({})))._tag, "TransportError", "the answer")
        yield* kit.faults.heal
        Check.equal(yield* lost.status, "scheduled", "its state")
        yield* kit.faults.loseReplies(({ operation }) => operation === "revise")
        Check.equal((yield* Effect.flip(lost.reschedule({ delay: "30 minutes" })))._tag, "TransportError", "the answer")
        yield* kit.faults.heal
        Check.equal(yield* lost.reschedule({ delay: "500 millis" }), "rescheduled", "the repeat")
        Check.equal(yield* kit.outcome(lost, 3_000), "succeeded: done: lost", "the end")
        yield* kit.elapse(500)
        Check.equal(kit.journal.starts, ["lost"], "its runs")
      })
  ),

  define("an id stays taken, and the expiry stays: who is due after it expires", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const job = yield* work.enqueue("one", { id: "own", delay: "1 hour", expiresIn: "2 hours" })
      Check.equal(yield* job.reschedule({ delay: "30 minutes" }), "rescheduled", "the answer")
      Check.equal((yield* work.enqueue("two", { id: "own" })).duplicate, true, "a second one with its id")
      const short = yield* work.enqueue("short", { delay: "1 hour", expiresIn: "1 second" })
      Check.equal(yield* short.reschedule({ delay: "1500 millis" }), "rescheduled", "the answer")
      Check.equal(yield* kit.outcome(short, 4_000), "JobExpired", "the end of one that is due too late")
      Check.equal(yield* job.unschedule, "unscheduled", "the answer")
      Check.equal(kit.journal.starts, [], "runs")
      Check.equal((yield* JobQueue.stats(kit.queue)).scheduled, 0, "what still waits")
    })),

  define("a job of a key that is moved takes its place in the order by its new time", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ key: () => "one" })
      yield* kit.worker(work, done)
      const late = yield* work.enqueue("late", { delay: "1 hour" })
      const middle = yield* work.enqueue("middle", { delay: "30 minutes" })
      const early = yield* work.enqueue("early", { delay: "10 minutes" })
      // long enough for three calls on a busy machine
      const at = (yield* kit.now) + 2_500
      for (const [job, later] of [[early, 600], [late, 0], [middle, 300]] as const) {
        Check.equal(yield* job.reschedule({ at: at + later }), "rescheduled", "the answer")
      }
      Check.equal(yield* kit.outcome(early, 5_000), "succeeded: done: early", "the end")
      Check.equal(kit.journal.starts, ["late", "middle", "early"], "the order")
    })),

  define(
    "what is rescheduled is signed by who does it, and only what was signed before",
    (kit) =>
      Effect.gen(function*() {
        const keys = yield* signed
        const work = kit.work()
        yield* Effect.provide(kit.worker(work, done), keys)
        const honest = yield* Effect.provide(kit.client, keys)
        const job = yield* honest.run(work.enqueue("honest", { delay: "1 hour" }))
        Check.equal(yield* job.reschedule({}), "rescheduled", "the answer")
        Check.equal(yield* kit.outcome(job), "succeeded: done: honest", "the end")

        const forger = yield* kit.client
        const forged = yield* forger.run(work.enqueue("forged", { delay: "1 hour" }))
        const refused = yield* Effect.flip(honest.client.job(kit.queue, forged.id).reschedule({}))
        Check.isTrue(refused instanceof RescheduleError && refused.reason._tag === "NotOurs", "the answer to a forgery")
        Check.equal(yield* forged.status, "scheduled", "the state of the forgery")
        // who has no keys writes what no worker takes
        const victim = yield* honest.run(work.enqueue("victim", { delay: "1 hour" }))
        yield* forger.client.job(kit.queue, victim.id).reschedule({})
        const record = yield* kit.within(1_000, victim.awaitRecord, "the end of a job that a forger has moved")
        Check.equal([record.state, record.reason], ["failed", "Signature"], "its record")
        Check.equal((yield* DeadLetter.list(kit.queue)).items.map(({ id }) => id), [victim.id], "dead letters")
        Check.equal(kit.journal.starts, ["honest"], "runs")
      })
  ),

  define("bad due times are refused, and change nothing", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const job = yield* work.enqueue("one", { delay: "1 hour" })
      const { dueAt } = yield* job.info
      for (const due of [{ at: Number.NaN }, { delay: -1 }, { delay: "Infinity" as const }, { at: 1, delay: 1 }]) {
        const refused = yield* Effect.flip(job.reschedule(due))
        Check.isTrue(refused instanceof RescheduleError && refused.reason._tag === "InvalidOption", String(refused))
      }
      Check.equal((yield* job.info).dueAt, dueAt, "when it is due")
    })),

  define("a worker that crashes with a rescheduled job in its hands loses nothing", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const first = yield* kit.worker(work, never)
      const job = yield* work.enqueue("one", { delay: "1 hour" })
      yield* job.reschedule({ delay: 300 })
      yield* kit.started("one", 1, 2_000)
      yield* first.crash
      yield* kit.worker(work, done)
      Check.equal(yield* kit.outcome(job, 5_000), "succeeded: done: one", "the end")
      Check.equal(kit.journal.of("one").map((run) => [run.attempt, run.deliveries]), [[1, 1], [1, 2]], "its runs")
    }))
]
