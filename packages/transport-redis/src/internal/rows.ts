/**
 * Rows that are read and written in one turn of the event loop travel together:
 * a command of its own costs each several times what the row costs.
 */
import { ShortLivedMap } from "@troupe/core/ShortLived"
import type { Row } from "@troupe/core/Store"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bytes from "./bytes.ts"
import type { Arg, Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue or of the collection begin with
 * ARGV    -> rows, without that
 *
 * Answers revision and value of each, false for none.
 */
const get = Script.make(`${Lua.prelude}
local out = {}
for i, row in ipairs(ARGV) do
  local found = call('HMGET', P .. row, 'r', 'v')
  out[2 * i - 1], out[2 * i] = found[1], found[2]
end
return out
`)

/**
 * KEYS[1] -> what all keys of the queue or of the collection begin with
 * ARGV    -> for each row, seven:
 *   row, without that
 *   the revision that it must have, 0 if absent, or ""
 *   who writes: the same for a repeat, else unique
 *   ms to live, or ""
 *   index, or ""
 *   key
 *   value
 *
 * Answers the new revision of each, false on a conflict. A revision is the
 * time, in microseconds, or one more than the last: it grows even if the
 * counter is lost. A row that expires says so in `x`; who is in the index stays
 * there at least as long as its row.
 */
const put = Script.make(`${Lua.prelude}
local out, added = {}, {}
local t = call('TIME')
local now = t[1] * 1000000 + t[2]
local last
for i = 1, #ARGV, 7 do
  local name, expected, writer, ttl, index = P .. ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local row = call('HMGET', name, 'r', 'w', 'x')
  if expected ~= '' and (row[1] or '0') ~= expected then
    out[#out + 1] = row[2] == writer and row[1]
  else
    last = math.max(now, (last or tonumber(call('GET', P .. 'rev') or '0')) + 1)
    local revision = ms(last)
    if ttl ~= '' then
      call('HSET', name, 'r', revision, 'w', writer, 'v', ARGV[i + 6], 'x', '1')
      call('PEXPIRE', name, ttl)
    else
      call('HSET', name, 'r', revision, 'w', writer, 'v', ARGV[i + 6])
      if row[3] then
        call('PERSIST', name)
        call('HDEL', name, 'x')
      end
    end
    if index ~= '' and not row[1] then
      local list = added[index] or { 'ZADD', P .. index }
      added[index] = list
      list[#list + 1] = '0'
      list[#list + 1] = ARGV[i + 5]
    end
    out[#out + 1] = revision
  end
end
if last then call('SET', P .. 'rev', ms(last)) end
for _, list in pairs(added) do call(unpack(list)) end
return out
`)

/** Rows per command: Redis takes them while the next ones are made. And their bytes: it does nothing else meanwhile. */
const maxRows = 16
const maxBytes = 512 * 1024

/** Who waits for the answer of one row. */
interface Waiter<A> {
  readonly onAnswer: (answer: A) => void
  readonly onError: (error: TransportError) => void
}

interface Batch<A> {
  readonly args: Array<Arg>
  readonly waiters: Array<Waiter<A>>
  bytes: number
}

/** One kind of command: collects until the turn is over. */
class Collector<A> {
  private readonly link: Link
  private readonly what: string
  private readonly script: Script.Script
  private readonly read: (reply: ReadonlyArray<Buffer | null>, index: number) => A
  private readonly batches = new ShortLivedMap<string, Batch<A>>()
  private armed = false

  constructor(
    link: Link,
    what: string,
    script: Script.Script,
    read: (reply: ReadonlyArray<Buffer | null>, index: number) => A
  ) {
    this.link = link
    this.what = what
    this.script = script
    this.read = read
  }

  call(base: string, args: ReadonlyArray<Arg>, bytes: number, waiter: Waiter<A>): void {
    let batch = this.batches.get(base)
    if (batch === undefined) this.batches.set(base, batch = { args: ["1", base], waiters: [], bytes: 0 })
    for (let i = 0; i < args.length; i++) batch.args.push(args[i]!)
    batch.waiters.push(waiter)
    batch.bytes += bytes
    if (batch.waiters.length >= maxRows || batch.bytes >= maxBytes) this.flush(base, batch)
    else this.arm()
  }

  private arm(): void {
    if (this.armed) return
    this.armed = true
    process.nextTick(() => {
      this.armed = false
      for (const [base, batch] of this.batches) this.flush(base, batch)
    })
  }

  private flush(base: string, { args, waiters }: Batch<A>): void {
    this.batches.delete(base)
    const { link, read, script, what } = this
    link.request({
      operation: what,
      queue: base,
      command: "evalsha",
      script,
      args,
      repeatable: true,
      onReply: (reply) => {
        const values = reply as ReadonlyArray<Buffer | null>
        for (let i = 0; i < waiters.length; i++) waiters[i]!.onAnswer(read(values, i))
      },
      onError: (error) => {
        for (const { onError } of waiters) onError(error)
      }
    })
  }
}

export class Rows {
  private readonly reads: Collector<Option.Option<Row>>
  private readonly writes: Collector<Buffer | null>

  constructor(link: Link) {
    this.reads = new Collector(link, "get of rows", get, (reply, index) => {
      const [revision, value] = [reply[2 * index], reply[2 * index + 1]]
      return revision == null || value == null
        ? Option.none()
        : Option.some({ revision: Bytes.integer(revision), value })
    })
    this.writes = new Collector(link, "put of rows", put, (reply, index) => reply[index] ?? null)
  }

  get(base: string, row: string): Effect.Effect<Option.Option<Row>, TransportError> {
    return Effect.callback((resume) =>
      this.reads.call(base, [row], 0, {
        onAnswer: (found) => resume(Effect.succeed(found)),
        onError: (error) => resume(Effect.fail(error))
      })
    )
  }

  /** `onAnswer` gets the new revision, `null` on a conflict. */
  put(base: string, args: ReadonlyArray<Arg>, bytes: number, waiter: Waiter<Buffer | null>): void {
    this.writes.call(base, args, bytes, waiter)
  }
}
