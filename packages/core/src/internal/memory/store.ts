/**
 * The table of the memory broker. The records of a queue are rows of it that
 * are encoded when they are read.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as JobRecord from "../../JobRecord.ts"
import { type Collection, type PutOptions, records, RevisionConflict, type Row, type Store } from "../../Store.ts"
import { Refused, TransportError, Unsupported } from "../../TransportError.ts"
import type { Broker } from "./broker.ts"
import type { Expiring } from "./expiry.ts"
import { paginate } from "./page.ts"

class StoredRow implements Expiring {
  readonly key: string
  /** Of the first write; later ones keep the place in a listing. */
  readonly sequence: number
  value: Uint8Array
  revision: number
  expiresAt = Infinity
  bucket = Infinity
  private readonly table: Table

  constructor(table: Table, key: string, value: Uint8Array, revision: number) {
    this.table = table
    this.key = key
    this.value = value
    this.sequence = revision
    this.revision = revision
  }

  expire(now: number): number {
    if (now < this.expiresAt) return this.expiresAt
    this.table.remove(this)
    return Infinity
  }
}

class Table {
  readonly rows = new Map<string, StoredRow>()
  private readonly onEmpty: () => void

  constructor(onEmpty: () => void) {
    this.onEmpty = onEmpty
  }

  live(key: string, now: number): StoredRow | undefined {
    const row = this.rows.get(key)
    return row === undefined || now >= row.expiresAt ? undefined : row
  }

  *liveRows(now: number): Generator<StoredRow> {
    for (const row of this.rows.values()) if (now < row.expiresAt) yield row
  }

  remove(row: StoredRow): void {
    // a bucket may hold the row until its time: nothing but the row itself
    row.expiresAt = -Infinity
    row.value = new Uint8Array(0)
    if (this.rows.get(row.key) !== row) return
    this.rows.delete(row.key)
    if (this.rows.size === 0) this.onEmpty()
  }
}

/** Two collections never share a name, whatever characters they are made of. */
const tableName = (collection: Collection): string =>
  collection.queue === undefined
    ? collection.name
    : `${collection.name.length}:${collection.name}${collection.queue}`

const isRecords = (collection: Collection): collection is Collection & { readonly queue: string } =>
  collection.queue !== undefined && collection.name === records(collection.queue).name

const readOnly = (operation: string, collection: Collection): Effect.Effect<never, TransportError> =>
  Effect.fail(
    new TransportError({
      reason: new Refused({
        operation,
        description: `only the transport writes the records of queue "${collection.queue}"`
      })
    })
  )

export class Tables {
  private readonly global = new Map<string, Table>()
  private readonly perQueue = new Map<string, Table>()
  private readonly broker: Broker

  constructor(broker: Broker) {
    this.broker = broker
  }

  get isEmpty(): boolean {
    return this.global.size === 0 && this.perQueue.size === 0
  }

  find(collection: Collection): Table | undefined {
    return this.tablesOf(collection).get(tableName(collection))
  }

  open(collection: Collection): Table {
    const tables = this.tablesOf(collection)
    const name = tableName(collection)
    let table = tables.get(name)
    if (table === undefined) tables.set(name, table = new Table(() => tables.delete(name)))
    return table
  }

  read(collection: Collection, key: string, now: number): Row | undefined {
    if (isRecords(collection)) {
      const row = this.broker.queues.get(collection.queue)?.archive.row(key, now)
      return row && { value: JobRecord.toBytes(row.record), revision: row.revision }
    }
    const row = this.find(collection)?.live(key, now)
    return row && { value: row.value, revision: row.revision }
  }

  write(collection: Collection, key: string, value: Uint8Array, options: PutOptions, now: number): number {
    const table = this.open(collection)
    const revision = this.broker.nextSequence()
    let row = table.live(key, now)
    if (row === undefined) {
      row = new StoredRow(table, key, value, revision)
      // removed first: a map keeps the place of a key that it knows
      table.rows.delete(key)
      table.rows.set(key, row)
    }
    row.value = value
    row.revision = revision
    row.expiresAt = options.timeToLive === undefined ? Infinity : now + options.timeToLive
    this.broker.expiry.add(row, row.expiresAt)
    return revision
  }

  private tablesOf(collection: Collection): Map<string, Table> {
    return collection.queue === undefined ? this.global : this.perQueue
  }
}

export const make = (broker: Broker, tables: Tables): Store => ({
  get: (collection, keys) =>
    broker.operation(() => {
      const now = broker.now()
      return Effect.succeed(keys.map((key) => Option.fromNullishOr(tables.read(collection, key, now))))
    }),
  put: (collection, key, value, options = {}) =>
    broker.operation<number, TransportError | RevisionConflict>(() => {
      if (isRecords(collection)) return readOnly("put", collection)
      const now = broker.now()
      const conflict = findConflict(tables, collection, key, options.ifRevision, now)
      return conflict === undefined
        ? Effect.succeed(tables.write(collection, key, value, options, now))
        : Effect.fail(conflict)
    }),
  remove: (collection, key, options) =>
    broker.operation<void, TransportError | RevisionConflict>(() => {
      if (isRecords(collection)) return readOnly("remove", collection)
      const now = broker.now()
      const conflict = findConflict(tables, collection, key, options?.ifRevision, now)
      if (conflict !== undefined) return Effect.fail(conflict)
      const table = tables.find(collection)
      const row = table?.live(key, now)
      if (row !== undefined) table?.remove(row)
      return Effect.void
    }),
  list: (collection, page) =>
    broker.operation(() => {
      const operation = `list of collection "${collection.name}"`
      if (!collection.listable || isRecords(collection)) {
        const description = "the collection is not declared listable"
        return Effect.fail(new TransportError({ reason: new Unsupported({ operation, description }) }))
      }
      const rows = tables.find(collection)?.liveRows(broker.now()) ?? []
      return paginate(operation, rows, page, ({ key, revision, value }) => ({ key, revision, value }))
    })
})

const findConflict = (
  tables: Tables,
  collection: Collection,
  key: string,
  expected: number | undefined,
  now: number
): RevisionConflict | undefined => {
  if (expected === undefined) return undefined
  const revision = tables.find(collection)?.live(key, now)?.revision ?? 0
  return revision === expected ? undefined : new RevisionConflict({ collection: collection.name, key, expected })
}
