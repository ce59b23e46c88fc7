/**
 * The table: one stream, a subject per key, compare-and-set by the sequence of
 * the last message. Sequences only grow, also after removal and expiry.
 */
import {
  type Collection,
  type KeyedRow,
  type Page,
  type Paged,
  type PutOptions,
  records,
  RevisionConflict,
  type Row,
  type Store
} from "@troupe/core/Store"
import { TransportError, Unsupported } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import { recordOf } from "./record.ts"
import { pack, unpack } from "./row.ts"
import type { Publish, Stored } from "./streams.ts"

interface Header {
  readonly k: string
  /** ms to live. */
  readonly t?: number | undefined
  /** Removed. */
  readonly g?: true | undefined
}

interface TableRow extends KeyedRow {
  readonly isLive: boolean
  readonly expiresAt: number
}

const nothing = new Uint8Array(0)

/** Conditional writes that find an expired row again and again. */
const maxTries = 20

/** Rows whose expiry is remembered: a write on their revision needs no look. */
const maxRemembered = 10_000

const isRecords = (collection: Collection): collection is Collection & { readonly queue: string } =>
  collection.queue !== undefined && collection.name === records(collection.queue).name

/** ms that rows of the transport's own are kept: the clocks of processes, the lives of servers. */
const ownTimeToLive = 7 * 24 * 3_600_000

/** Whether a row of the table is only in the way. `now`: ms since the epoch by the broker's clock. */
export const isExpired = (namespace: string, stored: Stored, now: number): boolean => {
  const kind = stored.subject[Names.tablePrefix(namespace).length]
  if (kind !== "r") return (kind === "t" || kind === "i") && stored.timestamp + ownTimeToLive <= now
  // as `message` wrote it
  const { g, t } = unpack(stored.bytes).header as Header
  return g === true || (t !== undefined && stored.timestamp + t <= now)
}

export class NatsStore implements Store {
  private readonly context: Context
  private readonly stream: string
  private readonly prefix: string
  /** When the row of a revision expires, of the rows read and written last. */
  private readonly expiries = new Map<number, number>()

  constructor(context: Context) {
    this.context = context
    this.stream = Names.table(context.namespace)
    this.prefix = Names.tablePrefix(context.namespace)
  }

  private collection(collection: Collection): string {
    const queue = collection.queue === undefined ? "g" : `q.${Names.encode(collection.queue)}`
    return `${this.prefix}r.${Names.encode(collection.name)}.${queue}.`
  }

  private decode(stored: Stored): TableRow {
    const { body, header } = unpack(stored.bytes)
    // as `message` wrote it
    const { g, k, t } = header as Header
    const expiresAt = t === undefined ? Infinity : stored.timestamp + t
    const isLive = g !== true && this.context.clock.now() < expiresAt
    return { key: k, value: body, revision: stored.sequence, isLive, expiresAt }
  }

  private message(
    collection: Collection,
    key: string,
    value: Uint8Array,
    header: Omit<Header, "k">,
    expected: number | undefined
  ): Publish {
    return {
      subject: this.collection(collection) + Names.encode(key),
      bytes: pack({ k: key, ...header } satisfies Header, value),
      expected
    }
  }

  private remember(revision: number, expiresAt: number): void {
    this.expiries.delete(revision)
    this.expiries.set(revision, expiresAt)
    if (this.expiries.size <= maxRemembered) return
    for (const oldest of this.expiries.keys()) {
      this.expiries.delete(oldest)
      break
    }
  }

  private read(
    collection: Collection,
    keys: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<TableRow | undefined>, TransportError> {
    const prefix = this.collection(collection)
    return Effect.map(
      this.context.streams.last(this.stream, keys.map((key) => prefix + Names.encode(key))),
      (found) =>
        found.map((stored) => {
          if (stored === undefined) return undefined
          const row = this.decode(stored)
          this.remember(row.revision, row.expiresAt)
          return row
        })
    )
  }

  readonly get = (
    collection: Collection,
    keys: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<Option.Option<Row>>, TransportError> => {
    if (keys.length === 0) return Effect.succeed([])
    if (isRecords(collection)) return this.records(collection.queue, keys)
    return Effect.map(
      this.read(collection, keys),
      (rows) =>
        rows.map((row) =>
          row?.isLive === true ? Option.some({ value: row.value, revision: row.revision }) : Option.none()
        )
    )
  }

  private readonly records = Effect.fnUntraced({ self: this }, function*(
    queue: string,
    ids: ReadonlyArray<string>
  ): Effect.fn.Return<ReadonlyArray<Option.Option<Row>>, TransportError> {
    const { clock, queues, rows } = this.context
    const names = yield* queues.find(queue)
    if (names === undefined) return ids.map(() => Option.none())
    const found = yield* rows.read(names, ids.map(Names.encode))
    return found.map(({ row, sequence }) =>
      row?._tag === "Ended"
        ? Option.some({ value: recordOf(row, clock.now()), revision: sequence })
        : Option.none()
    )
  })

  /** What a conditional write has to expect: `undefined` if the row has another revision. */
  private readonly expect = Effect.fnUntraced({ self: this }, function*(
    collection: Collection,
    key: string,
    revision: number
  ): Effect.fn.Return<number | undefined, TransportError> {
    if (revision > 0) {
      const expiresAt = this.expiries.get(revision)
      if (expiresAt !== undefined && this.context.clock.now() < expiresAt) return revision
    }
    const [row] = yield* this.read(collection, [key])
    if (revision > 0) return row?.isLive === true && row.revision === revision ? revision : undefined
    return row?.isLive === true ? undefined : row?.revision ?? 0
  })

  private readonly write = Effect.fnUntraced({ self: this }, function*(
    collection: Collection,
    key: string,
    value: Uint8Array,
    header: Omit<Header, "k">,
    ifRevision: number | undefined
  ): Effect.fn.Return<number, TransportError | RevisionConflict> {
    const conflict = (expected: number) => new RevisionConflict({ collection: collection.name, key, expected })
    // most rows that must be absent never were there
    let expected = ifRevision === 0 ? 0 : undefined
    for (let tries = 0; tries < maxTries; tries++) {
      if (ifRevision !== undefined && (ifRevision > 0 || tries > 0)) {
        expected = yield* this.expect(collection, key, ifRevision)
        if (expected === undefined) return yield* conflict(ifRevision)
      }
      const [answer] = yield* this.context.streams.publish([this.message(collection, key, value, header, expected)])
      switch (answer?._tag) {
        case "Stored":
          this.remember(answer.sequence, header.t === undefined ? Infinity : this.context.clock.now() + header.t)
          return answer.sequence
        case "WrongSequence":
          if (ifRevision !== undefined && ifRevision > 0) return yield* conflict(ifRevision)
          continue
        case "Failed":
          return yield* answer.error
        default:
          return yield* Errors.unavailable("put", `the server answered ${answer?._tag ?? "nothing"}`)
      }
    }
    return yield* Errors.unavailable("put", `row "${key}" changes all the time`)
  })

  readonly put = (
    collection: Collection,
    key: string,
    value: Uint8Array,
    options: PutOptions = {}
  ): Effect.Effect<number, TransportError | RevisionConflict> =>
    isRecords(collection)
      ? readOnly("put", collection.queue)
      : this.write(collection, key, value, { t: options.timeToLive }, options.ifRevision)

  readonly remove = (
    collection: Collection,
    key: string,
    options?: { readonly ifRevision?: number | undefined }
  ): Effect.Effect<void, TransportError | RevisionConflict> => {
    if (isRecords(collection)) return readOnly("remove", collection.queue)
    const ifRevision = options?.ifRevision
    return this.write(collection, key, nothing, { g: true }, ifRevision).pipe(
      // the next write of the key takes it for absent; until then it is only in the way
      Effect.flatMap((sequence) =>
        this.context.streams.purge(this.stream, this.collection(collection) + Names.encode(key), sequence + 1)
      ),
      Effect.asVoid
    )
  }

  readonly list = Effect.fnUntraced({ self: this }, function*(
    collection: Collection,
    page: Page
  ): Effect.fn.Return<Paged<KeyedRow>, TransportError> {
    const operation = `list of collection "${collection.name}"`
    if (!collection.listable || isRecords(collection)) {
      const description = "the collection is not declared listable"
      return yield* new TransportError({ reason: new Unsupported({ operation, description }) })
    }
    let from = page.cursor === undefined ? 1 : Number(page.cursor)
    if (!Number.isSafeInteger(from)) {
      return yield* Errors.refused(operation, `"${page.cursor}" is not a cursor of an earlier page`)
    }
    const filter = `${this.collection(collection)}*`
    const limit = Math.max(1, page.limit)
    const items: Array<KeyedRow> = []
    while (true) {
      const stored = yield* this.context.streams.next(this.stream, filter, from)
      if (stored === undefined) return { items, next: undefined }
      const { isLive, key, revision, value } = this.decode(stored)
      if (isLive) {
        if (items.length === limit) return { items, next: String(stored.sequence) }
        items.push({ key, value, revision })
      }
      from = stored.sequence + 1
    }
  })
}

const readOnly = (operation: string, queue: string): Effect.Effect<never, TransportError> =>
  Effect.fail(Errors.refused(operation, `only the transport writes the records of queue "${queue}"`))
