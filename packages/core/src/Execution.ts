/**
 * What a handler knows of the run it is part of, and what it may do to it.
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

export interface Execution {
  readonly id: string
  readonly queue: string
  /** The tag of the task. */
  readonly task: string
  readonly key: string | undefined
  /** The number of this attempt, from 1. Releases, snoozes and crashes do not count. */
  readonly attempt: number
  readonly maxAttempts: number
  /** Hand-outs since the job last started anew: more than 1 after a crash or a lost lease. */
  readonly deliveries: number
  readonly headers: Readonly<Record<string, string>>
  /** ms since the epoch by the broker's clock. */
  readonly enqueuedAt: number
  /** When this attempt times out, ms since the epoch by the worker's clock. */
  readonly deadline: number | undefined
  /**
   * A number greater than any taken before for this job, taken at first use and
   * kept for the attempt. Guard outside writes with it. Waits while the broker
   * is away; interrupts the handler if the lease turned out to be lost.
   */
  readonly fencingToken: Effect.Effect<number>
  /** Broadcasts how far the handler is: at most once, never fails. */
  readonly progress: (value: Schema.Json) => Effect.Effect<void>
}

/** Ends this attempt without counting it, and runs the job again after the delay. */
export class Snooze extends Schema.TaggedError<Snooze>()("Snooze", {
  delay: Schema.DurationFromMillis
}) {}

/** Ends the job as failed at once, whatever attempts are left. It is kept as a dead letter. */
export class Discard extends Schema.TaggedError<Discard>()("Discard", {
  reason: Schema.String
}) {}

/** Fails this attempt with its own delay in place of the retry schedule's. Counts; the last attempt fails the job. */
export class RetryAfter extends Schema.TaggedError<RetryAfter>()("RetryAfter", {
  delay: Schema.DurationFromMillis,
  reason: Schema.String
}) {}

/** What a handler may fail with beside the errors of its task. */
export type Control = Snooze | Discard | RetryAfter
