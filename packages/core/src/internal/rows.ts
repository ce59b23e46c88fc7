/**
 * Rows of the store that are JSON of one schema, written by compare-and-set.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Collection, KeyedRow, Page, Paged } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"
import { encodeJson } from "./json.ts"

export interface Found<A> {
  /** `undefined` if the row is absent, or if it cannot be read: then it counts as absent and is written over. */
  readonly value: A | undefined
  /** 0 for an absent row. */
  readonly revision: number
}

export interface Rows<A> {
  /** One answer per key. */
  readonly read: (
    transport: Transport["Service"],
    keys: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Found<A>>, TransportError>
  readonly readOne: (transport: Transport["Service"], key: string) => Effect.Effect<Found<A>, TransportError>
  /** Writes over the revision that was read, and answers the new one; `undefined` if somebody else was faster. */
  readonly write: (
    transport: Transport["Service"],
    key: string,
    value: A,
    ifRevision: number
  ) => Effect.Effect<number | undefined, TransportError>
  /**
   * Writes what `change` makes of the row, and answers it. `change` may be asked
   * again; with `undefined` it leaves the row as it is.
   */
  readonly update: (
    transport: Transport["Service"],
    key: string,
    change: (value: A | undefined) => A | undefined
  ) => Effect.Effect<A | undefined, TransportError>
  /** Removes rows, whatever their revision; they may be gone already. */
  readonly remove: (
    transport: Transport["Service"],
    keys: ReadonlyArray<string>
  ) => Effect.Effect<void, TransportError>
  /** Removes the row if it still has this revision. Answers whether it had. */
  readonly claim: (
    transport: Transport["Service"],
    key: string,
    revision: number
  ) => Effect.Effect<boolean, TransportError>
  /** Unreadable rows are left out. */
  readonly list: (
    transport: Transport["Service"],
    page: Page
  ) => Effect.Effect<Paged<{ readonly key: string; readonly value: A; readonly revision: number }>, TransportError>
}

/** `timeToLive` is in ms; without it the rows stay. */
export const make = <A>(
  collection: Collection,
  schema: Schema.Codec<A, unknown>,
  timeToLive?: (value: A) => number
): Rows<A> => {
  const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(schema))
  const decode = ({ value }: { readonly value: Uint8Array }) =>
    Option.getOrUndefined(decodeText(new TextDecoder().decode(value)))
  const absent: Found<A> = { value: undefined, revision: 0 }

  const read: Rows<A>["read"] = ({ store }, keys) =>
    keys.length === 0 ? Effect.succeed([]) : Effect.map(
      store.get(collection, keys),
      (rows) =>
        rows.map((row) => Option.isNone(row) ? absent : { value: decode(row.value), revision: row.value.revision })
    )

  const readOne: Rows<A>["readOne"] = (transport, key) =>
    Effect.map(read(transport, [key]), ([found]) => found ?? absent)

  const write: Rows<A>["write"] = ({ store }, key, value, ifRevision) =>
    store.put(collection, key, encodeJson(value), { ifRevision, timeToLive: timeToLive?.(value) }).pipe(
      Effect.catchTag("RevisionConflict", () => Effect.undefined)
    )

  return {
    read,
    readOne,
    write,
    update: Effect.fnUntraced(function*(transport, key, change) {
      while (true) {
        const { revision, value } = yield* readOne(transport, key)
        const next = change(value)
        if (next === undefined) return undefined
        if ((yield* write(transport, key, next, revision)) !== undefined) return next
      }
    }),
    remove: ({ store }, keys) =>
      Effect.forEach(
        keys,
        (key) => Effect.catchTag(store.remove(collection, key), "RevisionConflict", () => Effect.void),
        { concurrency: 16, discard: true }
      ),
    claim: ({ store }, key, revision) =>
      store.remove(collection, key, { ifRevision: revision }).pipe(
        Effect.as(true),
        Effect.catchTag("RevisionConflict", () => Effect.succeed(false))
      ),
    list: ({ store }, page) =>
      Effect.map(store.list(collection, page), ({ items, next }) => ({
        items: items.flatMap((row: KeyedRow) => {
          const value = decode(row)
          return value === undefined ? [] : { key: row.key, value, revision: row.revision }
        }),
        next
      }))
  }
}

/** Every row once, in no promised order. */
export const listAll = Effect.fnUntraced(function*<A>(
  rows: Rows<A>,
  transport: Transport["Service"]
): Effect.fn.Return<
  ReadonlyArray<{ readonly key: string; readonly value: A; readonly revision: number }>,
  TransportError
> {
  const found = new Map<string, { readonly key: string; readonly value: A; readonly revision: number }>()
  let cursor: string | undefined
  do {
    const page = yield* rows.list(transport, { limit: 500, cursor })
    for (const row of page.items) found.set(row.key, row)
    cursor = page.next
  } while (cursor !== undefined)
  return [...found.values()]
})
