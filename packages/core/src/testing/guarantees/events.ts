/**
 * Lifecycle events and progress: what happens to jobs can be watched.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as Job from "../../Job.ts"
import * as JobEvents from "../../JobEvents.ts"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease } from "./kit.ts"

/** Waits until everybody who is there has heard of a listener to the queue, or to all. */
const announced = (kit: Kit, queue = "") =>
  Effect.scoped(Effect.gen(function*() {
    let heard = false
    yield* kit.transport.bus.subscribe(JobEvents.listenersTopic, ({ bytes }) => {
      if (new TextDecoder().decode(bytes) === queue) heard = true
    })
    yield* kit.until(() => heard, "the announcement of a listener", 2 * JobEvents.announceEvery)
  }))

/** Listens, and waits until everybody has heard of the listener. */
const listen = (kit: Kit, filter: JobEvents.Filter) =>
  Effect.gen(function*() {
    const events: Array<JobEvents.JobEvent> = []
    const collect = Stream.runForEach(JobEvents.stream(filter), (event) => Effect.sync(() => void events.push(event)))
    yield* Effect.forkScoped(collect, { startImmediately: true })
    yield* announced(kit, filter.queue)
    return events
  })

/** The client's events and those of the worker come on different ways: `Enqueued` may be overtaken. */
const tagsOf = (events: ReadonlyArray<JobEvents.JobEvent>, id: string) => {
  const tags = events.filter((event) => event.id === id).map((event) => event._tag)
  return [...tags.filter((tag) => tag === "Enqueued"), ...tags.filter((tag) => tag !== "Enqueued")]
}

export const cases: ReadonlyArray<Case> = [
  define("the events of a job tell its whole life", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 3 })
      let runs = 0
      yield* kit.worker(work, (run, execution) =>
        Effect.gen(function*() {
          if (run.job !== "one") return yield* Effect.fail("broken")
          if (++runs === 1) return yield* new Task.Snooze({ delay: Duration.millis(100) })
          if (run.attempt === 1) return yield* Effect.fail("again")
          yield* execution.progress({ percent: 50 })
          return yield* done(run)
        }))
      const events = yield* listen(kit, { queue: kit.queue })
      const [one] = yield* kit.enqueue(work, "one")
      yield* kit.outcome(one!, 2_000)
      yield* kit.until(() => tagsOf(events, one!.id).length >= 8, "the events")
      Check.equal(
        tagsOf(events, one!.id),
        ["Enqueued", "Started", "Snoozed", "Started", "Retried", "Started", "Progress", "Succeeded"],
        "the events"
      )
      const retried = events.find((event) => event._tag === "Retried")
      Check.equal([retried?.reason, retried?.delay, retried?.attempt], ["again", 500, 1], "what the retry says")
      Check.equal(events.find((event) => event._tag === "Progress")?.value, { percent: 50 }, "the progress")
    })),

  define("failures, cancels, expiries and releases have their events", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      const events = yield* listen(kit, {})
      const worker = yield* kit.worker(work, (run) => run.job === "fails" ? Effect.fail("broken") : Effect.never, {
        gracePeriod: 0,
        // a machine that stands still for a second must not take the held job away
        idleTimeout: 10 * lease
      })
      // a worker hears of listeners within a second
      yield* announced(kit)
      const [fails, held] = yield* kit.enqueue(work, "fails", "held")
      const expires = yield* work.enqueue("expires", { delay: 300, expiresIn: 100 })
      const cancelled = yield* work.enqueue("cancelled", { delay: "1 hour" })
      yield* cancelled.cancel
      yield* kit.outcome(fails!)
      yield* kit.outcome(expires, 1_500)
      yield* kit.within(1_000, worker.shutdown, "the end of the worker")
      const last = ["DeadLettered", "Released", "Expired", "Cancelled"]
      const isTold = (tag: string) => events.some(({ _tag, queue }) => _tag === tag && queue === kit.queue)
      yield* kit.until(() => last.every(isTold), "the last events of all jobs")
      yield* kit.elapse(200)
      Check.equal(tagsOf(events, fails!.id), ["Enqueued", "Started", "Failed", "DeadLettered"], "events of a failure")
      Check.equal(tagsOf(events, held!.id), ["Enqueued", "Started", "Released"], "events of a released job")
      Check.equal(tagsOf(events, expires.id), ["Enqueued", "Expired"], "events of a job that expired")
      Check.equal(tagsOf(events, cancelled.id), ["Enqueued", "Cancelled"], "events of a cancelled job")
    })),

  define("events are filtered by queue, task and job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const elsewhere = kit.work({ queue: kit.name("elsewhere") })
      yield* kit.worker(work, done)
      yield* kit.worker(elsewhere, done)
      const ofJob = yield* listen(kit, { queue: kit.queue, id: "the-one" })
      const ofTask = yield* listen(kit, { queue: kit.queue, task: "Nothing" })
      const ofQueue = yield* listen(kit, { queue: elsewhere.queue })
      const job = yield* work.enqueue("one", { id: "the-one" })
      yield* work.enqueue("two", { id: "another" })
      const other = yield* elsewhere.enqueue("three", { id: "the-one" })
      yield* kit.outcome(job)
      yield* kit.outcome(other)
      yield* kit.until(() => ofJob.length >= 3 && tagsOf(ofQueue, "the-one").length >= 3, "the events")
      yield* kit.elapse(200)
      const all = ["Enqueued", "Started", "Succeeded"]
      Check.equal([ofJob.length, ...tagsOf(ofJob, "the-one")], [3, ...all], "events of a job")
      Check.equal(ofTask, [], "events of another task")
      Check.equal(tagsOf(ofQueue, "the-one"), all, "events of a queue")
      Check.isTrue(ofQueue.every(({ queue }) => queue === elsewhere.queue), "events of another queue")
    })),

  define("nobody emits events while nobody listens", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, done)
      // nor hears of those who listen to every queue of a broker that is shared
      yield* worker.faults.losePushes(({ topic }) => topic[0] === JobEvents.listenersTopic[0])
      yield* kit.elapse(3 * JobEvents.announceEvery + 100)
      let published = 0
      yield* worker.faults.loseRequests(({ operation }) => {
        if (operation === "publish") published++
        return false
      })
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.outcome(job!)
      yield* kit.elapse(500)
      Check.equal(published, 0, "messages that the worker published")
    })),

  define("progress is a stream of what the handler reports, until the job is over", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const work = kit.work()
      yield* kit.worker(work, (run, execution) =>
        Effect.gen(function*() {
          // until both streams are there
          yield* Effect.raceFirst(
            gate.await,
            Effect.forever(Effect.andThen(execution.progress({ percent: 0 }), Effect.sleep(100)))
          )
          for (const percent of [10, 50, 90]) {
            yield* execution.progress({ percent })
            yield* Effect.sleep(50)
          }
          return yield* done(run)
        }))
      const [job] = yield* kit.enqueue(work, "one")
      const { run } = yield* kit.client
      const handle = yield* run(Job.fromId(work, job!.id))
      const seen: ReadonlyArray<Array<unknown>> = [[], []]
      const streams = yield* Effect.forEach([job!, handle], ({ progress }, n) =>
        Effect.forkChild(
          Stream.runForEach(progress, (value) => Effect.sync(() => void seen[n]!.push(value))),
          { startImmediately: true }
        ))
      yield* kit.until(() => seen.every(({ length }) => length > 0), "the first reports")
      yield* gate.open
      yield* kit.within(2_000, Effect.forEach(streams, Fiber.join), "the end of the streams")
      const expected = [10, 50, 90].map((percent) => ({ percent }))
      const later = seen.map((values) => values.filter((value) => JSON.stringify(value) !== `{"percent":0}`))
      Check.equal(later, [expected, expected], "what the two streams saw")
    })),

  define("progress fails no handler while the broker is away", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const worker = yield* kit.worker(work, (run, execution) =>
        Effect.andThen(Effect.andThen(Effect.sleep(200), execution.progress(run.job)), done(run)), {
        idleTimeout: 6 * lease
      })
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* worker.faults.loseRequests(true)
      yield* kit.until(() =>
        kit.journal.hasSucceeded(1), "the end of the handler")
      yield* worker.faults.heal
      Check.equal(yield* kit.outcome(job!, 3_000), "succeeded: done: one", "the end of the job")
    }))
]
