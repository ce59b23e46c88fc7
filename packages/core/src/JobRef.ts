/**
 * A job known by queue and id, whoever enqueued it.
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import type { DueOptions } from "./EnqueueOptions.ts"
import type { JobNotFound, RescheduleError } from "./JobError.ts"
import type { Place } from "./JobLog.ts"
import type { FailureReason, JobRecord, TerminalState } from "./JobRecord.ts"
import type { TransportError } from "./TransportError.ts"

export type JobState = Exclude<Place, "dead"> | TerminalState

/** What a job can be in place of one that waits for its time. */
export type NotScheduled = Exclude<JobState, "scheduled">

/** What is known of a job now. Times are ms since the epoch by the broker's clock. */
export interface JobInfo {
  readonly id: string
  readonly queue: string
  readonly task: string
  readonly state: JobState
  /** Attempts that counted so far. */
  readonly attempts: number
  /** What the last attempt failed with. */
  readonly lastError: string | undefined
  /** Why the job failed, if it did. */
  readonly reason: FailureReason | undefined
  /** When the job is or was due; `undefined` once it is over. */
  readonly dueAt: number | undefined
  readonly enqueuedAt: number | undefined
  readonly finishedAt: number | undefined
  readonly priority: string | undefined
  readonly key: string | undefined
}

/** A job known by queue and id, without its definition. */
export interface JobRef {
  readonly id: string
  readonly queue: string
  readonly status: Effect.Effect<JobState, JobNotFound | TransportError>
  readonly info: Effect.Effect<JobInfo, JobNotFound | TransportError>
  /** The terminal record if the job is over. */
  readonly record: Effect.Effect<Option.Option<JobRecord>, TransportError>
  /** Waits until the job is over. */
  readonly awaitRecord: Effect.Effect<JobRecord, JobNotFound | TransportError>
  /**
   * Ends the job as cancelled, wherever it is, unless it is over already.
   * Answers the state that stands: `cancelled`, or what was first.
   */
  readonly cancel: Effect.Effect<TerminalState, JobNotFound | TransportError>
  /**
   * Gives a job that waits for its time another one, earlier or later; `{}` is now. A delayed job, a retry and a snooze
   * wait; their attempt, priority, key and expiry stay. Answers `rescheduled`, or where the job is instead: one that is
   * due is on its way to a worker, and stays as it is. Of two callers the last one counts.
   */
  readonly reschedule: (
    due: DueOptions
  ) => Effect.Effect<"rescheduled" | NotScheduled, JobNotFound | RescheduleError | TransportError>
  /**
   * Cancels a job that waits for its time, and only that: unlike `cancel` it never interrupts a handler. Answers
   * `unscheduled`, or where the job is instead. Waiters get `JobCancelled`.
   */
  readonly unschedule: Effect.Effect<"unscheduled" | NotScheduled, JobNotFound | TransportError>
  /** What the handler reports from now on, until the job is over. At most once. */
  readonly progress: Stream.Stream<Schema.Json, JobNotFound | TransportError>
}

export interface Enqueued extends JobRef {
  /** True if a live job or a record with this id stood already: nothing was added. */
  readonly duplicate: boolean
}
