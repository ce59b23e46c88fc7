/**
 * Accepts envelopes. What is sent in one turn travels together, one script per
 * queue and batch.
 */
import type * as Envelope from "@troupe/core/Envelope"
import type { Generated } from "@troupe/core/JobLog"
import { ShortLivedMap } from "@troupe/core/ShortLived"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Due from "./due.ts"
import * as Errors from "./errors.ts"
import type { Keys } from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> number of groups of plain jobs, and per group: level, "1" if nobody else can have the ids, n,
 *   n times ":" .. id, n envelopes
 * then for every job with a due time or a key: id, level, kind of due, due, "" or "k" .. key, envelope
 *
 * Answers the positions of duplicates (from 1, plain ones first).
 *
 * The first write is SADD, XADD or SET, which a full server refuses: then
 * nothing was accepted. A repeat finds what it sent as duplicates.
 */
const script = Script.make(`${Lua.prelude}${Lua.push}${Lua.join}${Lua.promote}${Lua.admit}
local T = P .. 't'
local duplicates, position, i = {}, 0, 2
local function exists(key) return call('EXISTS', key) == 1 end
for _ = 1, tonumber(ARGV[1]) do
  local level, fresh, n = ARGV[i], ARGV[i + 1] == '1', tonumber(ARGV[i + 2])
  local d, e = i + 2, i + 2 + n
  i = e + n + 1
  local stream, at = P .. 's:' .. level, ' s:' .. level
  local any, seen = false, not fresh and {}
  if not fresh then
    local keys = {}
    for x = 1, n do keys[x] = T .. ARGV[d + x] end
    any = call('EXISTS', unpack(keys)) > 0
  end
  call('SADD', P .. 'levels', level)
  local states, count, positions = {}, 0, {}
  for x = 1, n do
    local name = ARGV[d + x]
    local key = T .. name
    if (seen and seen[key]) or (any and exists(key)) then
      duplicates[#duplicates + 1] = position + x
    else
      if seen then seen[key] = true end
      states[count + 1], states[count + 2] = key, 'q' .. call('XADD', stream, '*', name, ARGV[e + x]) .. at
      count = count + 2
      positions[count] = position + x
    end
  end
  -- a repeat of what nobody else can have: nobody has seen these entries yet
  if count > 0 and call('MSETNX', unpack(states)) == 0 then
    for x = 1, count, 2 do
      if exists(states[x]) then
        duplicates[#duplicates + 1] = positions[x + 1]
        call('XDEL', stream, string.match(states[x + 1], '^q(%S+)'))
      else
        call('SET', states[x], states[x + 1])
      end
    end
  end
  position = position + n
end
if i <= #ARGV then
  local now, up = clock()
  local levels = {}
  for x = i, #ARGV, 6 do
    position = position + 1
    local id, level = ARGV[x], ARGV[x + 1]
    if not levels[level] then
      levels[level] = true
      call('SADD', P .. 'levels', level)
    end
    -- what became due earlier comes earlier
    if x == i then promote(now, 500) end
    if call('EXISTS', P .. 't:' .. id) == 1 then
      duplicates[#duplicates + 1] = position
    else
      admit(now, up, level, id, ARGV[x + 2], ARGV[x + 3], ARGV[x + 4], ARGV[x + 5])
    end
  end
end
return duplicates
`)

export type Answer = "sent" | "duplicate" | TransportError

/** Envelopes per script, and their bytes: a longer one would hold up everybody else. */
const maxBatch = 128
const maxBytes = 4 * 1024 * 1024

/** So many calls of one turn travel at once: Redis takes them while the next ones are encoded. */
const maxCalls = 32

/** A call of `send`, and what its envelopes came to so far. */
class Call {
  private readonly answers: Array<Answer> = []
  private missing: number
  private readonly resume: (answers: Effect.Effect<ReadonlyArray<Answer>, TransportError>) => void

  constructor(size: number, resume: Call["resume"]) {
    this.missing = size
    this.resume = resume
  }

  answer(index: number, answer: Answer): void {
    const { answers } = this
    answers[index] = answer
    if (--this.missing > 0) return
    const [only] = answers
    // a failure of the only one is the failure of the call
    this.resume(answers.length === 1 && typeof only === "object" ? Effect.fail(only) : Effect.succeed(answers))
  }
}

/** Envelopes of calls, in the order of the script: the call of each, and which of its envelopes it is. */
class Waiting {
  private calls: Array<Call> = []
  private indexes: Array<number> = []

  add(call: Call, index: number): void {
    this.calls.push(call)
    this.indexes.push(index)
  }

  concat(other: Waiting): Waiting {
    const both = new Waiting()
    both.calls = this.calls.concat(other.calls)
    both.indexes = this.indexes.concat(other.indexes)
    return both
  }

  answer(answerOf: (position: number) => Answer): void {
    const { calls, indexes } = this
    for (let i = 0; i < calls.length; i++) calls[i]!.answer(indexes[i]!, answerOf(i))
  }
}

const sent = (): Answer => "sent"

interface Group {
  readonly level: string
  /** Nobody else can have the ids. */
  readonly fresh: boolean
  readonly ids: Array<string>
  readonly envelopes: Array<Arg>
  readonly waiting: Waiting
}

/** What will travel together to one queue. */
class Batch {
  calls = 0
  private size = 0
  private bytes = 0
  private readonly plain: Array<Group> = []
  private readonly others: Array<Arg> = []
  private readonly waiting = new Waiting()

  get isFull(): boolean {
    return this.size >= maxBatch || this.bytes >= maxBytes || this.calls >= maxCalls
  }

  /** `size`: of the bytes. */
  add(envelope: Envelope.Envelope, fresh: boolean, bytes: Arg, size: number, call: Call, index: number): void {
    this.size++
    this.bytes += size
    if (envelope.due === undefined && envelope.key === undefined) {
      const group = this.groupOf(envelope.priority, fresh)
      group.ids.push(`:${envelope.id}`)
      group.envelopes.push(bytes)
      group.waiting.add(call, index)
      return
    }
    this.others.push(envelope.id, ...Due.encode(envelope), Due.keyOf(envelope), bytes)
    this.waiting.add(call, index)
  }

  private groupOf(level: string, fresh: boolean): Group {
    // hardly ever more than one
    for (const group of this.plain) if (group.level === level && group.fresh === fresh) return group
    const group: Group = { level, fresh, ids: [], envelopes: [], waiting: new Waiting() }
    this.plain.push(group)
    return group
  }

  encode(base: string): { readonly args: ReadonlyArray<Arg>; readonly waiting: Waiting } {
    // joined as arrays: one by one, through iterators, costs more than the bytes
    let args: Array<Arg> = ["1", base, String(this.plain.length)]
    let waiting: Waiting | undefined
    for (const group of this.plain) {
      const { envelopes, fresh, ids, level } = group
      args = args.concat(level, fresh ? "1" : "0", String(ids.length), ids, envelopes)
      waiting = waiting === undefined ? group.waiting : waiting.concat(group.waiting)
    }
    if (this.others.length === 0 && waiting !== undefined) return { args, waiting }
    return { args: args.concat(this.others), waiting: waiting?.concat(this.waiting) ?? this.waiting }
  }
}

export class Sender {
  private readonly link: Link
  private readonly keys: Keys
  private readonly batches = new ShortLivedMap<string, Batch>()
  private readonly limit: number
  private armed = false

  /** `limit`: bytes of an envelope. */
  constructor(link: Link, keys: Keys, limit: number) {
    this.link = link
    this.keys = keys
    this.limit = limit
  }

  readonly send = (
    envelopes: NonEmptyReadonlyArray<Envelope.Envelope>,
    generated?: Generated
  ): Effect.Effect<ReadonlyArray<Answer>, TransportError> =>
    Effect.callback<ReadonlyArray<Answer>, TransportError>((resume) => {
      const call = new Call(envelopes.length, resume)
      for (let i = 0; i < envelopes.length; i++) {
        const envelope = envelopes[i]!
        this.add(envelope, generated?.has(envelope.id) === true, call, i)
      }
    })

  private add(envelope: Envelope.Envelope, fresh: boolean, call: Call, index: number): void {
    const bytes = Due.toArg(envelope)
    const size = bytes instanceof Uint8Array ? bytes.length : bytes.head.length + bytes.body.length
    if (size > this.limit) {
      const description = `job "${envelope.id}" has ${size} bytes, at most ${this.limit} are allowed`
      return call.answer(index, Errors.refused(`send to queue "${envelope.queue}"`, description))
    }
    let batch = this.batches.get(envelope.queue)
    if (batch === undefined) this.batches.set(envelope.queue, batch = new Batch())
    if (index === 0) batch.calls++
    batch.add(envelope, fresh, bytes, size, call, index)
    if (batch.isFull) this.flush(envelope.queue, batch)
    else this.arm()
  }

  private arm(): void {
    if (this.armed) return
    this.armed = true
    process.nextTick(() => {
      this.armed = false
      for (const [queue, batch] of this.batches) this.flush(queue, batch)
    })
  }

  private flush(queue: string, batch: Batch): void {
    this.batches.delete(queue)
    const { args, waiting } = batch.encode(this.keys.queue(queue))
    this.link.request({
      operation: `send to queue "${queue}"`,
      queue,
      command: "evalsha",
      script,
      args,
      repeatable: true,
      accepts: true,
      onReply: (reply) => {
        const duplicates = reply as ReadonlyArray<number>
        if (duplicates.length === 0) return waiting.answer(sent)
        const positions = new Set(duplicates)
        waiting.answer((position) => positions.has(position + 1) ? "duplicate" : "sent")
      },
      onError: (error) => waiting.answer(() => error)
    })
  }
}
