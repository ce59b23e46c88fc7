/**
 * Accepts envelopes. What is sent in one turn travels together, one script per
 * queue and batch.
 */
import type * as Envelope from "@troupe/core/Envelope"
import type { Generated } from "@troupe/core/JobLog"
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

type Answered = (answer: Answer) => void

interface Group {
  readonly level: string
  /** Nobody else can have the ids. */
  readonly fresh: boolean
  readonly ids: Array<string>
  readonly envelopes: Array<Buffer>
  readonly answered: Array<Answered>
}

/** What will travel together to one queue. */
class Batch {
  calls = 0
  private size = 0
  private bytes = 0
  private readonly plain: Array<Group> = []
  private readonly others: Array<Arg> = []
  private readonly answered: Array<Answered> = []

  get isFull(): boolean {
    return this.size >= maxBatch || this.bytes >= maxBytes || this.calls >= maxCalls
  }

  add(envelope: Envelope.Envelope, fresh: boolean, bytes: Buffer, answered: Answered): void {
    this.size++
    this.bytes += bytes.length
    if (envelope.due === undefined && envelope.key === undefined) {
      const group = this.groupOf(envelope.priority, fresh)
      group.ids.push(`:${envelope.id}`)
      group.envelopes.push(bytes)
      group.answered.push(answered)
      return
    }
    this.others.push(envelope.id, ...Due.encode(envelope), Due.keyOf(envelope), bytes)
    this.answered.push(answered)
  }

  private groupOf(level: string, fresh: boolean): Group {
    // hardly ever more than one
    for (const group of this.plain) if (group.level === level && group.fresh === fresh) return group
    const group: Group = { level, fresh, ids: [], envelopes: [], answered: [] }
    this.plain.push(group)
    return group
  }

  encode(base: string): { readonly args: ReadonlyArray<Arg>; readonly answered: ReadonlyArray<Answered> } {
    // joined as arrays: one by one, through iterators, costs more than the bytes
    let args: Array<Arg> = ["1", base, String(this.plain.length)]
    let answered: Array<Answered> = []
    for (const { answered: waiting, envelopes, fresh, ids, level } of this.plain) {
      args = args.concat(level, fresh ? "1" : "0", String(ids.length), ids, envelopes)
      answered = answered.concat(waiting)
    }
    return { args: args.concat(this.others), answered: answered.concat(this.answered) }
  }
}

export class Sender {
  private readonly link: Link
  private readonly keys: Keys
  private readonly batches = new Map<string, Batch>()
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
      const answers: Array<Answer> = []
      let missing = envelopes.length
      for (let i = 0; i < envelopes.length; i++) {
        const envelope = envelopes[i]!
        this.add(envelope, generated?.has(envelope.id) === true, i === 0, (answer) => {
          answers[i] = answer
          if (--missing > 0) return
          const [only] = answers
          // a failure of the only one is the failure of the call
          resume(
            answers.length === 1 && typeof only === "object" ? Effect.fail(only) : Effect.succeed(answers)
          )
        })
      }
    })

  private add(envelope: Envelope.Envelope, fresh: boolean, isFirst: boolean, answered: Answered): void {
    const bytes = Due.toBytes(envelope)
    if (bytes.length > this.limit) {
      const description = `job "${envelope.id}" has ${bytes.length} bytes, at most ${this.limit} are allowed`
      return answered(Errors.refused(`send to queue "${envelope.queue}"`, description))
    }
    let batch = this.batches.get(envelope.queue)
    if (batch === undefined) this.batches.set(envelope.queue, batch = new Batch())
    if (isFirst) batch.calls++
    batch.add(envelope, fresh, bytes, answered)
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
    const { answered, args } = batch.encode(this.keys.queue(queue))
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
        if (duplicates.length === 0) {
          for (const one of answered) one("sent")
          return
        }
        const positions = new Set(duplicates)
        answered.forEach((one, index) => one(positions.has(index + 1) ? "duplicate" : "sent"))
      },
      onError: (error) => {
        for (const one of answered) one(error)
      }
    })
  }
}
