/**
 * What every part of the transport works with.
 */
import type { Agenda } from "./agenda.ts"
import type { NatsBus } from "./bus.ts"
import type { BrokerClock } from "./clock.ts"
import type { Incarnation } from "./incarnation.ts"
import type { Levels } from "./levels.ts"
import type { Publisher } from "./publications.ts"
import type { Queues } from "./queues.ts"
import type { Rows } from "./rows.ts"
import type { Streams } from "./streams.ts"

export interface Context {
  readonly namespace: string
  readonly streams: Streams
  readonly clock: BrokerClock
  readonly queues: Queues
  readonly rows: Rows
  readonly agenda: Agenda
  readonly publisher: Publisher
  readonly bus: NatsBus
  readonly incarnation: Incarnation
  /** Bytes of an envelope. */
  readonly maxMessageBytes: number
  readonly levels: Levels
  /** Unlike any other, of any process. */
  readonly nonce: () => string
}
