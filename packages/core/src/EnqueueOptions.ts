/**
 * What a producer says about a job.
 */
import * as Context from "effect/Context"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"
import type { TracePolicy } from "./Telemetry.ts"

type Headers = Readonly<Record<string, string>>

/** The value of `DefaultHeaders` where nobody says otherwise: one object, so that it is known at once. */
export const noHeaders: Headers = Object.freeze({})

/**
 * Headers of all jobs that are enqueued where this is provided, around a request or around a whole application; a header
 * that the call gives wins. The context of the caller counts, not that of the client. A handler has none of those that
 * came with its job: its `execution.headers` may be provided anew. Default: none.
 */
export const DefaultHeaders = Context.Reference<Headers>("@troupe/core/Client/DefaultHeaders", {
  defaultValue: () => noHeaders
})

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
  /** For the handler, over those of `Client.DefaultHeaders`. */
  readonly headers?: Headers | undefined
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
