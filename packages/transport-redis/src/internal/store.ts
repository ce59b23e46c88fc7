/**
 * The table: a key per row, an index per listable collection.
 */
import * as JobRecord from "@troupe/core/JobRecord"
import {
  type Collection,
  type KeyedRow,
  type Page,
  type PutOptions,
  records,
  RevisionConflict,
  type Row,
  type Store
} from "@troupe/core/Store"
import { TransportError, Unsupported } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bytes from "./bytes.ts"
import * as Errors from "./errors.ts"
import type { Keys } from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Record from "./record.ts"
import { Rows } from "./rows.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue or of the collection begin with
 * ARGV[1] -> row, without that
 * ARGV[2] -> the revision that it must have, 0 if absent, or ""
 * ARGV[3] -> index, or ""
 * ARGV[4] -> key
 *
 * Answers 1, or 0 on a conflict.
 */
const remove = Script.make(`${Lua.prelude}
if ARGV[2] ~= '' and (call('HGET', P .. ARGV[1], 'r') or '0') ~= ARGV[2] then return 0 end
call('DEL', P .. ARGV[1])
if ARGV[3] ~= '' then call('ZREM', P .. ARGV[3], ARGV[4]) end
return 1
`)

/**
 * KEYS[1] -> what all keys of the queue or of the collection begin with
 * ARGV[1] -> index
 * ARGV[2] -> what rows begin with
 * ARGV[3] -> how many
 * ARGV[4] -> "-" or "(" .. the last key that was seen
 *
 * Answers the last key if there are more, else "", then key, revision and
 * value of each. Keys of rows that expired leave the index.
 */
const list = Script.make(`${Lua.prelude}
local limit, after = tonumber(ARGV[3]), ARGV[4]
local out, count = { '' }, 0
while true do
  local keys = call('ZRANGEBYLEX', P .. ARGV[1], after, '+', 'LIMIT', 0, 100)
  for _, key in ipairs(keys) do
    local row = call('HMGET', P .. ARGV[2] .. key, 'r', 'v')
    if not row[1] then
      call('ZREM', P .. ARGV[1], key)
    elseif count == limit then
      out[1] = '+' .. string.sub(after, 2)
      return out
    else
      count = count + 1
      out[#out + 1], out[#out + 2], out[#out + 3] = key, row[1], row[2]
      after = '(' .. key
    end
  end
  if #keys < 100 then return out end
  after = '(' .. keys[#keys]
end
`)

/** Keys per command. */
const maxBatch = 500

const isRecords = (collection: Collection): collection is Collection & { readonly queue: string } =>
  collection.queue !== undefined && collection.name === records(collection.queue).name

const readOnly = (operation: string, collection: Collection) =>
  Effect.fail(Errors.refused(operation, `only the transport writes the records of queue "${collection.queue}"`))

interface Place {
  readonly base: string
  /** What the rows begin with, after the base. */
  readonly rows: string
  readonly index: string
}

export class RedisStore implements Store {
  private readonly link: Link
  private readonly keys: Keys
  private readonly rows: Rows
  private readonly writer: string
  /** Most collections are declared once, and used all the time. */
  private readonly places = new WeakMap<Collection, Place>()
  private writes = 0

  /** `writer` is unique among all processes. */
  constructor(link: Link, keys: Keys, writer: string) {
    this.link = link
    this.keys = keys
    this.rows = new Rows(link)
    this.writer = writer
  }

  private place(collection: Collection): Place {
    let place = this.places.get(collection)
    if (place === undefined) this.places.set(collection, place = this.locate(collection))
    return place
  }

  private locate({ listable, name, queue }: Collection): Place {
    const named = `${Buffer.byteLength(name)}:${name}`
    return queue === undefined
      ? { base: this.keys.collection(name), rows: "row:", index: listable ? "index" : "" }
      : { base: this.keys.queue(queue), rows: `c:${named}:`, index: listable ? `i:${named}` : "" }
  }

  private call<A>(
    operation: string,
    collection: Collection,
    command: string,
    args: ReadonlyArray<Arg>,
    decode: (reply: unknown) => A,
    script?: Script.Script
  ): Effect.Effect<A, TransportError> {
    return this.link.call({
      operation: `${operation} in collection "${collection.name}"`,
      queue: collection.queue ?? collection.name,
      command,
      script,
      args,
      repeatable: true
    }, decode)
  }

  readonly get: Store["get"] = (collection, keys) => {
    if (keys.length === 0) return Effect.succeed([])
    return isRecords(collection) ? this.getRecords(collection, keys) : this.getRows(collection, keys)
  }

  private getRows(collection: Collection, keys: ReadonlyArray<string>) {
    const { base, rows } = this.place(collection)
    const read = (key: string) => this.rows.get(base, rows + key)
    // most ask for one: no fiber per key
    return keys.length === 1
      ? Effect.map(read(keys[0]!), (row) => [row])
      : Effect.forEach(keys, read, { concurrency: "unbounded" })
  }

  private readonly getRecords = Effect.fnUntraced({ self: this }, function*(
    this: RedisStore,
    collection: Collection & { readonly queue: string },
    keys: ReadonlyArray<string>
  ): Effect.fn.Return<ReadonlyArray<Option.Option<Row>>, TransportError> {
    const base = this.keys.queue(collection.queue)
    const read = (kind: string, ids: ReadonlyArray<string>) =>
      this.call(
        "get",
        collection,
        "mget",
        ids.map((id) => `${base}${kind}:${id}`),
        (reply) => reply as ReadonlyArray<Buffer | null>
      )
    const answers: Array<Option.Option<Row>> = []
    for (let start = 0; start < keys.length; start += maxBatch) {
      const ids = keys.slice(start, start + maxBatch)
      const states = yield* read("t", ids)
      const found = states.map((bytes) =>
        Record.isRecord(bytes) ? { bytes, record: JobRecord.fromBytes(bytes) } : undefined
      )
      // a value with a time of its own lies beside its record
      const short = ids.filter((_, i) => {
        const record = found[i]?.record
        return record !== undefined && record.valueTimeToLive < record.timeToLive
      })
      const values = new Map<string, Buffer | null>()
      if (short.length > 0) (yield* read("v", short)).forEach((bytes, i) => values.set(short[i]!, bytes))
      ids.forEach((id, i) => {
        const one = found[i]
        answers.push(
          one === undefined ? Option.none() : Option.some({
            value: values.get(id) ?? one.bytes,
            // a record is written once; a later one of the same id ended later
            revision: Math.max(1, Math.floor(one.record.finishedAt))
          })
        )
      })
    }
    return answers
  })

  readonly put = (
    collection: Collection,
    key: string,
    value: Uint8Array,
    options: PutOptions = {}
  ): Effect.Effect<number, TransportError | RevisionConflict> => {
    if (isRecords(collection)) return readOnly("put", collection)
    return Effect.callback<number, TransportError | RevisionConflict>((resume) => {
      const { base, index, rows } = this.place(collection)
      const { ifRevision, timeToLive } = options
      const writer = `${this.writer}${(this.writes++).toString(36)}`
      const bytes = Bytes.view(value)
      const args = [
        rows + key,
        ifRevision === undefined ? "" : String(ifRevision),
        writer,
        timeToLive === undefined ? "" : String(Record.milliseconds(timeToLive)),
        index,
        key,
        bytes
      ]
      this.rows.put(base, args, bytes.length, {
        onAnswer: (revision) =>
          resume(
            revision === null
              ? Effect.fail(new RevisionConflict({ collection: collection.name, key, expected: ifRevision ?? 0 }))
              : Effect.succeed(Bytes.integer(revision))
          ),
        onError: (error) => resume(Effect.fail(error))
      })
    })
  }

  readonly remove: Store["remove"] = (collection, key, options) => {
    if (isRecords(collection)) return readOnly("remove", collection)
    const { base, index, rows } = this.place(collection)
    const expected = options?.ifRevision
    const args = ["1", base, rows + key, expected === undefined ? "" : String(expected), index, key]
    return Effect.flatMap(
      this.call("remove", collection, "evalsha", args, (reply) => reply === 1, remove),
      (removed): Effect.Effect<void, RevisionConflict> =>
        removed
          ? Effect.void
          : Effect.fail(new RevisionConflict({ collection: collection.name, key, expected: expected ?? 0 }))
    )
  }

  readonly list = (collection: Collection, page: Page) => {
    const { base, index, rows } = this.place(collection)
    if (index === "" || isRecords(collection)) {
      const operation = `list of collection "${collection.name}"`
      const description = "the collection is not declared listable"
      return Effect.fail(new TransportError({ reason: new Unsupported({ operation, description }) }))
    }
    const after = page.cursor === undefined ? "-" : `(${page.cursor}`
    const limit = String(Math.max(1, Math.min(1_000, page.limit)))
    return this.call("list", collection, "evalsha", ["1", base, index, rows, limit, after], (reply) => {
      const [next, ...found] = reply as [Buffer, ...Array<Buffer>]
      const items: Array<KeyedRow> = []
      for (let i = 0; i + 2 < found.length; i += 3) {
        items.push({ key: Bytes.text(found[i]!), revision: Bytes.integer(found[i + 1]!), value: found[i + 2]! })
      }
      return { items, next: next.length === 0 ? undefined : Bytes.text(next.subarray(1)) }
    }, list)
  }
}
