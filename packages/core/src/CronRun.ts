/**
 * The history of scheduled work: what ran when, where, and how it ended.
 *
 * A run is one execution. Most ticks have one; a retry, and the repeat after the
 * death of a worker, is a run of its own of the same tick.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * - `QUEUED`: enqueued, and no worker has started it.
 * - `RUNNING`
 * - `COMPLETED`
 * - `FAILED`: `reason` says how: a reason of `JobRecord`, or `WorkerLost` (the process was killed or stood still),
 *   `LockLost`, `Interrupted`, `InvalidPayload`, `Lost` (the broker no longer knows the job).
 * - `SKIPPED`: not run. `reason` is `Overlap` (another run held the lock), `Expired` (no worker was free within
 *   the missed window), or `Missed` (no scheduler was alive).
 * - `RELEASED`: given back at a shutdown or by a snooze; it goes on as another run.
 * - `CANCELLED`
 */
export const Status = Schema.Literals([
  "QUEUED",
  "RUNNING",
  "COMPLETED",
  "FAILED",
  "SKIPPED",
  "RELEASED",
  "CANCELLED"
])

export type Status = typeof Status.Type

/** `schedule`: its tick came. `manual`: `CronJob.trigger`. `backfill`: `CronJob.backfill`. */
export const Trigger = Schema.Literals(["schedule", "manual", "backfill"])

export type Trigger = typeof Trigger.Type

export const CronRun = Schema.Struct({
  /** The name of the cron job. */
  name: Schema.String,
  /** The id of its job, or what would be one without a task. Runs of one tick share it. */
  id: Schema.String,
  /** 1 for the first run of a tick; 0 if there was none. */
  execution: Schema.Number,
  /** When it was due, ms since the epoch by the broker's clock. */
  tick: Schema.Number,
  trigger: Trigger,
  status: Status,
  /** ms since the epoch by the broker's clock, as far as the process that ran it knew it. */
  startedAt: Schema.optionalKey(Schema.Number),
  completedAt: Schema.optionalKey(Schema.Number),
  /** ms. */
  duration: Schema.optionalKey(Schema.Number),
  /** The id of the worker or, without a task, of the scheduler. */
  worker: Schema.optionalKey(Schema.String),
  /** The attempt of the job, from 1. */
  attempt: Schema.optionalKey(Schema.Number),
  reason: Schema.optionalKey(Schema.String),
  message: Schema.optionalKey(Schema.String),
  /** The encoded success, or the encoded error of the task's own. Bytes that are no JSON: `{ base64 }`. Left out above 8 KiB. */
  value: Schema.optionalKey(Schema.Json)
})

export type CronRun = typeof CronRun.Type

/** The run that the current handler is. */
export interface Current {
  readonly name: string
  readonly id: string
  /** When it was due, ms since the epoch by the broker's clock. */
  readonly tick: number
  readonly trigger: Trigger
  /** Greater than that of every run of this job before. `None` where runs may overlap: then no lock is held. */
  readonly fencingToken: Option.Option<number>
}

/** `Some` in a handler that runs for a cron job. */
export const Current = Context.Reference<Option.Option<Current>>("@troupe/core/CronRun/Current", {
  defaultValue: () => Option.none()
})
