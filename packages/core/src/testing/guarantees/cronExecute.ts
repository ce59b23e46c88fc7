/**
 * Cron without a task: an effect that runs in one of the schedulers, at most
 * once per tick.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as CronJob from "../../CronJob.ts"
import * as Check from "../Check.ts"
import { every, insistOnEach, many, patience, schedulerOf, statuses, untilHistory, wholeHistory } from "./cronKit.ts"
import { type Case, define, type Kit } from "./kit.ts"

/** A name, an effect that notes its ticks, and the end of both with the case. */
const notingOf = (kit: Kit, body: (tick: number) => Effect.Effect<unknown, string>) => {
  const name = kit.name("cron")
  const ticks: Array<number> = []
  const execute = Effect.gen(function*() {
    const { tick } = Option.getOrThrow(yield* CronJob.Current)
    ticks.push(tick)
    return yield* body(tick)
  })
  return Effect.as(
    Effect.addFinalizer(() => Effect.ignoreCause(CronJob.remove(name))),
    { name, ticks, execute }
  )
}

export const cases: ReadonlyArray<Case> = [
  define("each tick runs once in one of three schedulers", (kit) =>
    Effect.gen(function*() {
      const { execute, name, ticks } = yield* notingOf(kit, () => Effect.succeed({ cleaned: 3 }))
      const schedulers = yield* many(3, schedulerOf(kit))
      const job = CronJob.make(name, { every, execute, missed: "all", overlap: "allow" })
      for (const scheduler of schedulers) yield* scheduler.register(job)
      yield* kit.until(() => ticks.length >= 6, "six ticks", patience)
      for (const { stop } of schedulers) yield* stop
      insistOnEach(ticks, "ticks that ran")
      const history = yield* wholeHistory(name)
      Check.equal(history.map(({ tick }) => tick).sort(), ticks.toSorted(), "ticks in the history")
      Check.equal(new Set(statuses(history)), new Set(["COMPLETED"]), "what the history says")
      Check.equal(history[0]?.value, { cleaned: 3 }, "the result in the history")
    })),

  define(
    "a run that fails, and one that is too slow, say so, and let the next one run",
    (kit) =>
      Effect.gen(function*() {
        const ends = [Effect.fail("no space"), Effect.never, Effect.die("broken")]
        const { execute, name } = yield* notingOf(kit, () => ends.shift() ?? Effect.void)
        const scheduler = yield* schedulerOf(kit)
        yield* scheduler.register(CronJob.make(name, { every, execute, timeout: every / 4, missed: "all" }))
        const isOver = (all: ReadonlyArray<CronJob.CronRun>) => statuses(all).includes("COMPLETED")
        const all = yield* untilHistory(kit, name, isOver, "the fourth run")
        // a busy machine is late: then two ticks come at once, and one of them finds the other at work
        const history = all.filter(({ status }) => status !== "SKIPPED").slice(-4)
        const expected = ["COMPLETED", "FAILED Defect", "FAILED TimedOut", "FAILED Error"]
        Check.equal(statuses(history), expected, "what the history says")
        Check.isTrue(history[3]!.message?.includes("no space") ?? false, "the history does not say what the error was")
      })
  ),

  define("a run of a scheduler that is killed ends as FAILED, and is not repeated", (kit) =>
    Effect.gen(function*() {
      const { execute, name, ticks } = yield* notingOf(kit, () => Effect.never)
      const [victim, other] = [yield* schedulerOf(kit), yield* schedulerOf(kit)]
      const job = CronJob.make(name, { every, execute, limit: 1 })
      yield* victim.register(job)
      yield* kit.until(() => ticks.length === 1, "the run", patience)
      yield* victim.faults.stall(true)
      yield* other.register(job)
      const isOver = (all: ReadonlyArray<CronJob.CronRun>) => all[0]?.status === "FAILED"
      const history = yield* untilHistory(kit, name, isOver, "the end in the history", 40_000)
      Check.equal(statuses(history), ["FAILED WorkerLost"], "what the history says")
      Check.equal(ticks.length, 1, "runs")
      yield* victim.faults.heal
    })),

  define("it runs when it is triggered from a process without its code", (kit) =>
    Effect.gen(function*() {
      const { execute, name, ticks } = yield* notingOf(kit, () => Effect.succeed("done"))
      const schedulers = yield* many(3, schedulerOf(kit))
      const job = CronJob.make(name, { cron: "@yearly", execute })
      for (const scheduler of schedulers) yield* scheduler.register(job)
      const id = yield* CronJob.trigger(name)
      const isOver = (all: ReadonlyArray<CronJob.CronRun>) => all[0]?.status === "COMPLETED"
      const [run] = yield* untilHistory(kit, name, isOver, "the run")
      Check.equal([run!.id, run!.trigger], [id, "manual"], "the run in the history")
      Check.equal(yield* CronJob.backfill(name, { from: Date.UTC(2020, 0, 1), to: Date.UTC(2022, 0, 1) }), 3, "ticks")
      yield* kit.until(() => ticks.length === 4, "the backfill", 4_000)
    }))
]
