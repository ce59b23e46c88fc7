/**
 * Cron: each tick runs once however many schedulers there are, one run of a job
 * is at work at a time, and the history tells of every one.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as CronJob from "../../CronJob.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import {
  every,
  insistOnEach,
  insistOnOneAtATime,
  lasting,
  many,
  patience,
  payload,
  quick,
  schedulerOf,
  statuses,
  tickingOf,
  untilHistory,
  wholeHistory
} from "./cronKit.ts"
import { type Case, define, lease, longLease } from "./kit.ts"

export const cases: ReadonlyArray<Case> = [
  define(
    "each tick runs once, though five schedulers are alive, and the history tells of it",
    (kit) =>
      Effect.gen(function*() {
        const { name, runs, task, worker } = yield* tickingOf(kit)
        yield* worker(quick)
        yield* worker(quick)
        const schedulers = yield* many(5, schedulerOf(kit))
        const job = CronJob.make(name, { every, payload, task, missed: "all", overlap: "allow" })
        for (const scheduler of schedulers) yield* scheduler.register(job)
        yield* kit.until(() => runs.length >= 6, "six ticks", patience)
        for (const { stop } of schedulers) yield* stop
        yield* kit.elapse(2 * every)
        insistOnEach(runs.map(({ tick }) => tick), "ticks that ran")
        for (const { at, tick } of runs) Check.isTrue(at >= tick - 5, "a tick ran before its time")
        const history = yield* wholeHistory(name)
        Check.equal(new Set(statuses(history)), new Set(["COMPLETED"]), "what the history says")
        Check.equal(history.map(({ tick }) => tick).sort(), runs.map(({ tick }) => tick).sort(), "ticks in the history")
        Check.equal(history[0]?.value, "done", "the result in the history")
      })
  ),

  define("a tick that finds the lock held is recorded as SKIPPED", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit)
      yield* worker(lasting(2.5 * every), { idleTimeout: longLease })
      yield* worker(lasting(2.5 * every), { idleTimeout: longLease })
      const scheduler = yield* schedulerOf(kit)
      yield* scheduler.register(CronJob.make(name, { every, payload, task, missed: "all" }))
      yield* kit.until(() => runs.length >= 3, "three runs", patience)
      yield* scheduler.stop
      const history = yield* untilHistory(kit, name, (all) => !statuses(all).includes("RUNNING"), "the end of all runs")
      insistOnOneAtATime(runs)
      insistOnEach(history.map(({ tick }) => tick), "ticks in the history")
      Check.equal(new Set(statuses(history)), new Set(["COMPLETED", "SKIPPED Overlap"]), "what the history says")
    })),

  define(
    "ticks that overlap wait for their turn with queue, and for nobody with allow",
    (kit) =>
      Effect.gen(function*() {
        const queued = yield* tickingOf(kit)
        const allowed = yield* tickingOf(kit)
        yield* queued.worker(lasting(1.5 * every), { idleTimeout: longLease })
        const scheduler = yield* schedulerOf(kit)
        yield* scheduler.register(
          CronJob.make(queued.name, { every, payload, task: queued.task, overlap: "queue", limit: 4, missed: "all" })
        )
        yield* kit.until(() => queued.runs.length === 2, "the second run", patience)
        yield* kit.elapse(every)
        // the others wait at the broker, not in the slots of a worker
        Check.equal((yield* JobQueue.stats(kit.queue)).running, 1, "runs in the hands of workers")
        yield* kit.until(() => queued.runs.filter((run) => run.endedAt).length === 4, "four runs in a row", patience)
        insistOnEach(queued.runs.map(({ tick }) => tick), "ticks that ran")
        insistOnOneAtATime(queued.runs)
        const other = Task.make("Tick", { success: Schema.String, queue: kit.name("queue") })
        yield* kit.launch((id) =>
          Worker.layer({ id, tasks: [other], idleTimeout: longLease }).pipe(Layer.provide(other.toLayer(() =>
            Effect.sync(() =>
              void allowed.runs.push({ tick: 0, worker: id, at: 0, token: 0, endedAt: undefined })
            )
              .pipe(
                Effect.andThen(Effect.sleep(10 * every)),
                Effect.as("done")
              )
          )))
        )
        yield* scheduler.register(
          CronJob.make(allowed.name, { every, payload, task: other, overlap: "allow", limit: 3, missed: "all" })
        )
        yield* kit.until(
          () =>
            allowed.runs.length === 3,
          "three runs at once",
          6 * every
        )
      })
  ),

  define("ticks that were missed run as the policy says, and leave a trace", (kit) =>
    Effect.gen(function*() {
      const latest = yield* tickingOf(kit)
      yield* latest.worker(quick)
      const first = yield* schedulerOf(kit)
      const all = kit.name("cron")
      yield* Effect.addFinalizer(() => Effect.ignoreCause(CronJob.remove(all)))
      const jobs = [
        CronJob.make(latest.name, { every, payload, task: latest.task, missed: "latest", overlap: "allow" }),
        CronJob.make(all, { every, payload, task: latest.task, missed: "all", overlap: "allow" })
      ]
      for (const job of jobs) yield* first.register(job)
      yield* untilHistory(kit, all, (runs) => runs.length >= 2, "the first ticks")
      yield* first.stop
      yield* kit.elapse(5 * every)
      const second = yield* schedulerOf(kit)
      for (const job of jobs) yield* second.register(job)
      const caughtUp = yield* untilHistory(kit, all, (runs) => runs.length >= 8, "the ticks that were missed")
      insistOnEach(caughtUp.map(({ tick }) => tick), "ticks that ran")
      const isTraced = (runs: ReadonlyArray<CronJob.CronRun>) => runs.some(({ reason }) => reason === "Missed")
      const history = yield* untilHistory(kit, latest.name, isTraced, "the trace")
      const missed = history.filter(({ reason }) => reason === "Missed")
      const ran = history.filter(({ reason }) => reason !== "Missed").map(({ tick }) => tick)
      for (const { tick } of missed) {
        Check.isTrue(!ran.includes(tick), "a tick ran and was missed")
        const after = ran.filter((other) => other > tick)
        if (after.length > 0) Check.equal(Math.min(...after), tick + every, "the tick after those that were missed")
      }
    })),

  define(
    "a run whose worker is killed ends as FAILED, and its repeat does not wait for its lock",
    (kit) =>
      Effect.gen(function*() {
        const { name, runs, task, worker } = yield* tickingOf(kit)
        const victim = yield* worker(() => Effect.never)
        const scheduler = yield* schedulerOf(kit)
        // the lock of the dead would last for minutes
        yield* scheduler.register(CronJob.make(name, { every, payload, task, limit: 1 }))
        yield* kit.until(() => runs.length === 1, "the first run", patience)
        yield* victim.faults.stall(true)
        yield* victim.crash
        yield* worker(quick)
        yield* kit.until(() => runs.length === 2, "the repeat", 2 * lease + 1_000)
        const history = yield* untilHistory(kit, name, (all) => all[0]?.status === "COMPLETED", "the end of the repeat")
        // a machine that stands still may miss ticks before the first one that runs
        const ran = history.filter(({ reason }) => reason !== "Missed")
        Check.equal(statuses(ran), ["COMPLETED", "FAILED WorkerLost"], "what the history says")
        Check.equal(ran.map(({ execution }) => execution), [2, 1], "the executions")
        Check.isTrue(runs[1]!.token! > runs[0]!.token!, "the fencing tokens of the runs do not grow")
        yield* victim.faults.heal
      })
  ),

  define(
    "answers of the broker that are lost leave no run in the history that was none",
    (kit) =>
      Effect.gen(function*() {
        const { name, runs, task, worker } = yield* tickingOf(kit)
        const unlucky = yield* worker(quick)
        const scheduler = yield* schedulerOf(kit)
        yield* scheduler.register(CronJob.make(name, { every, payload, task, missed: "all", overlap: "allow" }))
        for (let round = 0; round < 4; round++) {
          for (const { faults } of [unlucky, scheduler]) {
            let lost = 0
            yield* faults.loseReplies(({ operation }) => operation === "put" && lost++ < 2)
          }
          yield* kit.elapse(every)
        }
        yield* unlucky.faults.heal
        yield* scheduler.faults.heal
        yield* kit.until(() => runs.length >= 6, "the ticks", patience)
        yield* scheduler.stop
        const isOver = (all: ReadonlyArray<CronJob.CronRun>) => !statuses(all).includes("RUNNING")
        const history = yield* untilHistory(kit, name, isOver, "the end of all runs")
        Check.equal(new Set(statuses(history)), new Set(["COMPLETED"]), "what the history says")
        insistOnEach(history.map(({ tick }) => tick), "ticks in the history")
      })
  ),

  define("a run is not RUNNING for ever when its worker is killed and no other comes", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit)
      const victim = yield* worker(() => Effect.never)
      const scheduler = yield* schedulerOf(kit)
      yield* scheduler.register(CronJob.make(name, { every, payload, task, limit: 1 }))
      yield* kit.until(() => runs.length === 1, "the run", patience)
      yield* victim.faults.stall(true)
      yield* victim.crash
      const isFailed = (all: ReadonlyArray<CronJob.CronRun>) => all[0]?.status === "FAILED"
      const history = yield* untilHistory(kit, name, isFailed, "the end in the history", 20_000)
      Check.equal(statuses(history), ["FAILED WorkerLost"], "what the history says")
      Check.equal(history[0]?.worker, victim.id, "the worker in the history")
      yield* victim.faults.heal
    })),

  define("the lock of a run is released when it fails, times out and is shut down", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit, { maxAttempts: 1, timeout: 2_000 })
      const bodies = [Effect.die("broken"), Effect.never, Effect.never]
      const first = yield* worker(() => bodies[runs.length - 1] ?? Effect.succeed("done"), { idleTimeout: longLease })
      // a lock that stays would last for minutes
      yield* CronJob.upsert(name, { cron: "@yearly", task })
      const newest = (status: string) => (all: ReadonlyArray<CronJob.CronRun>) => statuses(all)[0] === status
      yield* CronJob.trigger(name)
      yield* untilHistory(kit, name, newest("FAILED Defect"), "the failure")
      yield* CronJob.trigger(name)
      yield* untilHistory(kit, name, newest("FAILED TimedOut"), "the timeout")
      yield* CronJob.trigger(name)
      yield* kit.until(() => runs.length === 3, "the third run")
      yield* first.stopNow
      yield* kit.within(4_000, first.shutdown, "the shutdown")
      yield* worker(quick)
      yield* untilHistory(kit, name, newest("COMPLETED"), "the repeat of what was shut down")
      yield* CronJob.trigger(name)
      const isOver = (all: ReadonlyArray<CronJob.CronRun>) => all.length === 5 && newest("COMPLETED")(all)
      const history = yield* untilHistory(kit, name, isOver, "the last run")
      const expected = ["COMPLETED", "COMPLETED", "RELEASED Shutdown", "FAILED TimedOut", "FAILED Defect"]
      Check.equal(statuses(history), expected, "what the history says")
    })),

  define("a scheduler that stood still between look and enqueue runs nothing twice", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit)
      yield* worker(quick)
      const [stale, healthy] = [yield* schedulerOf(kit), yield* schedulerOf(kit)]
      const job = CronJob.make(name, {
        every,
        payload,
        task,
        missed: "all",
        overlap: "allow",
        missedWindow: "3 seconds"
      })
      yield* stale.register(job)
      yield* healthy.register(job)
      yield* kit.until(() => runs.length >= 2, "the first ticks", patience)
      yield* stale.faults.stall(({ operation }) => operation === "send")
      yield* kit.until(() => runs.length >= 8, "ticks of the healthy one", patience)
      yield* stale.faults.heal
      yield* kit.until(() => runs.length >= 10, "ticks of both", patience)
      yield* stale.stop
      yield* healthy.stop
      yield* kit.elapse(every)
      insistOnEach(runs.map(({ tick }) => tick), "ticks that ran")
      // who stops between the enqueue and the cursor leaves the count to the next
      const { count } = Option.getOrThrow(yield* CronJob.get(name))
      Check.between(count, runs.length - 1, runs.length, "ticks counted")
    })),

  define(
    "a run that a scheduler sent and did not live to write down is in the history, and is not told as missed",
    (kit) =>
      Effect.gen(function*() {
        const { name, runs, task, worker } = yield* tickingOf(kit)
        yield* worker(quick)
        const [victim, other] = [yield* schedulerOf(kit), yield* schedulerOf(kit)]
        const job = CronJob.make(name, { every, payload, task, missed: "latest", overlap: "allow" })
        yield* victim.register(job)
        yield* kit.until(() => runs.length >= 1, "the first tick", patience)
        // it sends, and does not get to the cursor
        yield* victim.faults.stall(({ operation }) => operation === "put")
        yield* kit.elapse(3 * every)
        yield* victim.faults.stall(true)
        const before = runs.length
        yield* kit.elapse(3 * every)
        yield* other.register(job)
        yield* kit.until(() => runs.length >= before + 2, "ticks of the other one", patience)
        const completedOf = (all: ReadonlyArray<CronJob.CronRun>) =>
          all.filter(({ status }) => status === "COMPLETED").map(({ tick }) => tick)
        // the other one still runs: one that stops may leave what it just sent to the next one
        let started = new Set<number>()
        const isOver = (all: ReadonlyArray<CronJob.CronRun>) => {
          started = new Set(runs.map(({ tick }) => tick))
          return completedOf(all).length >= started.size
        }
        const history = yield* untilHistory(kit, name, isOver, "the end of all runs")
        yield* other.stop
        Check.equal(completedOf(history).toSorted(), [...started].sort(), "runs in the history")
        const missed = history.find(({ reason }) => reason === "Missed")
        Check.isTrue(missed !== undefined && !started.has(missed.tick), "what ran is told as missed")
        yield* victim.faults.heal
      })
  ),

  define(
    "a tick that finds no worker within its window expires, and the history says so",
    (kit) =>
      Effect.gen(function*() {
        const { name, runs, task, worker } = yield* tickingOf(kit)
        const scheduler = yield* schedulerOf(kit)
        yield* scheduler.register(CronJob.make(name, { every, payload, task, limit: 1, missedWindow: "1 second" }))
        yield* untilHistory(kit, name, (all) => statuses(all)[0] === "QUEUED", "the tick")
        yield* kit.elapse(1_500)
        yield* worker(quick)
        const isExpired = (all: ReadonlyArray<CronJob.CronRun>) => statuses(all)[0] === "SKIPPED Expired"
        yield* untilHistory(kit, name, isExpired, "the expiry in the history")
        Check.equal(runs.length, 0, "runs of a tick that expired")
      })
  ),

  define("a job is created, changed, paused, resumed and removed from any process", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit)
      yield* worker(quick)
      yield* schedulerOf(kit)
      yield* CronJob.upsert(name, { every: "1 hour", task })
      yield* CronJob.upsert(name, { every, task })
      yield* kit.until(() => runs.length >= 2, "ticks of the changed schedule", patience)
      yield* CronJob.pause(name)
      yield* kit.elapse(every)
      const before = runs.length
      yield* kit.never(() => runs.length > before, "a paused job ran", 3 * every)
      Check.isTrue(Option.getOrThrow(yield* CronJob.get(name)).next === undefined, "a paused job has a next tick")
      yield* CronJob.resume(name)
      yield* kit.until(() => runs.length > before, "a tick after the pause", patience)
      Check.isTrue(runs[before]!.tick - runs[before - 1]!.tick > 3 * every, "a tick of the pause was caught up")
      yield* CronJob.remove(name)
      yield* kit.elapse(every)
      const after = runs.length
      yield* kit.never(() => runs.length > after, "a removed job ran", 3 * every)
      Check.isTrue(Option.isNone(yield* CronJob.get(name)), "a removed job is listed")
    })),

  define("a job runs when it is triggered, and for every tick of a backfill in a row", (kit) =>
    Effect.gen(function*() {
      const { name, runs, task, worker } = yield* tickingOf(kit)
      yield* worker(lasting(100))
      yield* CronJob.upsert(name, { cron: "@hourly", task })
      const id = yield* CronJob.trigger(name)
      const started = yield* untilHistory(kit, name, (all) => all[0]?.status === "COMPLETED", "the run")
      Check.equal([started[0]!.id, started[0]!.trigger], [id, "manual"], "the run in the history")
      const day = { from: Date.parse("2026-03-29"), to: Date.parse("2026-03-29T05:30Z") }
      for (let time = 0; time < 2; time++) Check.equal(yield* CronJob.backfill(name, day), 6, "ticks of the window")
      yield* kit.until(() => runs.filter((run) => run.endedAt).length === 7, "the ticks of the backfill", 6_000)
      insistOnEach(runs.slice(1).map(({ tick }) => tick), "ticks of the backfill", 3_600_000)
      insistOnOneAtATime(runs)
      const history = yield* untilHistory(kit, name, (all) =>
        statuses(all).every((one) =>
          one === "COMPLETED"
        ), "the end")
      Check.equal(
        history.filter(({ trigger }) =>
          trigger === "backfill"
        ).length,
        6,
        "backfilled runs in the history"
      )
    }))
]
