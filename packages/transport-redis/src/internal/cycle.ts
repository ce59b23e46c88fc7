/**
 * One trip for what a worker does all the time: settles a batch, queues what
 * became due and fetches the next jobs.
 */
import type { Settled, Settlement } from "@troupe/core/JobLog"
import type { JobRecord } from "@troupe/core/JobRecord"
import type { Arg } from "./command.ts"
import * as Due from "./due.ts"
import { type HandOut, headOf } from "./handOut.ts"
import type { Keys } from "./keys.ts"
import * as Lua from "./lua.ts"
import * as Record from "./record.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> consumer
 * ARGV[2] -> jobs wanted
 * ARGV[3] -> "1" if listeners on other nodes are not seen from here
 * ARGV[4] -> "1" to tell which jobs of keys follow
 * ARGV[5] -> number of streams to read, then their names, the first one first
 *
 * then, for plain acknowledgements, the number of groups, and per group:
 *   stream, n, "1" for jobs of keys, n entries, n ids, n records, then n keys if they have some,
 *   number of runs, and per run: count, time to live, channel of the client or ""
 *
 * then, for every other settlement: tag, stream, entry, id, "" or "k" .. key and
 *   Ack     record, time to live, full record or "", its time to live, channel
 *   Bury    the same, and the time to live of the letter
 *   Forward level, kind of due ("", at, in), due, envelope
 *   Drop    nothing
 *
 * Answers the positions that were superseded (from 1, plain ones first), ms
 * until the next scheduled job is due or -1, per group of jobs of keys the
 * entries that follow in the stream of their level, in one text, "-" for others,
 * and per stream that had jobs what `handOver` says.
 *
 * The first write is XACK: a full server lets it and everything after it pass.
 * An entry belongs to whoever has it pending, and a job that moves on gets a
 * new one. A marker remembers for a while that a Forward or Drop was done, so
 * that a repeat gets the same answer; an Ack is recognised by its record.
 */
export const script = Script.make(
  `${Lua.prelude}${Lua.read}${Lua.push}${Lua.join}${Lua.follower}${Lua.advance}${Lua.promote}${Lua.nextDue}
${Lua.admit}${Lua.finish}${Lua.announce}${Lua.handOver}
local N, want, everywhere = #ARGV, tonumber(ARGV[2]), ARGV[3] == '1'
local tells = ARGV[4] == '1'
local i = 6 + tonumber(ARGV[5])
local lost, following, position = {}, {}, 0
local now, up

local groups = tonumber(ARGV[i])
i = i + 1
for _ = 1, groups do
  local name, stream, n, keyed = ARGV[i], P .. ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
  local e, d, r, k = i + 3, i + 3 + n, i + 3 + 2 * n, i + 3 + 3 * n
  i = keyed and k + n or k
  -- whoever ends a job takes its entry away: what is all ours has no records
  local own, states
  if call('XACK', stream, 'g', unpack(ARGV, e, d - 1)) == n then
    -- what is before the first one that somebody has is over: many at once cost Redis a tenth of one by one
    local first = n > 4 and call('XPENDING', stream, 'g', '-', '+', 1)[1]
    if not first or call('XTRIM', stream, 'MINID', first[1]) < n then
      call('XDEL', stream, unpack(ARGV, e, d - 1))
    end
  else
    own = {}
    for x = 0, n - 1 do own[x] = call('XDEL', stream, ARGV[e + x]) == 1 end
    local keys = {}
    for x = 1, n do keys[x] = P .. 't:' .. ARGV[d + x - 1] end
    states = call('MGET', unpack(keys))
  end
  local runs = tonumber(ARGV[i])
  i = i + 1
  local x, m, keys, ids, at = 0, 0, {}, {}, {}
  for _ = 1, runs do
    local count, ttl, channel = tonumber(ARGV[i]), ARGV[i + 1], ARGV[i + 2]
    i = i + 3
    for _ = 1, count do
      local record = ARGV[r + x]
      if own and not own[x] then
        if states[x + 1] ~= record then lost[#lost + 1] = position + x + 1 end
      elseif own and isRecord(states[x + 1]) then
        lost[#lost + 1] = position + x + 1
      else
        finish(ARGV[d + x], record, ttl, '', '0')
        if channel ~= '' then announce(channel, record, everywhere) end
      end
      if keyed and (not own or own[x]) then
        m = m + 1
        keys[m], ids[m], at[m] = ARGV[k + x], ARGV[d + x], x + 1
      end
      x = x + 1
    end
  end
  local told = tells and keyed and 's:' .. string.sub(name, 3)
  local entries = advance(keys, ids, told)
  if told then
    local texts = {}
    for y = 1, n do texts[y] = '-' end
    for y, entry in pairs(entries) do texts[at[y]] = entry end
    following[#following + 1] = table.concat(texts, ' ')
  end
  position = position + n
end

while i <= N do
  local tag, stream, entry, id, key = ARGV[i], P .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local name = ARGV[i + 1]
  i = i + 5
  position = position + 1
  local own = call('XACK', stream, 'g', entry) == 1
  local entryBody = own and tag == 'Bury' and call('XRANGE', stream, entry, entry)[1]
  if own then call('XDEL', stream, entry) end
  local state = call('GET', P .. 't:' .. id)
  local over = isRecord(state)
  if tag == 'Ack' or tag == 'Bury' then
    local record, ttl, full, valueTtl, channel = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    i = i + 5
    if not own then
      if state ~= record then lost[#lost + 1] = position end
    elseif over then
      lost[#lost + 1] = position
    else
      finish(id, record, ttl, full, valueTtl)
      if channel ~= '' then announce(channel, full == '' and record or full, everywhere) end
      -- an entry that somebody else deleted leaves no letter
      if entryBody then
        if not now then now, up = clock() end
        local _, head, envelope = read(name, entry, entryBody[2])
        local due = string.match(head, '^%d* (%d+)') or string.match(entry, '^%d+')
        call('DEL', P .. 'l:' .. id)
        call('HSET', P .. 'l:' .. id, 'd', due, 'e', envelope, 'r', full == '' and record or full)
        call('PEXPIRE', P .. 'l:' .. id, ARGV[i])
        call('ZADD', P .. 'dead', ms(up + tonumber(ARGV[i])), id)
      end
    end
    if tag == 'Bury' then i = i + 1 end
    if own and key ~= '' then advance({ string.sub(key, 2) }, { id }) end
  elseif not own then
    if call('EXISTS', P .. 'x:' .. entry .. tag) == 0 then lost[#lost + 1] = position end
    if tag == 'Forward' then i = i + 4 end
  elseif tag == 'Drop' then
    call('SET', P .. 'x:' .. entry .. tag, '', 'PX', 600000)
    if not over then call('DEL', P .. 't:' .. id) end
    if key ~= '' then advance({ string.sub(key, 2) }, { id }) end
  else
    local level, kind, due, envelope = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
    i = i + 4
    if over then
      lost[#lost + 1] = position
      if key ~= '' then advance({ string.sub(key, 2) }, { id }) end
    else
      if not now then now, up = clock() end
      call('SET', P .. 'x:' .. entry .. tag, '', 'PX', 600000)
      call('SADD', P .. 'levels', level)
      admit(now, up, level, id, kind, due, key, envelope)
    end
  end
end
flush()

local delta = nextDue(now or 0)
if delta >= 0 then
  if not now then now, up = clock() end
  promote(now, 128)
  delta = nextDue(now)
end
local out = { lost, delta, following }
if want > 0 then
  for x = 1, tonumber(ARGV[5]) do
    local stream = P .. ARGV[5 + x]
    local read = redis.pcall('XREADGROUP', 'GROUP', 'g', ARGV[1], 'COUNT', want, 'STREAMS', stream, '>')
    if read and read.err then
      -- the stream was lost with its group
      redis.pcall('XGROUP', 'CREATE', stream, 'g', '0', 'MKSTREAM')
      read = call('XREADGROUP', 'GROUP', 'g', ARGV[1], 'COUNT', want, 'STREAMS', stream, '>')
    end
    if read then
      local entries = read[1][2]
      handOver(out, ARGV[5 + x], entries)
      want = want - #entries
      if want <= 0 then break end
    end
  end
end
return out
`
)

interface Group {
  readonly stream: string
  /** A key goes on when its job has left. */
  readonly isKeyed: boolean
  readonly settlements: Array<Own>
  readonly records: Array<Arg>
  readonly runs: Array<string>
  /** Of the last run: how many, and what they have in common. */
  count: number
  ttl: number
  client: string | undefined
}

export type Own = Settlement & { readonly delivery: HandOut }

export interface Keyed {
  readonly start: number
  readonly stream: string
}

/** What a batch comes to. `order[n]` is the settlement at the script's position n + 1. */
export interface Encoded {
  readonly args: Array<Arg>
  readonly order: ReadonlyArray<Own>
  /** Of the groups of jobs of keys: where each begins in `order`, and its stream. */
  readonly keyed: ReadonlyArray<Keyed>
}

/** Each hand-out of `settlements` occurs once. */
export const encode = (keys: Keys, head: ReadonlyArray<string>, settlements: ReadonlyArray<Own>): Encoded => {
  const groups = new Map<string, Group>()
  const others: Array<Own> = []
  for (const settlement of settlements) {
    if (settlement._tag === "Ack") {
      const { record } = settlement
      if (record.valueTimeToLive >= record.timeToLive) {
        addPlain(keys, groups, settlement, record)
        continue
      }
    }
    others.push(settlement)
  }
  const args: Array<Arg> = [...head, String(groups.size)]
  const order: Array<Own> = []
  const keyed: Array<Keyed> = []
  for (const group of groups.values()) {
    endRun(keys, group)
    const { isKeyed, records, runs, settlements, stream } = group
    if (isKeyed) keyed.push({ start: order.length, stream })
    args.push(stream, String(settlements.length), isKeyed ? "1" : "0")
    // by index: an iterator's steps are objects
    for (let i = 0; i < settlements.length; i++) {
      args.push(settlements[i]!.delivery.entry)
      order.push(settlements[i]!)
    }
    for (let i = 0; i < settlements.length; i++) args.push(settlements[i]!.delivery.envelope.id)
    for (let i = 0; i < records.length; i++) args.push(records[i]!)
    if (isKeyed) { for (let i = 0; i < settlements.length; i++) args.push(settlements[i]!.delivery.envelope.key!) }
    args.push(String(runs.length / 3))
    for (let i = 0; i < runs.length; i++) args.push(runs[i]!)
  }
  for (const settlement of others) {
    addOther(keys, args, settlement)
    order.push(settlement)
  }
  return { args, keyed, order }
}

const endRun = (keys: Keys, group: Group): void => {
  if (group.count === 0) return
  const channel = group.client === undefined ? "" : keys.results(group.client)
  group.runs.push(String(group.count), String(group.ttl), channel)
}

const addPlain = (keys: Keys, groups: Map<string, Group>, settlement: Own, record: JobRecord): void => {
  const { envelope, stream } = settlement.delivery
  const isKeyed = envelope.key !== undefined
  const name = isKeyed ? `k${stream}` : `p${stream}`
  let group = groups.get(name)
  if (group === undefined) {
    group = { stream, isKeyed, settlements: [], records: [], runs: [], count: 0, ttl: 0, client: undefined }
    groups.set(name, group)
  }
  const ttl = Record.milliseconds(record.timeToLive)
  if (group.count > 0 && (group.ttl !== ttl || group.client !== record.replyTo)) {
    endRun(keys, group)
    group.count = 0
  }
  group.count++
  group.ttl = ttl
  group.client = record.replyTo
  group.settlements.push(settlement)
  group.records.push(Record.toArg(record))
}

const addOther = (keys: Keys, args: Array<Arg>, settlement: Own): void => {
  const { entry, envelope, stream } = settlement.delivery
  args.push(settlement._tag, stream, entry, envelope.id, Due.keyOf(envelope))
  switch (settlement._tag) {
    case "Ack":
    case "Bury": {
      const { replyTo } = settlement.record
      for (const arg of Record.split(settlement.record)) args.push(arg)
      args.push(replyTo === undefined ? "" : keys.results(replyTo))
      if (settlement._tag === "Bury") args.push(String(Record.milliseconds(settlement.timeToLive)))
      return
    }
    case "Forward":
      args.push(...Due.encode(settlement.successor), Due.toBytes(settlement.successor))
      return
    case "Drop":
      return
  }
}

/** A job as a stream gave it out. */
export interface Entry {
  readonly stream: string
  readonly entry: string
  /** `undefined` if no release wrote it. */
  readonly head: string | undefined
  readonly envelope: Buffer
}

export interface Answer {
  /** One per settlement of `order`. */
  readonly settled: ReadonlyArray<Settled>
  /** ms until the next scheduled job is due; `undefined` without one. */
  readonly nextDue: number | undefined
  /** Per group of jobs of keys, if that was asked for. */
  readonly following: ReadonlyArray<string>
  readonly entries: ReadonlyArray<Entry>
}

/** The reply of the script, with bulk strings as buffers. Of each stream: its name, entries, names of fields and envelopes. */
export type Reply = readonly [
  superseded: ReadonlyArray<number>,
  nextDue: number,
  following: ReadonlyArray<Buffer>,
  ...streams: Array<Buffer | ReadonlyArray<Buffer>>
]

export const decode = (reply: Reply, count: number): Answer => {
  const settled: Array<Settled> = []
  for (let i = 0; i < count; i++) settled.push("settled")
  for (const position of reply[0]) settled[position - 1] = "superseded"
  const entries: Array<Entry> = []
  for (let i = 3; i + 3 < reply.length; i += 4) {
    const stream = String(reply[i])
    const ids = String(reply[i + 1]).split(" ")
    const names = reply[i + 2]
    const envelopes = reply[i + 3]
    // lists by construction: this tells the types
    if (!Array.isArray(names) || !Array.isArray(envelopes)) continue
    for (let k = 0; k < ids.length; k++) {
      const name: Buffer | undefined = names[k]
      entries.push({ stream, entry: ids[k]!, head: name === undefined ? "" : headOf(name), envelope: envelopes[k] })
    }
  }
  return { settled, nextDue: reply[1] < 0 ? undefined : reply[1], following: reply[2].map(String), entries }
}
