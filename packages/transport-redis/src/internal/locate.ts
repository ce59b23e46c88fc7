/**
 * Where jobs are.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { LocatedJob, Place } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bytes from "./bytes.ts"
import { tryDecode } from "./foreign.ts"
import { dueOf } from "./handOut.ts"
import type { Keys } from "./keys.ts"
import type { Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/** found: place, head, entry, envelope, record of a letter and id, or false. Needs prelude, read and follower. */
export const found = `
local function inStream(stream, entry, id)
  local one = call('XRANGE', P .. stream, entry, entry)[1]
  if not one then return false end
  local pending = redis.pcall('XPENDING', P .. stream, 'g', entry, entry, 1)
  local place = (pending.err or #pending == 0) and 'queued' or 'running'
  local _, head, envelope = read(stream, entry, one[2])
  return { place, head, entry, envelope, '', id }
end
local function letter(id)
  local v = call('HMGET', P .. 'l:' .. id, 'd', 'e', 'r')
  if not v[1] then return false end
  return { 'dead', '0 ' .. v[1] .. ' ', '', v[2], v[3], id }
end
local function found(id)
  local state = call('GET', P .. 't:' .. id)
  if not state or isRecord(state) then return letter(id) end
  local kind = string.sub(state, 1, 1)
  if kind == 'q' then
    local entry, stream = string.match(state, '^q(%S+) (.*)$')
    return inStream(stream, entry, id)
  elseif kind == 'm' then
    local _, _, name, envelope = follower(state)
    return { 'queued', headOf(name), call('ZSCORE', P .. 'f', id) .. '-0', envelope, '', id }
  end
  local _, head, envelope = cmsgpack.unpack(string.sub(state, 2))
  return { 'scheduled', head, '', envelope, '', id }
end
`

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV    -> ids
 */
const script = Script.make(`${Lua.prelude}${Lua.read}${Lua.push}${Lua.join}${Lua.promote}${Lua.follower}${found}
call('DEL', P .. '-')
promote((clock()), 500)
local out = {}
for x = 1, #ARGV do out[x] = found(ARGV[x]) end
return out
`)

/** What `found` answers. */
export type Found =
  | readonly [place: Buffer, head: Buffer, entry: Buffer, envelope: Buffer, record: Buffer, id: Buffer]
  | null

export const decode = (
  queue: string,
  [place, head, entry, envelope, record, id]: NonNullable<Found>
): LocatedJob => ({
  // one of the four names that the script writes
  place: String(place) as Place,
  envelope: tryDecode(envelope) ??
    Envelope.unreadable({ id: Bytes.text(id), queue, priority: "", key: undefined }, envelope),
  dueAt: dueOf(Bytes.text(head), Bytes.ascii(entry)),
  record: record.length === 0 ? undefined : JobRecord.fromBytes(record)
})

/** Ids per script. */
const maxBatch = 250

export const locate = Effect.fnUntraced(function*(
  link: Link,
  keys: Keys,
  queue: string,
  ids: NonEmptyReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<Option.Option<LocatedJob>>, TransportError> {
  const answers: Array<Option.Option<LocatedJob>> = []
  for (let start = 0; start < ids.length; start += maxBatch) {
    const batch = ids.slice(start, start + maxBatch)
    const places = yield* link.call({
      operation: `locate in queue "${queue}"`,
      queue,
      command: "evalsha",
      script,
      args: ["1", keys.queue(queue), ...batch],
      repeatable: true
    }, (reply) => reply as ReadonlyArray<Found>)
    for (let i = 0; i < batch.length; i++) {
      const place = places[i]
      answers.push(place === null || place === undefined ? Option.none() : Option.some(decode(queue, place)))
    }
  }
  return answers
})
