/**
 * What a worker may be told, in code or by the environment.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import type * as Option from "effect/Option"

/**
 * Every option that code leaves out is read from `Config` with the prefix
 * `TROUPE_`: `TROUPE_CONCURRENCY`, `TROUPE_IDLE_TIMEOUT`, `TROUPE_QUEUES=a,b`,
 * `TROUPE_TASK_CONCURRENCY=SendEmail=4,Resize=2`, `TROUPE_WORKER_ID`, …; what
 * neither says has a default.
 */
export interface WorkerOptions<Tag extends string = string> {
  /** Serves only these of its tasks' queues. Default: all of them. */
  readonly queues?: ReadonlyArray<string> | undefined
  /** Handlers at once, per queue. Default: 16. */
  readonly concurrency?: number | undefined
  /**
   * Handlers at once of one task. While they keep jobs of other tasks from free slots, its further jobs give way and go to
   * the end of the queue, a few at a time; a queue of its own is better for a task with a long line.
   * Default: no limit of its own.
   */
  readonly taskConcurrency?: { readonly [T in Tag]?: number | undefined } | undefined
  /** Jobs fetched ahead of free slots, per queue; 0 fetches none. Default: `concurrency`. */
  readonly prefetch?: number | undefined
  /** The levels that this worker serves, from the lowest to the highest. Default: `Priority.Levels`. */
  readonly priorities?: ReadonlyArray<string> | undefined
  /** The lease: a job not heartbeaten for so long is handed out again. At least 1 second. Default: 15 seconds. */
  readonly idleTimeout?: Duration.Input | undefined
  /** What running handlers get to finish at shutdown. Default: 30 seconds. */
  readonly gracePeriod?: Duration.Input | undefined
  /** Hand-outs without an end after which a job is poison. Default: 5. */
  readonly maxDeliveries?: number | undefined
  /** How long a job whose task is unknown waits for a worker that knows it. Default: 10 minutes. */
  readonly unknownTaskTimeout?: Duration.Input | undefined
  /** A second live worker with the same id does not start. Default: random. */
  readonly id?: string | undefined
}

const option = <A>(config: Config.Config<A>): Config.Config<Option.Option<A>> =>
  Config.option(Config.nested(config, "TROUPE"))

const list = (name: string) =>
  option(
    Config.map(Config.String(name), (text) => text.split(",").map((item) => item.trim()).filter((item) => item !== ""))
  )

/** The options as the environment gives them. A missing one is `None`, a bad one a `ConfigError`. */
export const fromConfig = {
  queues: list("QUEUES"),
  concurrency: option(Config.Int("CONCURRENCY")),
  taskConcurrency: list("TASK_CONCURRENCY"),
  prefetch: option(Config.Int("PREFETCH")),
  priorities: list("PRIORITIES"),
  idleTimeout: option(Config.Duration("IDLE_TIMEOUT")),
  gracePeriod: option(Config.Duration("GRACE_PERIOD")),
  maxDeliveries: option(Config.Int("MAX_DELIVERIES")),
  unknownTaskTimeout: option(Config.Duration("UNKNOWN_TASK_TIMEOUT")),
  id: option(Config.NonEmptyString("WORKER_ID"))
}
