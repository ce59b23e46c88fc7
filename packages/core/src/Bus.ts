/**
 * At-most-once broadcast. A lost message only costs time: behind everything
 * that travels here stands a slow re-read of the log or the store.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { TransportError } from "./TransportError.ts"

/** A list of words, any characters. A pattern is a prefix of it. */
export type Topic = NonEmptyReadonlyArray<string>

export interface Message {
  readonly topic: Topic
  readonly bytes: Uint8Array
}

export interface Bus {
  readonly publish: (topic: Topic, bytes: Uint8Array) => Effect.Effect<void, TransportError>
  /**
   * Calls `onMessage` for every message whose topic starts with `prefix`, until
   * the scope closes. The subscription is active when the effect returns.
   * `onGap` says that messages may have been lost, and that those from now on
   * come: a connection was lost and is back. Neither may throw or block.
   */
  readonly subscribe: (
    prefix: Topic,
    onMessage: (message: Message) => void,
    onGap?: () => void
  ) => Effect.Effect<void, TransportError, Scope>
}

/** Where a transport publishes new records for the client that enqueued the jobs (`JobRecord.manyToBytes`). */
export const resultsTopic = (client: string): Topic => ["results", client]

/**
 * Where a transport publishes the record of one job for other waiters.
 * Subscribing to it registers the waiter: nothing is published without one.
 */
export const jobTopic = (queue: string, id: string): Topic => ["job", queue, id]

/** Where a cancelled job's id (UTF-8) is published for the workers of its queue. */
export const cancelTopic = (queue: string): Topic => ["cancel", queue]

/** Where a handler's progress (JSON text) is published. */
export const progressTopic = (queue: string, id: string): Topic => ["progress", queue, id]

/** Where pausing and resuming a queue is announced to its workers. No content: the flag is in the store. */
export const pauseTopic = (queue: string): Topic => ["pause", queue]
