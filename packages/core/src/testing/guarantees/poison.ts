/**
 * Guarantee 5: crashes do not eat attempts, and a job that ends its workers is
 * stopped without harm to others.
 */
import * as Effect from "effect/Effect"
import * as DeadLetter from "../../DeadLetter.ts"
import { Levels } from "../../Priority.ts"
import * as Check from "../Check.ts"
import * as Faults from "../Faults.ts"
import { type Body, type Case, define, done, type Kit, lease, never, reclaim, type Work } from "./kit.ts"

/** Starts a worker, waits until it runs these jobs, and kills it. */
const crashWith = (
  kit: Kit,
  work: Work,
  jobs: ReadonlyArray<string>,
  options: { readonly maxDeliveries?: number } = {}
) =>
  Effect.gen(function*() {
    const victim = yield* kit.worker(work, never, options)
    const all = () => jobs.every((job) => kit.journal.of(job).some((run) => run.worker === victim.id))
    yield* kit.until(all, `runs of ${jobs.join(", ")} on ${victim.id}`, lease + reclaim)
    yield* victim.crash
  })

/** A worker that is handed out jobs, and dies before it starts any. */
const takeAndDie = (kit: Kit, count: number) =>
  Effect.gen(function*() {
    const faults = Faults.make(kit.transport)
    const [consumer, priorities] = [kit.name("dying"), yield* Levels]
    const subscription = yield* faults.transport.log.subscribe({ queue: kit.queue, priorities, consumer, lease })
    for (let taken = 0; taken < count;) {
      const pull = subscription.pull(count - taken)
      taken += (yield* kit.within(lease + reclaim, pull, `hand-out ${taken + 1}`)).length
    }
    yield* faults.crash(consumer)
  })

export const cases: ReadonlyArray<Case> = [
  define("four crashes in a row leave a job all of its attempts", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 2 })
      const [job] = yield* kit.enqueue(work, "one")
      for (let crash = 0; crash < 4; crash++) yield* crashWith(kit, work, ["one"])
      yield* kit.worker(work, (run) => run.attempt === 2 ? done(run) : Effect.fail("the first attempt"))
      Check.equal(yield* kit.outcome(job!, lease + reclaim + 1_000), "succeeded: done: one", "the end of the job")
      Check.equal(
        kit.journal.of("one").map(({ attempt, deliveries }) => [attempt, deliveries]),
        [[1, 1], [1, 2], [1, 3], [1, 4], [1, 5], [2, 1]],
        "attempt and deliveries of each run"
      )
      Check.equal((yield* job!.info).attempts, 2, "attempts of the record")
    })),

  define(
    "a job handed out more than maxDeliveries times is dead-lettered as poison and not run again",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const [job] = yield* kit.enqueue(work, "poison")
        for (let crash = 0; crash < 2; crash++) yield* crashWith(kit, work, ["poison"])
        yield* kit.worker(work, done, { maxDeliveries: 2 })
        Check.equal(yield* kit.outcome(job!, lease + reclaim), "JobFailed: Poison", "the end of the job")
        Check.equal(kit.journal.starts, ["poison", "poison"], "the runs")
        const { items } = yield* DeadLetter.list(kit.queue)
        Check.equal(
          items.map(({ attempts, id, reason }) => ({ attempts, id, reason })),
          [{ attempts: 0, id: job!.id, reason: "Poison" as const }],
          "dead letters"
        )
      })
  ),

  define("maxDeliveries is five unless the worker says otherwise", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const [job] = yield* kit.enqueue(work, "poison")
      for (let crash = 0; crash < 5; crash++) yield* crashWith(kit, work, ["poison"])
      yield* kit.worker(work, done)
      Check.equal(yield* kit.outcome(job!, lease + reclaim), "JobFailed: Poison", "the end of the job")
      Check.equal(kit.journal.starts.length, 5, "runs")
    })),

  define("poison at the head of a key lets the jobs behind it go on", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ key: () => "the key" })
      const [poison, next] = yield* kit.enqueue(work, "poison", "next")
      for (let crash = 0; crash < 2; crash++) yield* crashWith(kit, work, ["poison"])
      yield* kit.worker(work, done, { maxDeliveries: 2 })
      Check.equal(yield* kit.outcome(poison!, lease + reclaim), "JobFailed: Poison", "the end of the head")
      Check.equal(yield* kit.outcome(next!), "succeeded: done: next", "the end of the next job")
    })),

  define("a failure starts the count of deliveries anew", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 3 })
      const [job] = yield* kit.enqueue(work, "one")
      yield* crashWith(kit, work, ["one"])
      yield* kit.worker(work, (run) => run.attempt === 3 ? done(run) : Effect.fail("again"), { maxDeliveries: 2 })
      Check.equal(yield* kit.outcome(job!, lease + reclaim + 2_000), "succeeded: done: one", "the end of the job")
      Check.equal(
        kit.journal.of("one").map(({ attempt, deliveries }) => [attempt, deliveries]),
        [[1, 1], [1, 2], [2, 1], [3, 1]],
        "attempt and deliveries of each run"
      )
    })),

  define(
    "a worker runs one suspect at a time, hands others back uncounted, and runs healthy jobs beside",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        const suspects = ["one", "two", "three"]
        const jobs = yield* kit.enqueue(work, ...suspects)
        for (let crash = 0; crash < 2; crash++) yield* crashWith(kit, work, suspects)
        let atOnce = 0
        let most = 0
        yield* kit.worker(work, (run) => {
          if (!suspects.includes(run.job)) return done(run)
          most = Math.max(most, ++atOnce)
          return Effect.andThen(
            Effect.sleep(1_700),
            Effect.sync(() => {
              atOnce--
              return run.job
            })
          )
          // a machine that stands still must not take a suspect away
        }, { maxDeliveries: 3, idleTimeout: 3 * lease })
        yield* kit.until(() => atOnce === 1, "the run of the first suspect", 3 * lease + reclaim)
        const [healthy] = yield* kit.enqueue(work, "healthy")
        Check.equal(yield* kit.outcome(healthy!), "succeeded: done: healthy", "the end of a healthy job")
        yield* kit.within(15_000, Effect.forEach(jobs, (job) => job.await), "the end of all suspects")
        Check.equal(most, 1, "suspects at the same time")
        for (const name of suspects) {
          const runs = kit.journal.of(name)
          Check.equal(runs.map((run) => run.deliveries), [1, 2, 3], `deliveries of the runs of suspect ${name}`)
          Check.equal(runs.map((run) => run.attempt), [1, 1, 1], `attempts of the runs of suspect ${name}`)
        }
      })
  ),

  define("a suspect that ends its worker again takes no other suspect with it", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const names = ["poison", "innocent", "bystander"]
      const [poison, ...others] = yield* kit.enqueue(work, ...names)
      for (let crash = 0; crash < 2; crash++) yield* crashWith(kit, work, names)
      const body: Body = (run) => run.job === "poison" ? Effect.never : done(run)
      // whoever runs the poison dies of it
      for (let generation = 0; generation < 3; generation++) {
        const victim = yield* kit.worker(work, body)
        const runsPoison = () => kit.journal.by(victim.id).some((run) => run.job === "poison")
        yield* kit.until(runsPoison, "the next run of the poison", lease + reclaim + 3_000)
        yield* victim.crash
      }
      yield* kit.worker(work, body)
      Check.equal(yield* kit.outcome(poison!, lease + reclaim + 3_000), "JobFailed: Poison", "the end of the poison")
      for (const job of others) {
        Check.isTrue((yield* kit.outcome(job, 5_000)).startsWith("succeeded"), "its neighbours succeed")
      }
    })),

  define(
    "hand-outs to workers that die before they start it do not make a job poison",
    (kit) =>
      Effect.gen(function*() {
        const [job] = yield* kit.enqueue(kit.work(), "bystander")
        for (let death = 0; death < 6; death++) yield* takeAndDie(kit, 1)
        yield* kit.worker(kit.work(), done)
        Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: done: bystander", "the end of the job")
        Check.equal(kit.journal.of("bystander").map((run) => run.deliveries), [7], "deliveries of its run")
      })
  ),

  define(
    "poison ends alone: neither who was handed out beside it nor who is behind it in its key",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work({ key: (name) => name === "bystander" ? name : "the key" })
        const [poison, follower, bystander] = yield* kit.enqueue(work, "poison", "follower", "bystander")
        for (let crash = 0; crash < 2; crash++) yield* crashWith(kit, work, ["poison", "bystander"])
        // the poison kills its workers while they are handed out everything again
        for (let death = 0; death < 4; death++) yield* takeAndDie(kit, 2)
        const body: Body = (run) => run.job === "poison" ? Effect.never : done(run)
        for (let generation = 0; generation < 3; generation++) {
          const victim = yield* kit.worker(work, body)
          const runsPoison = () => kit.journal.by(victim.id).some((run) => run.job === "poison")
          yield* kit.until(runsPoison, "the next run of the poison", lease + reclaim + 3_000)
          yield* victim.crash
        }
        yield* kit.worker(work, body)
        Check.equal(yield* kit.outcome(poison!, lease + reclaim + 3_000), "JobFailed: Poison", "the end of the poison")
        Check.equal(kit.journal.of("poison").length, 5, "runs of the poison")
        Check.equal(yield* kit.outcome(follower!), "succeeded: done: follower", "the end of the job behind it")
        Check.equal(yield* kit.outcome(bystander!, 5_000), "succeeded: done: bystander", "the end of its neighbour")
      })
  )
]
