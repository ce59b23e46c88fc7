/**
 * Accepts envelopes. What is sent in one turn travels together, one script per
 * queue and batch.
 */
import type * as Envelope from "@troupe/core/Envelope"
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
 * ARGV[1] -> number of groups of plain jobs, and per group: level, n, n ids, n envelopes
 * then for every job with a due time or a key: id, level, kind of due, due, "" or "k" .. key, envelope
 *
 * Answers the positions of duplicates (from 1, plain ones first).
 *
 * The first write is SADD, XADD or SET, which a full server refuses: then
 * nothing was accepted. A repeat finds what it sent as duplicates.
 */
const script = Script.make(`${Lua.prelude}${Lua.push}${Lua.join}${Lua.promote}${Lua.admit}
local duplicates, position, i = {}, 0, 2
local states, count, seen = {}, 0, {}
for _ = 1, tonumber(ARGV[1]) do
  local level, n = ARGV[i], tonumber(ARGV[i + 1])
  local d, e = i + 2, i + 2 + n
  i = e + n
  local stream, at = P .. 's:' .. level, 's:' .. level
  local keys = {}
  for x = 1, n do keys[x] = P .. 't:' .. ARGV[d + x - 1] end
  local any = call('EXISTS', unpack(keys)) > 0
  call('SADD', P .. 'levels', level)
  for x = 1, n do
    local key = keys[x]
    if seen[key] or (any and call('EXISTS', key) == 1) then
      duplicates[#duplicates + 1] = position + x
    else
      seen[key] = true
      local entry = call('XADD', stream, '*', 'i', ARGV[d + x - 1], 'h', '', 'e', ARGV[e + x - 1])
      states[count + 1], states[count + 2] = key, 'q' .. entry .. ' ' .. at
      count = count + 2
    end
  end
  position = position + n
end
if count > 0 then call('MSET', unpack(states)) end
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
  readonly ids: Array<string>
  readonly envelopes: Array<Buffer>
  readonly answered: Array<Answered>
}

/** What will travel together to one queue. */
class Batch {
  calls = 0
  private size = 0
  private bytes = 0
  private readonly plain = new Map<string, Group>()
  private readonly others: Array<Arg> = []
  private readonly answered: Array<Answered> = []

  get isFull(): boolean {
    return this.size >= maxBatch || this.bytes >= maxBytes || this.calls >= maxCalls
  }

  add(envelope: Envelope.Envelope, bytes: Buffer, answered: Answered): void {
    this.size++
    this.bytes += bytes.length
    if (envelope.due === undefined && envelope.key === undefined) {
      let group = this.plain.get(envelope.priority)
      if (group === undefined) this.plain.set(envelope.priority, group = { ids: [], envelopes: [], answered: [] })
      group.ids.push(envelope.id)
      group.envelopes.push(bytes)
      group.answered.push(answered)
      return
    }
    this.others.push(envelope.id, ...Due.encode(envelope), Due.keyOf(envelope), bytes)
    this.answered.push(answered)
  }

  encode(base: string): { readonly args: ReadonlyArray<Arg>; readonly answered: ReadonlyArray<Answered> } {
    // joined as arrays: one by one, through iterators, costs more than the bytes
    let args: Array<Arg> = ["1", base, String(this.plain.size)]
    let answered: Array<Answered> = []
    for (const [level, group] of this.plain) {
      args = args.concat(level, String(group.ids.length), group.ids, group.envelopes)
      answered = answered.concat(group.answered)
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
    envelopes: NonEmptyReadonlyArray<Envelope.Envelope>
  ): Effect.Effect<ReadonlyArray<Answer>, TransportError> =>
    Effect.callback<ReadonlyArray<Answer>, TransportError>((resume) => {
      const answers: Array<Answer> = []
      let missing = envelopes.length
      for (let i = 0; i < envelopes.length; i++) {
        this.add(envelopes[i]!, i === 0, (answer) => {
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

  private add(envelope: Envelope.Envelope, isFirst: boolean, answered: Answered): void {
    const bytes = Due.toBytes(envelope)
    if (bytes.length > this.limit) {
      const description = `job "${envelope.id}" has ${bytes.length} bytes, at most ${this.limit} are allowed`
      return answered(Errors.refused(`send to queue "${envelope.queue}"`, description))
    }
    let batch = this.batches.get(envelope.queue)
    if (batch === undefined) this.batches.set(envelope.queue, batch = new Batch())
    if (isFirst) batch.calls++
    batch.add(envelope, bytes, answered)
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
