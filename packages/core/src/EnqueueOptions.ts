/**
 * What a producer says about a job.
 */
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type { TracePolicy } from "./Telemetry.ts"

/** When a job is to be due: now, without either. */
export interface DueOptions {
  /** Not due before this time has passed, by the broker's clock. */
  readonly delay?: Duration.Input | undefined
  /** Not due before this time (ms since the epoch when a number), by the broker's clock. Excludes `delay`. */
  readonly at?: DateTime.DateTime | Date | number | undefined
}

/** What a call may say about one job, over the defaults of its task. */
export interface EnqueueOptions extends DueOptions {
  /** Unique within the queue while the job is alive. Default: generated. */
  readonly id?: string | undefined
  /** One of `Priority.Levels`. */
  readonly priority?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Jobs of one key run one at a time, in the order in which they became due. */
  readonly key?: string | undefined
  /** No attempt starts later than this after the enqueue. */
  readonly expiresIn?: Duration.Input | undefined
  /** Where the attempts stand in the traces. Default: what the task says, then `Telemetry.TracePolicy`. */
  readonly trace?: TracePolicy | undefined
}

/** One job as a producer describes it, encoded. */
export interface NewJob extends EnqueueOptions {
  readonly task: string
  readonly queue: string
  readonly body: Uint8Array
  readonly contentType: string
  readonly maxAttempts?: number | undefined
  /** ms since the epoch by the broker's clock. In place of `expiresIn`, which would start anew with a late send. */
  readonly expiresAt?: number | undefined
}
