/**
 * Resolves a worker's options: code, then environment, then defaults.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import { Levels } from "../../Priority.ts"
import { InvalidOption, WorkerError } from "../../WorkerError.ts"
import { fromConfig, type WorkerOptions } from "../../WorkerOptions.ts"
import type { Limits } from "./settings.ts"

const invalid = (option: string, description: string) =>
  new WorkerError({ reason: new InvalidOption({ option, description }) })

const minimumLease = 1_000

const whole = (option: string, value: number, least: number) =>
  Number.isInteger(value) && value >= least
    ? Effect.succeed(value)
    : Effect.fail(invalid(option, `must be a whole number of at least ${least}, got ${value}`))

const millis = (option: string, input: Duration.Input, least: number) => {
  const duration = Duration.fromInput(input)
  const ms = Option.isSome(duration) ? Math.ceil(Duration.toMillis(duration.value)) : Number.NaN
  return ms >= least && ms <= Number.MAX_SAFE_INTEGER
    ? Effect.succeed(ms)
    : Effect.fail(invalid(option, `must be a finite duration of at least ${least} ms, got ${String(input)}`))
}

const parseTaskConcurrency = Effect.forEach((entry: string) => {
  const [task, limit] = entry.split("=")
  return Effect.map(whole(`TROUPE_TASK_CONCURRENCY (${entry})`, Number(limit), 1), (limit) => [task!, limit] as const)
})

/** Code wins: what it says is not even read from the environment. */
const pick = <A>(own: A | undefined, configured: Config.Config<Option.Option<A>>): Effect.Effect<
  A | undefined,
  Config.ConfigError
> => own === undefined ? Effect.map(configured, Option.getOrUndefined) : Effect.succeed(own)

/** The queues of the tasks, narrowed by the option `queues`. */
export const servedQueues = Effect.fnUntraced(function*(
  options: WorkerOptions,
  available: ReadonlySet<string>
): Effect.fn.Return<ReadonlySet<string>, WorkerError | Config.ConfigError> {
  const queues = yield* pick(options.queues, fromConfig.queues)
  if (queues === undefined) return available
  const unknown = queues.filter((queue) => !available.has(queue))
  if (unknown.length > 0 || queues.length === 0) {
    const known = [...available].join(", ")
    const what = queues.length === 0 ? "must not be empty" : `names "${unknown.join(", ")}", but no task uses it`
    return yield* invalid("queues", `${what}; the tasks use: ${known}`)
  }
  return new Set(queues)
})

export const resolve = Effect.fnUntraced(function*(
  options: WorkerOptions,
  tags: ReadonlySet<string>
): Effect.fn.Return<Limits, WorkerError | Config.ConfigError> {
  const concurrency = yield* whole("concurrency", (yield* pick(options.concurrency, fromConfig.concurrency)) ?? 16, 1)
  const prefetch = yield* whole("prefetch", (yield* pick(options.prefetch, fromConfig.prefetch)) ?? concurrency, 0)
  const taskConcurrency = new Map<string, number>()
  const limits = options.taskConcurrency === undefined
    ? yield* parseTaskConcurrency(Option.getOrElse(yield* fromConfig.taskConcurrency, () => []))
    : Object.entries(options.taskConcurrency)
  for (const [task, limit] of limits) {
    if (limit === undefined) continue
    if (!tags.has(task)) {
      return yield* invalid("taskConcurrency", `names task "${task}", which this worker does not list`)
    }
    taskConcurrency.set(task, yield* whole(`taskConcurrency.${task}`, limit, 1))
  }
  const levels = yield* Levels
  const [lowest, ...higher] = (yield* pick(options.priorities, fromConfig.priorities)) ?? levels
  if (lowest === undefined) return yield* invalid("priorities", "must not be empty")
  const priorities: NonEmptyReadonlyArray<string> = [lowest, ...higher]
  const strange = priorities.find((level) => !levels.includes(level))
  if (strange !== undefined) {
    return yield* invalid("priorities", `names "${strange}", which is not in Priority.Levels (${levels.join(", ")})`)
  }
  if (new Set(priorities).size < priorities.length) {
    return yield* invalid("priorities", `names a level twice: ${priorities.join(", ")}`)
  }
  const id = (yield* pick(options.id, fromConfig.id)) ?? `worker-${Math.abs(yield* Random.nextInt).toString(36)}`
  if (id === "") return yield* invalid("id", "must not be empty")
  const duration = Effect.fnUntraced(function*(
    name: "idleTimeout" | "gracePeriod" | "unknownTaskTimeout",
    fallback: Duration.Input,
    least: number
  ) {
    return yield* millis(name, (yield* pick<Duration.Input>(options[name], fromConfig[name])) ?? fallback, least)
  })
  return {
    id,
    concurrency,
    prefetch,
    taskConcurrency,
    priorities,
    idleTimeout: yield* duration("idleTimeout", "15 seconds", minimumLease),
    gracePeriod: yield* duration("gracePeriod", "30 seconds", 0),
    maxDeliveries: yield* whole(
      "maxDeliveries",
      (yield* pick(options.maxDeliveries, fromConfig.maxDeliveries)) ?? 5,
      1
    ),
    unknownTaskTimeout: yield* duration("unknownTaskTimeout", "10 minutes", 0)
  }
})
