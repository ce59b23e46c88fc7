/**
 * Guarantee 10: two enqueues with the same id in one queue yield one job, until
 * its record expires.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Client from "../../Client.ts"
import * as DeadLetter from "../../DeadLetter.ts"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease, never, type Work, type WorkJob } from "./kit.ts"

/** Enqueues the same id again and insists that it is not new. */
const insistOnDuplicate = (work: Work, when: string) =>
  Effect.map(work.enqueue("again", { id: "the-one" }), (job) => {
    Check.isTrue(job.duplicate, `the same id was accepted twice ${when}`)
    return job
  })

/** Lets a record without a value run out, a minute and however long the broker takes, and uses its id again. */
const outliveRecord = (kit: Kit, work: Work) =>
  Effect.gen(function*() {
    yield* kit.elapse(60_000)
    const enqueue: Effect.Effect<WorkJob, unknown, Client.Client> = Effect.flatMap(
      work.enqueue("new", { id: "the-one", delay: 500 }),
      (job) => job.duplicate ? Effect.andThen(Effect.sleep(500), enqueue) : Effect.succeed(job)
    )
    return yield* kit.within(10_000, enqueue, "the end of the record")
  })

export const cases: ReadonlyArray<Case> = [
  define("the same id is one job while it is queued, and both handles get its result", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const first = yield* work.enqueue("original", { id: "the-one" })
      Check.isTrue(!first.duplicate, "the first enqueue is new")
      const second = yield* insistOnDuplicate(work, "while queued")
      yield* kit.worker(work, done)
      Check.equal(
        [yield* kit.outcome(first), yield* kit.outcome(second)],
        ["succeeded: done: original", "succeeded: done: original"],
        "the ends"
      )
      yield* kit.elapse(lease)
      Check.equal(kit.journal.starts, ["original"], "the runs")
    })),

  define("the same id is one job while it is scheduled", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      yield* work.enqueue("original", { id: "the-one", delay: 500 })
      const second = yield* insistOnDuplicate(work, "while scheduled")
      Check.equal(kit.journal.starts, [], "the runs before it is due")
      Check.equal(yield* kit.outcome(second, 1_500), "succeeded: done: original", "the end of the job")
    })),

  define(
    "the same id is one job while it runs, waits for a retry, and after it crashed",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const first = yield* kit.worker(work, (run) => run.attempt === 1 ? Effect.fail("again") : Effect.never)
        yield* work.enqueue("original", { id: "the-one" })
        yield* kit.started("original")
        yield* kit.elapse(50)
        yield* insistOnDuplicate(work, "while it waits for a retry")
        yield* kit.started("original", 2, 1_500)
        yield* insistOnDuplicate(work, "while it runs")
        yield* first.crash
        yield* kit.elapse(100)
        yield* insistOnDuplicate(work, "after its worker crashed")
        Check.equal(kit.journal.starts, ["original", "original"], "the runs")
      })
  ),

  define(
    "the same id is one job after its end, and the second handle gets the result that stands",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        yield* kit.worker(work, (run) => run.id === "good" ? done(run) : Effect.fail("broken"))
        const [good, bad, cancelled] = yield* Effect.forEach(
          ["good", "bad", "cancelled"],
          (id) => work.enqueue(id, id === "cancelled" ? { id, delay: "1 hour" } : { id })
        )
        yield* kit.outcome(good!)
        yield* kit.outcome(bad!)
        yield* cancelled!.cancel
        const again = yield* Effect.forEach(["good", "bad", "cancelled"], (id) => work.enqueue("again", { id }))
        Check.equal(again.map((job) => job.duplicate), [true, true, true], "duplicates")
        Check.equal(
          yield* Effect.forEach(again, (job) => kit.outcome(job)),
          ["succeeded: done: good", "error: broken", "JobCancelled"],
          "the ends"
        )
        yield* kit.elapse(lease)
        Check.equal(kit.journal.starts.length, 2, "runs")
      })
  ),

  define("an idempotency key makes equal payloads one job, per task", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ idempotencyKey: (payload) => payload.split(" ")[0]! })
      class Other extends Task.make("Other", {
        payload: Schema.String,
        queue: kit.queue,
        idempotencyKey: (payload) => payload
      }) {}
      const first = yield* work.enqueue("invoice the first")
      const second = yield* work.enqueue("invoice the second")
      const third = yield* work.enqueue("reminder")
      const other = yield* Other.enqueue("invoice")
      Check.equal(
        [first, second, third, other].map((job) => job.duplicate),
        [false, true, false, false],
        "which are duplicates"
      )
      Check.equal(second.id, first.id, "ids of equal keys")
      Check.isTrue(other.id !== first.id, "ids of different tasks")
    })),

  define("the same id in two queues is two jobs", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const elsewhere = kit.work({ queue: kit.name("elsewhere") })
      Check.equal((yield* work.enqueue("one", { id: "the-one" })).duplicate, false, "the first")
      Check.equal((yield* elsewhere.enqueue("two", { id: "the-one" })).duplicate, false, "the second")
    })),

  define("of many clients that enqueue the same id at once one wins", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const clients = yield* Effect.forEach(Array.from({ length: 5 }), () => kit.client)
      const jobs = yield* Effect.forEach(
        clients.flatMap(({ client }) => [client, client]),
        (client, i) => Effect.provideService(work.enqueue(`${i}`, { id: "the-one" }), Client.Client, client),
        { concurrency: "unbounded" }
      )
      Check.equal(jobs.filter((job) => !job.duplicate).length, 1, "enqueues that were new")
      yield* kit.worker(work, done)
      const ends = yield* Effect.forEach(jobs, (job) => kit.outcome(job))
      Check.equal(new Set(ends).size, 1, "different ends")
      Check.equal(kit.journal.starts.length, 1, "runs")
    })),

  define("enqueueMany says which of its items were duplicates", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* work.enqueue("before", { id: "b" })
      const items = ["a", "b", "a", "c"].map((id) => ({ payload: id, options: { id } }))
      const outcomes = yield* work.enqueueMany(items)
      Check.equal(
        outcomes.map((outcome) => Result.isSuccess(outcome) && outcome.success.duplicate),
        [false, true, true, false],
        "which are duplicates"
      )
    })),

  define(
    "an id can be used again when its record has expired, and its result is the new one",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ resultTimeToLive: 0 })
        // a result that is not kept is for those who wait: the new job gives them time to begin
        yield* kit.worker(work, (run) => run.job === "new" ? Effect.delay(done(run), 500) : done(run))
        const [other] = yield* kit.enqueue(work, "other")
        yield* kit.outcome(other!)
        // nobody takes its result: it must not be kept for the next job with this id
        yield* work.enqueue("original", { id: "the-one" })
        yield* kit.started("original")
        const again = yield* outliveRecord(kit, work)
        Check.equal(yield* kit.outcome(again), "succeeded: done: new", "the end of the new job")
        Check.equal(kit.journal.starts, ["other", "original", "new"], "the runs")
      })
  ),

  define("a dead letter is replayed under its id, with all attempts before it", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 2 })
      let repaired = false
      yield* kit.worker(work, (run) => repaired ? done(run) : Effect.fail("broken"))
      const job = yield* work.enqueue("one", { id: "the-one" })
      Check.equal(yield* kit.outcome(job, 2_000), "error: broken", "the end of the job")
      repaired = true
      Check.equal(yield* DeadLetter.replay(kit.queue, ["the-one", "nobody"]), ["done", "missing"], "answers of replay")
      const { client } = yield* kit.client
      const record = yield* kit.within(1_000, client.job(kit.queue, "the-one").awaitRecord, "the end of the replay")
      Check.equal([record.state, record.attempts], ["succeeded", 1], "the record of the replay")
      Check.equal(kit.journal.of("one").map((run) => run.attempt), [1, 2, 1], "attempts")
      Check.equal((yield* DeadLetter.list(kit.queue)).items, [], "dead letters left")
      Check.equal(yield* DeadLetter.replay(kit.queue, ["the-one"]), ["missing"], "the answer of a second replay")
    })),

  define("a dead letter is not replayed beside a live job with its id", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1, resultTimeToLive: 0 })
      const first = yield* kit.worker(work, () => Effect.fail("broken"))
      const job = yield* work.enqueue("original", { id: "the-one" })
      yield* kit.until(() => kit.journal.starts.length === 1, "the run")
      yield* kit.within(1_000, Effect.exit(job.await), "the end of the job")
      yield* kit.within(1_000, first.shutdown, "the end of the worker")
      yield* outliveRecord(kit, work)
      Check.equal(yield* DeadLetter.replay(kit.queue, ["the-one"]), ["duplicate"], "the answer of replay")
      yield* kit.worker(work, never)
      yield* kit.started("new")
      Check.equal(yield* DeadLetter.replay(kit.queue, ["the-one"]), ["duplicate"], "the answer of replay while it runs")
      Check.equal((yield* DeadLetter.list(kit.queue)).items.map(({ id }) => id), ["the-one"], "dead letters")
    })),

  define("a dead letter that is dropped is gone, its record stands", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      yield* kit.worker(work, () => Effect.fail("broken"))
      const job = yield* work.enqueue("one", { id: "the-one" })
      yield* kit.outcome(job)
      Check.equal(yield* DeadLetter.drop(kit.queue, ["the-one"]), ["done"], "the answer of drop")
      Check.equal((yield* DeadLetter.list(kit.queue)).items, [], "dead letters")
      Check.equal(yield* kit.outcome(job), "error: broken", "the end of the job")
      Check.equal(yield* DeadLetter.replay(kit.queue, ["the-one"]), ["missing"], "the answer of replay")
    }))
]
