/**
 * What operators and deployments rely on: pause, purge, bursts, priorities,
 * limits, names.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as DeadLetter from "../../DeadLetter.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import type { WorkerOptions } from "../../WorkerOptions.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, lease, longLease, never } from "./kit.ts"

export const cases: ReadonlyArray<Case> = [
  define(
    "a paused queue starts no job after a second, buffered ones neither; running handlers go on",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, (run) => Effect.andThen(Effect.sleep(1_500), done(run)), {
          concurrency: 1,
          prefetch: 10,
          idleTimeout: longLease
        })
        const [one, two] = yield* kit.enqueue(work, "one", "two")
        yield* kit.started("one")
        yield* JobQueue.pause(kit.queue)
        Check.equal(yield* JobQueue.isPaused(kit.queue), true, "whether the queue is paused")
        yield* kit.elapse(1_000 + kit.slack)
        const [three] = yield* kit.enqueue(work, "three")
        Check.equal(yield* kit.outcome(one!, 2_000), "succeeded: done: one", "the end of the running job")
        yield* kit.never(() => kit.journal.starts.length > 1, "a job started in a paused queue", 3_000)
        const { paused, queued } = yield* JobQueue.stats(kit.queue)
        Check.equal([paused, queued], [true, 2], "the stats")
        yield* JobQueue.resume(kit.queue)
        yield* kit.until(() => kit.journal.starts.length > 1, "the next run")
        Check.equal(yield* kit.outcome(two!, 4_000), "succeeded: done: two", "the end of the second job")
        Check.equal(yield* kit.outcome(three!, 2_000), "succeeded: done: three", "the end of the third job")
        Check.isTrue(kit.journal.runs.every((run) => run.deliveries === 1), "the hand-back was counted")
      })
  ),

  define(
    "pause and resume are obeyed within a second although their messages were lost",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const worker = yield* kit.worker(work, done)
        yield* worker.faults.losePushes(true)
        yield* JobQueue.pause(kit.queue)
        yield* kit.elapse(1_000 + kit.slack)
        const [job] = yield* kit.enqueue(work, "one")
        yield* kit.never(() => kit.journal.starts.length > 0, "a job started in a paused queue", 2_000)
        yield* JobQueue.resume(kit.queue)
        yield* kit.started("one", 1, 1_000)
        Check.equal(yield* kit.outcome(job!, 6_000), "succeeded: done: one", "the end of the job")
      })
  ),

  define("a worker that starts while its queue is paused starts no job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* JobQueue.pause(kit.queue)
      const [job] = yield* kit.enqueue(work, "one")
      const first = yield* kit.worker(work, done)
      yield* kit.elapse(1_500)
      yield* kit.within(1_000, first.shutdown, "the end of the first worker")
      yield* kit.worker(work, done)
      yield* kit.elapse(1_500)
      Check.equal(kit.journal.starts, [], "the runs")
      yield* JobQueue.resume(kit.queue)
      Check.equal(yield* kit.outcome(job!, 2_000), "succeeded: done: one", "the end of the job")
    })),

  define(
    "purge ends what waits as cancelled, tells the waiters, and leaves running jobs and dead letters",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ maxAttempts: 1 })
        yield* kit.worker(work, (run) => run.job === "dead" ? Effect.fail("broken") : Effect.never, {
          concurrency: 1,
          prefetch: 0,
          idleTimeout: longLease
        })
        const [dead] = yield* kit.enqueue(work, "dead")
        yield* kit.outcome(dead!)
        const [running, ...queued] = yield* kit.enqueue(work, "running", "two", "three")
        yield* kit.started("running")
        const scheduled = yield* work.enqueue("four", { delay: "1 hour" })
        const wait = yield* Effect.forkChild(kit.outcome(queued[0]!, 2_000), { startImmediately: true })
        Check.equal(yield* JobQueue.purge(kit.queue), 3, "jobs purged")
        Check.equal(
          yield* kit.within(2_000, Fiber.join(wait), "the end of a wait"),
          "JobCancelled",
          "what a waiter hears"
        )
        Check.equal(
          yield* Effect.forEach([running!, ...queued, scheduled, dead!], (job) => job.status),
          ["running", "cancelled", "cancelled", "cancelled", "failed"],
          "states"
        )
        Check.equal((yield* DeadLetter.list(kit.queue)).items.length, 1, "dead letters")
        const { dead: letters, queued: waiting, running: leased, scheduled: later } = yield* JobQueue.stats(kit.queue)
        Check.equal([waiting, later, leased, letters], [0, 0, 1, 1], "the stats")
      })
  ),

  define("stats and lists say where the jobs are", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      const worker = yield* kit.worker(work, (run) => run.job === "dead" ? Effect.fail("broken") : Effect.never, {
        concurrency: 1,
        prefetch: 0,
        idleTimeout: longLease
      })
      const [dead] = yield* kit.enqueue(work, "dead")
      yield* kit.outcome(dead!)
      const [running] = yield* kit.enqueue(work, "running")
      yield* kit.started("running")
      const queued = yield* kit.enqueue(work, "two", "three")
      const scheduled = yield* work.enqueue("four", { delay: "1 hour" })
      yield* kit.elapse(1_200)
      const stats = yield* JobQueue.stats(kit.queue)
      Check.equal(
        [stats.scheduled, stats.queued, stats.running, stats.dead, stats.consumers, stats.paused],
        [1, 2, 1, 1, 1, false],
        "the stats"
      )
      Check.between(stats.oldestAge ?? 0, 1_000, 1_500 + kit.slack, "age of the oldest queued job")
      const ids = (place: "scheduled" | "queued" | "running" | "dead") =>
        Effect.map(JobQueue.list(kit.queue, place), ({ items }) => items.map(({ envelope }) => envelope.id).sort())
      Check.equal(yield* ids("running"), [running!.id], "running jobs")
      Check.equal(yield* ids("queued"), queued.map(({ id }) => id).sort(), "queued jobs")
      Check.equal(yield* ids("scheduled"), [scheduled.id], "scheduled jobs")
      Check.equal(yield* ids("dead"), [dead!.id], "dead letters")
      const own = yield* kit.eventually(
        Effect.map(JobQueue.workers({ limit: 1_000 }), ({ items }) => items.find(({ id }) => id === worker.id)),
        (row) => row?.running === 1,
        "what the worker says of its runs",
        2_000
      )
      Check.equal([own?.tasks, own?.queues], [["Work"], [kit.queue]], "what the worker says of itself")
    })),

  define("a burst runs what is due, leaves what is not, and says how much that is", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ retry: Schedule.spaced("1 hour") })
      yield* kit.enqueue(work, "one", "two", "three", "later")
      yield* work.enqueue("delayed", { delay: "1 hour" })
      const burst = Worker.burst({ tasks: [work], concurrency: 2 }).pipe(
        Effect.provide(work.toLayer(kit.journal.watch("burst", (run) =>
          run.job === "later" ? Effect.fail("again") : Effect.andThen(Effect.sleep(250), done(run)))))
      )
      Check.equal(yield* kit.within(5_000, burst, "the burst"), { finished: 3, scheduled: 2, queued: 0 }, "the report")
      Check.sameMembers(kit.journal.starts, ["one", "two", "three", "later"], "the jobs that ran")
      const stats = yield* JobQueue.stats(kit.queue)
      Check.equal([stats.queued, stats.running], [0, 0], "what is left that is due")
    })),

  define("a burst ends although jobs are due that it does not get, and counts them", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* work.enqueue("low", { priority: "low" })
      yield* work.enqueue("high", { priority: "high" })
      const burst = (options: Pick<WorkerOptions, "priorities">) =>
        Effect.provide(
          Worker.burst({ tasks: [work], ...options }),
          work.toLayer(kit.journal.watch("burst", done)),
          { local: true }
        )
      yield* JobQueue.pause(kit.queue)
      const paused = yield* kit.within(10_000, burst({}), "the burst of a paused queue")
      Check.equal(paused, { finished: 0, scheduled: 0, queued: 2 }, "the report of a paused queue")
      yield* JobQueue.resume(kit.queue)
      const high = yield* kit.within(10_000, burst({ priorities: ["high"] }), "the burst of one priority")
      Check.equal(high, { finished: 1, scheduled: 0, queued: 1 }, "the report of one priority")
    })),

  define("jobs of a higher priority start first", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      for (const priority of ["low", "normal", "high"]) {
        for (const i of [1, 2, 3]) yield* work.enqueue(`${priority} ${i}`, { priority })
      }
      yield* kit.worker(work, done, { concurrency: 1, prefetch: 0 })
      yield* kit.until(() => kit.journal.hasSucceeded(9), "all runs")
      Check.equal(
        kit.journal.starts,
        ["high", "normal", "low"].flatMap((priority) => [1, 2, 3].map((i) => `${priority} ${i}`)),
        "the runs"
      )
    })),

  define("a worker serves only its priorities", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* work.enqueue("low", { priority: "low" })
      const high = yield* work.enqueue("high", { priority: "high" })
      yield* kit.worker(work, done, { priorities: ["high"] })
      Check.equal(yield* kit.outcome(high), "succeeded: done: high", "the end of the job")
      yield* kit.elapse(lease)
      Check.equal(kit.journal.starts, ["high"], "the runs")
    })),

  define(
    "concurrency bounds the handlers at once; without prefetch nothing else is held",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const first = yield* kit.worker(work, never, { concurrency: 3, prefetch: 0, idleTimeout: longLease })
        yield* kit.enqueue(work, "one", "two", "three", "four", "five")
        yield* kit.until(() => kit.journal.running.length === 3, "three runs")
        yield* kit.elapse(500)
        Check.equal([yield* first.worker.running, yield* first.worker.held], [3, 3], "running and held")
        Check.equal((yield* JobQueue.stats(kit.queue)).queued, 2, "jobs that wait for anybody")
        yield* kit.worker(work, done)
        yield* kit.until(() => kit.journal.hasSucceeded(2), "the runs of the rest")
      })
  ),

  define("a task at its limit does not keep the jobs behind it from free slots", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const free = Task.make("Free", { success: Schema.String, queue: kit.queue })
      yield* kit.enqueue(work, ...Array.from({ length: 12 }, (_, n) => `limited ${n}`))
      const job = yield* free.enqueue()
      yield* kit.launch((id) =>
        Worker.layer({
          id,
          tasks: [work, free],
          concurrency: 2,
          prefetch: 2,
          taskConcurrency: { Work: 1 },
          idleTimeout: longLease
        }).pipe(
          Layer.provide(work.toLayer(kit.journal.watch(id, never))),
          Layer.provide(free.toLayer(() => Effect.succeed("free")))
        )
      )
      Check.equal(yield* kit.within(10_000, job.await, "the end of the job behind them"), "free", "its success")
      Check.equal(kit.journal.starts.length, 1, "runs of the task at its limit")
    })),

  define("a second live worker with the same id does not start", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const first = yield* kit.worker(work, done)
      const twin = Effect.flip(kit.worker(work, done, { id: first.id }))
      const error = yield* twin
      Check.isTrue(error instanceof Error && error.message.includes(first.id), `the error is ${String(error)}`)
      yield* kit.within(1_000, first.shutdown, "the end of the first worker")
      yield* kit.worker(work, done, { id: first.id })
    }))
]
