/**
 * The broker, as one service: a leased log, a table and a bus.
 *
 * Transports are small. All policy (attempts, retries, dead-letter reasons,
 * poison, expiry, signatures) lives once in core, so that every broker keeps
 * the same guarantees.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type { Bus } from "./Bus.ts"
import type { JobLog } from "./JobLog.ts"
import type { Store } from "./Store.ts"
import type { TransportError } from "./TransportError.ts"

/** What this broker can do, as data. Probed, not assumed. */
export interface Capabilities {
  /** What an accepted job survives: the end of this process, of the broker's process, a power loss, the loss of a host. */
  readonly durability: "none" | "process" | "disk" | "quorum"
  /** A settlement with an old lease changes nothing and answers `superseded`. */
  readonly fencedSettle: boolean
  /** Jobs of one key may be enqueued with different priorities and still keep their order. */
  readonly keyedPriority: boolean
  /** Delivery counts survive a crash of the broker. */
  readonly durableDeliveryCount: boolean
  /** Largest envelope in bytes; `undefined` without a limit. */
  readonly maxMessageBytes: number | undefined
}

export class Transport extends Context.Service<Transport, {
  /** For logs and telemetry: `memory`, `redis`, `nats`. */
  readonly name: string
  readonly capabilities: Capabilities
  /** The broker's time in ms since the epoch. A transport may keep an offset. */
  readonly clock: Effect.Effect<number, TransportError>
  readonly log: JobLog
  readonly store: Store
  readonly bus: Bus
}>()("@troupe/core/Transport") {}
