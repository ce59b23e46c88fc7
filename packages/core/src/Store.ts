/**
 * A compare-and-set table with time to live, in named collections.
 *
 * It carries results, leases, cursors, actor state, worker heartbeats and pause
 * flags: whatever must survive a restart and is not a job.
 */
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { TransportError } from "./TransportError.ts"

export interface Collection {
  readonly name: string
  /** Rows bound to a queue live beside its jobs (same slot, same stream). `undefined`: global. */
  readonly queue: string | undefined
  /** Only listable collections answer `list`; listing costs an index on some brokers. */
  readonly listable: boolean
}

export interface Row {
  readonly value: Uint8Array
  /** Grows with every write of the key, also after removal and expiry. Never 0. */
  readonly revision: number
}

export interface KeyedRow extends Row {
  readonly key: string
}

/** A page request: at most `limit` items after `cursor` (from the start without one). */
export interface Page {
  readonly limit: number
  readonly cursor?: string | undefined
}

export interface Paged<A> {
  readonly items: ReadonlyArray<A>
  /** Where the next page starts; `undefined` after the last. */
  readonly next: string | undefined
}

export interface PutOptions {
  /** Write only if the row has this revision; 0 means "if absent". */
  readonly ifRevision?: number | undefined
  /** ms that the row is kept, at least. An expired row reads as absent. Without it the row stays. */
  readonly timeToLive?: number | undefined
}

/** Somebody else wrote the row first. */
export class RevisionConflict extends Schema.TaggedError<RevisionConflict>()("RevisionConflict", {
  collection: Schema.String,
  key: Schema.String,
  expected: Schema.Number
}) {
  override get message() {
    return `Row "${this.key}" of "${this.collection}" no longer has revision ${this.expected}: read it again and decide anew.`
  }
}

export interface Store {
  /** One answer per key, in the order of the keys. */
  readonly get: (
    collection: Collection,
    keys: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Option.Option<Row>>, TransportError>
  /** Answers the new revision. */
  readonly put: (
    collection: Collection,
    key: string,
    value: Uint8Array,
    options?: PutOptions
  ) => Effect.Effect<number, TransportError | RevisionConflict>
  readonly remove: (
    collection: Collection,
    key: string,
    options?: { readonly ifRevision?: number | undefined }
  ) => Effect.Effect<void, TransportError | RevisionConflict>
  /** Fails with `Unsupported` for a collection that is not listable. */
  readonly list: (collection: Collection, page: Page) => Effect.Effect<Paged<KeyedRow>, TransportError>
}

/**
 * The records of a queue, as `JobRecord.toBytes`. `settle` and `get` see the same rows.
 * Only a transport writes here, through `settle`, `withdraw` and `redrive`.
 */
export const records = (queue: string): Collection => ({ name: "records", queue, listable: false })
