/**
 * The row of a lock: who holds it, and for how long without a renewal.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Topic } from "../../Bus.ts"
import type { Collection } from "../../Store.ts"
import { encodeJson } from "../json.ts"

export const locks: Collection = { name: "locks", queue: undefined, listable: false }

/** Where a release is announced. No content: the row tells. */
export const lockTopic = (name: string): Topic => ["lock", name]

const LockRow = Schema.Struct({
  /** Random, one per acquisition: tells our own row after a lost reply. */
  owner: Schema.String,
  /** ms. The holder's own: a contender may be configured otherwise. */
  ttl: Schema.Number,
  /** Who acquires again with the same claim replaces the holder at once. */
  claim: Schema.optionalKey(Schema.String)
})

export type LockRow = typeof LockRow.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(LockRow))

/** Bytes that are no row of ours are a holder that never renews. */
const unknown: LockRow = { owner: "", ttl: 60_000 }

export const toBytes = (row: LockRow): Uint8Array => encodeJson(row)

export const fromBytes = (bytes: Uint8Array): LockRow =>
  Option.getOrElse(decode(new TextDecoder().decode(bytes)), () => unknown)

/**
 * ms that a row is kept without a renewal: only so that forgotten locks do not
 * fill the broker. A dead holder is replaced much earlier.
 */
export const timeToLive = (ttl: number): number => 10 * ttl + 3_600_000
