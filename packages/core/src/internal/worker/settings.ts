/**
 * What every part of a running worker knows: resolved options and hoisted services.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Codec from "../../Codec.ts"
import type { Signing } from "../../Signing.ts"
import type { Policy } from "../../Task.ts"
import type { Recorder } from "../../Telemetry.ts"
import type { Transport } from "../../Transport.ts"
import type { Emitter } from "../emitter.ts"
import type { Encoding, HandlerService } from "../handler.ts"
import type { Tracing } from "../telemetry/tracing.ts"

/** Options with their defaults applied. Durations are ms. */
export interface Limits {
  readonly id: string
  /** Per queue. */
  readonly concurrency: number
  readonly prefetch: number
  readonly taskConcurrency: ReadonlyMap<string, number>
  readonly priorities: NonEmptyReadonlyArray<string>
  readonly idleTimeout: number
  readonly gracePeriod: number
  readonly maxDeliveries: number
  readonly unknownTaskTimeout: number
}

export interface RegisteredTask {
  readonly policy: Policy
  readonly handler: HandlerService
}

export interface Settings extends Limits {
  readonly transport: Transport["Service"]
  readonly signing: Signing | undefined
  /** How results are written. */
  readonly encoding: Encoding
  /** Decodes payloads, by content type. */
  readonly accepted: ReadonlyMap<string, Codec.Codec>
  readonly emitter: Emitter
  /** Jobs over the limit of their task give way to others, for a while. */
  readonly givesWay: boolean
  readonly clock: Clock.Clock
  /** ms since the epoch by the broker's clock, as far as this worker knows it. */
  readonly now: () => number
  /**
   * Half of it or more, by chance: workers that wait for the same thing must not keep step with each other, nor with
   * the rounds of a broker.
   */
  readonly jittered: (milliseconds: number) => number
  /** Handlers run in it: loggers, tracer, clock. */
  readonly context: Context.Context<never>
  readonly debug: boolean
  readonly recorder: Recorder
  /** `undefined` if nobody traces. */
  readonly tracing: Tracing | undefined
  /** ms between two looks at how long a queue is; 0 for never. */
  readonly queueStatsInterval: number
}
