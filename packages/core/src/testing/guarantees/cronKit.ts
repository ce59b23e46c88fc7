/**
 * What the cases of cron are written with.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as CronJob from "../../CronJob.ts"
import * as CronScheduler from "../../CronScheduler.ts"
import * as Task from "../../Task.ts"
import { Transport } from "../../Transport.ts"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import * as Faults from "../Faults.ts"
import { type Kit, lease } from "./kit.ts"

/** ms between two ticks of most cases. Those that count ticks run all: a busy machine is late by more than one. */
export const every = 400

export interface Started {
  readonly tick: number
  readonly worker: string
  readonly at: number
  readonly token: number | undefined
  endedAt: number | undefined
}

/**
 * Jobs are of the broker, not of a queue: the schedulers of other cases would
 * run them, too. Not so those whose payload only code can make.
 */
export const payload = () => undefined

/** A task that tells what its runs do, and the name of a job that ends with the case. */
export const tickingOf = (kit: Kit, options: { readonly maxAttempts?: number; readonly timeout?: number } = {}) => {
  const name = kit.name("cron")
  const runs: Array<Started> = []
  const task = Task.make("Tick", {
    success: Schema.String,
    queue: kit.queue,
    retry: kit.work().policy.retry,
    ...options
  })
  const worker = (body: (run: Started) => Effect.Effect<string, never>, more: { readonly idleTimeout?: number } = {}) =>
    kit.launch((id) =>
      Worker.layer({ id, tasks: [task], idleTimeout: lease, ...more }).pipe(
        Layer.provide(task.toLayer(() =>
          Effect.gen(function*() {
            const current = Option.getOrThrow(yield* CronJob.Current)
            const token = Option.getOrUndefined(current.fencingToken)
            const run: Started = { tick: current.tick, worker: id, at: yield* kit.now, token, endedAt: undefined }
            runs.push(run)
            const ended = Effect.map(kit.now, (now) => void (run.endedAt = now))
            return yield* Effect.ensuring(body(run), ended)
          })
        ))
      )
    )
  return Effect.as(
    Effect.addFinalizer(() => Effect.ignoreCause(CronJob.remove(name))),
    { name, task, runs, worker }
  )
}

/** A scheduler with a connection of its own. It ends with the case. */
export const schedulerOf = (kit: Kit) =>
  Effect.gen(function*() {
    const faults = Faults.make(kit.transport)
    const scope = yield* Scope.make()
    const run = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Transport, faults.transport)
    const start = Effect.provideService(run(CronScheduler.make), CronScheduler.GracePeriod, "1 second")
    const scheduler = yield* kit.within(5_000, Scope.provide(scope)(start), "the start of a scheduler")
    const stop = Effect.andThen(faults.heal, kit.within(5_000, Scope.close(scope, Exit.void), "the end of a scheduler"))
    yield* Effect.addFinalizer(() => Effect.ignoreCause(stop))
    return { faults, stop, register: (job: CronJob.CronJob<never>) => run(job.register(scheduler)) }
  })

/** ms that something may take which has to happen at all: less than a lock lasts. */
export const patience = 20_000

export const many = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array.from({ length: count }), () => effect)

export const quick = () => Effect.succeed("done")

export const lasting = (milliseconds: number) => () => Effect.as(Effect.sleep(milliseconds), "done")

/** Insists that these are ticks of the job, each once, none left out. */
export const insistOnEach = (ticks: ReadonlyArray<number>, what: string, period = every) => {
  const sorted = ticks.toSorted((a, b) => a - b)
  for (let i = 1; i < sorted.length; i++) {
    Check.equal(sorted[i]! - sorted[i - 1]!, period, `ms between two ${what} (${sorted.join(", ")})`)
  }
}

export const insistOnOneAtATime = (runs: ReadonlyArray<Started>) => {
  const sorted = runs.toSorted((a, b) => a.at - b.at)
  for (let i = 1; i < sorted.length; i++) {
    const before = sorted[i - 1]!
    Check.isTrue(before.endedAt !== undefined && before.endedAt <= sorted[i]!.at, "two runs were at work at once")
    Check.isTrue(sorted[i]!.token! > before.token!, "the fencing tokens of the runs do not grow")
  }
}

export const statuses = (runs: ReadonlyArray<CronJob.CronRun>) =>
  runs.map(({ reason, status }) => reason === undefined ? status : `${status} ${reason}`)

export const wholeHistory = (name: string) => Effect.map(CronJob.history(name, { limit: 1_000 }), ({ items }) => items)

/** Waits until the history says so. */
export const untilHistory = (
  kit: Kit,
  name: string,
  isDone: (runs: ReadonlyArray<CronJob.CronRun>) => boolean,
  what: string,
  limit = patience
) => {
  const look = Effect.gen(function*() {
    while (true) {
      const runs = yield* wholeHistory(name)
      if (isDone(runs)) return runs
      yield* Effect.sleep(50)
    }
  })
  return kit.within(limit, look, what)
}
