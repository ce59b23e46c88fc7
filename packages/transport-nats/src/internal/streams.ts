/**
 * What JetStream does for us, and nothing of our own: all protocols of the
 * transport are written against this port, so that they also run over a model
 * of JetStream in a simulation.
 *
 * Transient states (no leader, no responders, a lost connection, no answer) are
 * retried inside, with the same message id and the same expected sequence. An
 * operation fails with `Unavailable` when patience is over and with `Refused`
 * where a repeat cannot help. After a lost answer a publish may find its own
 * message: the caller tells by its content.
 */
import type { TransportError } from "@troupe/core/TransportError"
import type * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"

// --- messages ---

export interface Publish {
  readonly subject: string
  /** What precedes `bytes`, one UTF-16 unit per byte: a large message is not copied for a small beginning. */
  readonly head?: string | undefined
  readonly bytes: Uint8Array
  /** Beside JetStream's own ones. ASCII, no line breaks. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Within the stream's window a second message with the id is not stored, but answered `Duplicate`. Looked at first. */
  readonly messageId?: string | undefined
  /** An id for messages whose repeat is told by other means: the server hears it only where one answer confirms many. */
  readonly runId?: string | undefined
  /** Store only if the last message of the subject has this sequence; 0: if it has none. */
  readonly expected?: number | undefined
  /** What is said instead when it is sent again: its answer did not come, it may have been stored and removed. */
  readonly again?: Pick<Publish, "headers" | "expected"> | undefined
}

/** `Full`: the stream has reached a limit of messages or bytes. */
export type Published =
  | { readonly _tag: "Stored"; readonly sequence: number }
  | { readonly _tag: "Duplicate"; readonly sequence: number }
  | { readonly _tag: "WrongSequence" }
  | { readonly _tag: "Full"; readonly description: string }
  | { readonly _tag: "Failed"; readonly error: TransportError }

/** `headers` has the ones of the publisher, JetStream's own included. */
export interface Stored {
  readonly subject: string
  readonly bytes: Uint8Array
  readonly headers: ReadonlyMap<string, string>
  readonly sequence: number
  /** When the server stored it, ms since the epoch. */
  readonly timestamp: number
}

/** Its `headers` may lack JetStream's own if there are no others. */
export interface Delivered extends Stored {
  /** Hand-outs by this consumer, this one included. May be lost in a crash of the server. */
  readonly deliveries: number
  /** Where to acknowledge it. */
  readonly reply: string
}

/** `Delay`: deliver it again after so many ms. A restarted server may be early. */
export type Acknowledgement =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Working" }
  | { readonly _tag: "Delay"; readonly milliseconds: number }

// --- streams and consumers ---

export interface StreamConfig {
  readonly name: string
  readonly subjects: ReadonlyArray<string>
  /** `work`: an acknowledged message is removed. `limits`: messages stay until they are purged or replaced. */
  readonly retention: "work" | "limits"
  /** 1: a new message of a subject replaces the old one, also one in flight. `undefined`: no limit. */
  readonly perSubject: 1 | undefined
  /** New messages are refused above it; `undefined`: no limit. */
  readonly maxMessages?: number | undefined
  readonly maxBytes?: number | undefined
  /** ms in which message ids are remembered. */
  readonly duplicateWindow: number
}

export interface StreamInfo {
  readonly messages: number
  readonly bytes: number
  readonly firstSequence: number
  readonly lastSequence: number
  /** Messages per subject, if a filter was given. */
  readonly subjects: ReadonlyMap<string, number>
}

/** A durable pull consumer: every message from the first one on, explicit acknowledgement, no limit of deliveries. */
export interface ConsumerConfig {
  readonly stream: string
  readonly name: string
  readonly filter: string
  /** ms after which an unacknowledged message is delivered again. */
  readonly ackWait: number
}

export interface ConsumerInfo {
  readonly ackWait: number
  /** Stream sequence of the last message delivered for the first time. Of its messages, whatever is above waits. */
  readonly delivered: number
  /** Stream sequence up to which everything is acknowledged. */
  readonly ackFloor: number
  /** Messages never delivered. */
  readonly pending: number
  /** Messages delivered and not acknowledged, delayed ones included. */
  readonly ackPending: number
}

// --- pulling ---

/**
 * `Message`: may come after the end of its request, or for none that the caller remembers.
 * `End`: the request that is under way brings no more: it is served, empty, timed out, cancelled or lost.
 */
export type PullEvent =
  | { readonly _tag: "Message"; readonly message: Delivered }
  | {
    readonly _tag: "End"
    /** Messages may have been sent that never came: they come again after the consumer's `ackWait`. */
    readonly mayHaveLost: boolean
  }

/** One request at a time: the next one after `End`. */
export interface Puller {
  /** `wait`: whether it waits for messages (until they are there, it is cancelled or lost) or takes what is there. */
  readonly request: (options: { readonly batch: number; readonly wait: boolean }) => void
  /** Ends a waiting request. What is on its way is lost and comes again after the consumer's `ackWait`. */
  readonly cancel: () => void
}

export interface Streams {
  /**
   * One answer per message, in their order. Stored in their order, unless one of them had to be repeated. `stream`: all
   * are of it, and nobody asks for the sequences of those with an id, which may be 0 then: one answer of the server may
   * confirm many.
   */
  readonly publish: (messages: ReadonlyArray<Publish>, stream?: string) => Effect.Effect<ReadonlyArray<Published>>
  /** The last message of each subject. */
  readonly last: (
    stream: string,
    subjects: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Stored | undefined>, TransportError>
  /** The messages of these sequences. */
  readonly at: (
    stream: string,
    sequences: ReadonlyArray<number>
  ) => Effect.Effect<ReadonlyArray<Stored | undefined>, TransportError>
  /** The first message at or above a sequence whose subject matches. */
  readonly next: (stream: string, filter: string, sequence: number) => Effect.Effect<Stored | undefined, TransportError>
  /**
   * Removes messages below a sequence, or all; answers how many. Survives a crash of the server. Never of a stream
   * with consumers: the server resets all of them, and jobs are lost.
   */
  readonly purge: (stream: string, filter: string, below?: number) => Effect.Effect<number, TransportError>
  /** Removes messages, in flight or not; one that is gone already is fine. Survives a crash of the server. */
  readonly remove: (stream: string, sequences: ReadonlyArray<number>) => Effect.Effect<void, TransportError>
  /** Done for each: the server confirmed. An unknown or old delivery is confirmed, too. */
  readonly acknowledge: (
    replies: ReadonlyArray<string>,
    how: Acknowledgement
  ) => Effect.Effect<void, TransportError>
  /**
   * Acknowledges what is known to be over if it comes again. The server confirms only the last one of each consumer: it
   * takes them in their order, so that a single one is lost but rarely.
   */
  readonly finish: (replies: ReadonlyArray<string>) => Effect.Effect<void, TransportError>

  /** Creates a stream that is not there. */
  readonly ensureStream: (config: StreamConfig) => Effect.Effect<void, TransportError>
  /** `undefined`: there is no such stream. */
  readonly streamInfo: (stream: string, subjects?: string) => Effect.Effect<StreamInfo | undefined, TransportError>
  /** Creates a consumer or changes its `ackWait`. */
  readonly ensureConsumer: (config: ConsumerConfig) => Effect.Effect<void, TransportError>
  readonly consumerInfo: (stream: string, name: string) => Effect.Effect<ConsumerInfo | undefined, TransportError>
  readonly deleteConsumer: (stream: string, name: string) => Effect.Effect<void, TransportError>
  /**
   * Events come one by one, outside of `request` and `cancel`. `heartbeat`: ms between two signs of life of a waiting
   * request. It has to be shorter than `ackWait`: an older server that finds only requests of the dead when a lease
   * ends hands the message out twice.
   */
  readonly puller: (
    stream: string,
    consumer: string,
    heartbeat: number,
    onEvent: (event: PullEvent) => void
  ) => Effect.Effect<Puller, TransportError, Scope>

  // --- not stored ---

  /** At most once. */
  readonly broadcast: (subject: string, bytes: Uint8Array) => Effect.Effect<void, TransportError>
  /** Active when it returns. Several subjects, one order. */
  readonly listen: (
    subjects: ReadonlyArray<string>,
    onMessage: (subject: string, bytes: Uint8Array) => void
  ) => Effect.Effect<void, TransportError, Scope>

  /** Names this life of the server: another one after a restart. `undefined` in a cluster, where nobody knows. */
  readonly incarnation: () => string | undefined
  /** Calls back whenever the connection was lost and is back, until the scope closes. */
  readonly onReconnect: (callback: () => void) => Effect.Effect<void, never, Scope>
  /** Largest message, headers included, bytes. */
  readonly maxPayload: number
}
