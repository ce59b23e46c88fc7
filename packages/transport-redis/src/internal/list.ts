/**
 * Pages through the jobs of one place.
 *
 * A cursor names the last job that was seen by its position, not by counting,
 * so it outlives any change in between.
 */
import type { LocatedJob, Place } from "@troupe/core/JobLog"
import type { Page, Paged } from "@troupe/core/Store"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import * as Keys from "./keys.ts"
import type { Link } from "./link.ts"
import { decode, type Found, found } from "./locate.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/**
 * A page of a sorted set of ids.
 *
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> "d", "f" or "dead"
 * ARGV[2] -> how many
 * ARGV[3] -> score and
 * ARGV[4] -> id of the last one that was seen, or ""
 *
 * Answers the next score and id, or "", then what was found. The last id may
 * be gone: for a moment it is put back, to learn its rank.
 */
const sorted = Script.make(`${Lua.prelude}${Lua.read}${Lua.push}${Lua.join}${Lua.promote}${Lua.follower}${found}
call('DEL', P .. '-')
local now = clock()
promote(now, 500)
call('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now)
local set, limit, start = P .. ARGV[1], tonumber(ARGV[2]), 0
if ARGV[3] ~= '' then
  local real = call('ZSCORE', set, ARGV[4])
  call('ZADD', set, ARGV[3], ARGV[4])
  start = call('ZRANK', set, ARGV[4]) + 1
  if real then call('ZADD', set, real, ARGV[4])
  else
    call('ZREM', set, ARGV[4])
    start = start - 1
  end
end
local ids = call('ZRANGE', set, start, start + limit, 'WITHSCORES')
local out = { '', '' }
local last = math.min(#ids / 2, limit)
if #ids / 2 > limit then out[1], out[2] = ids[2 * last], ids[2 * last - 1] end
for x = 1, last do
  local one
  if ARGV[1] == 'dead' then one = letter(ids[2 * x - 1]) else one = found(ids[2 * x - 1]) end
  if one then out[#out + 1] = one end
end
return out
`)

/**
 * A page of a stream.
 *
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> stream
 * ARGV[2] -> "queued" or "running"
 * ARGV[3] -> how many
 * ARGV[4] -> entry that was seen last, or ""
 *
 * Answers "" or the entry after which to go on, then what was found.
 */
const stream = Script.make(`${Lua.prelude}${Lua.read}${Lua.push}${Lua.join}${Lua.promote}
call('DEL', P .. '-')
promote((clock()), 500)
local stream, limit, after = P .. ARGV[1], tonumber(ARGV[3]), ARGV[4]
local out = { '' }
if ARGV[2] == 'running' then
  local pending = redis.pcall('XPENDING', stream, 'g', after == '' and '-' or '(' .. after, '+', limit + 1)
  if pending.err then return out end
  for x = 1, math.min(#pending, limit) do
    local one = call('XRANGE', stream, pending[x][1], pending[x][1])[1]
    if one then
      local id, head, envelope = read(ARGV[1], one[1], one[2])
      out[#out + 1] = { 'running', head, one[1], envelope, '', id }
    end
  end
  if #pending > limit then out[1] = pending[limit][1] end
  return out
end
local groups = redis.pcall('XINFO', 'GROUPS', stream)
local from = '-'
if not groups.err then
  for _, one in ipairs(groups) do
    for x = 1, #one, 2 do if one[x] == 'last-delivered-id' then from = '(' .. one[x + 1] end end
  end
end
local function number(entry)
  local a, b = string.match(entry, '(%d+)-(%d+)')
  return tonumber(a), tonumber(b)
end
if after ~= '' then
  local a, b = number(after)
  local c, d = -1, -1
  if from ~= '-' then c, d = number(from) end
  if a > c or (a == c and b > d) then from = '(' .. after end
end
local entries = call('XRANGE', stream, from, '+', 'COUNT', limit + 1)
for x = 1, math.min(#entries, limit) do
  local id, head, envelope = read(ARGV[1], entries[x][1], entries[x][2])
  out[#out + 1] = { 'queued', head, entries[x][1], envelope, '', id }
end
if #entries > limit then out[1] = entries[limit][1] end
return out
`)

interface Listed {
  readonly items: ReadonlyArray<LocatedJob>
  /** Where to go on; empty after the last one. */
  readonly next: ReadonlyArray<string>
}

const listed = (queue: string, reply: unknown, cursorLength: number): Listed => {
  const parts = reply as ReadonlyArray<Buffer | Found>
  const items: Array<LocatedJob> = []
  for (const part of parts.slice(cursorLength)) {
    if (part !== null && !Buffer.isBuffer(part)) items.push(decode(queue, part))
  }
  const next = parts.slice(0, cursorLength).map(String)
  return { items, next: next[0] === "" ? [] : next }
}

export const list = Effect.fnUntraced(function*(
  link: Link,
  keys: Keys.Keys,
  queue: string,
  place: Place,
  page: Page
): Effect.fn.Return<Paged<LocatedJob>, TransportError> {
  const operation = `list of queue "${queue}"`
  const limit = Math.max(1, Math.min(1_000, page.limit))
  const cursor = page.cursor === undefined ? [] : parseCursor(page.cursor)
  if (cursor === undefined) {
    return yield* Errors.refused(operation, `"${page.cursor}" is not a cursor of an earlier page`)
  }
  const base = keys.queue(queue)
  const run = (script: Script.Script, args: ReadonlyArray<string>, cursorLength: number) =>
    link.call(
      { operation, queue, command: "evalsha", script, args: ["1", base, ...args], repeatable: true },
      (reply) => listed(queue, reply, cursorLength)
    )
  const inSet = (set: string, limit: number, [score = "", id = ""]: ReadonlyArray<string>) =>
    run(sorted, [set, String(limit), score, id], 2)
  if (place === "scheduled" || place === "dead") {
    const { items, next } = yield* inSet(place === "dead" ? "dead" : "d", limit, cursor)
    return { items, next: next.length === 0 ? undefined : JSON.stringify(next) }
  }
  const request = { operation, queue, command: "smembers", args: [`${base}levels`], repeatable: true }
  const levels = yield* link.call(request, (reply) => (reply as ReadonlyArray<Buffer>).map(String))
  const streams = levels.sort().flatMap((level) => [Keys.recovered(level), Keys.waiting(level)])
  // jobs behind the head of their key come last
  if (place === "queued") streams.push("f")
  let [name = streams[0], after = "", last = ""] = cursor
  const items: Array<LocatedJob> = []
  while (name !== undefined) {
    const rest = limit - items.length
    const part: Listed = name === "f"
      ? yield* inSet(name, rest, [after, last])
      : yield* run(stream, [name, place, String(rest), after], 1)
    for (const item of part.items) items.push(item)
    if (part.next.length > 0) return { items, next: JSON.stringify([name, ...part.next]) }
    const following: string | undefined = streams[streams.indexOf(name) + 1]
    if (following !== undefined && items.length >= limit) return { items, next: JSON.stringify([following, ""]) }
    name = following
    after = ""
  }
  return { items, next: undefined }
})

const parseCursor = (cursor: string): ReadonlyArray<string> | undefined => {
  try {
    const parsed: unknown = JSON.parse(cursor)
    if (!Array.isArray(parsed) || (parsed.length !== 2 && parsed.length !== 3)) return undefined
    return parsed.every((part) => typeof part === "string") ? parsed : undefined
  } catch {
    return undefined
  }
}
