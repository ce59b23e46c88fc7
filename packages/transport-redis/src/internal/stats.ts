/**
 * Counts the jobs of a queue.
 */
import type { QueueStats } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import type * as Effect from "effect/Effect"
import type { Keys } from "./keys.ts"
import type { Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 *
 * Answers scheduled, queued, running, dead, age of the oldest queued job or -1, consumers.
 *
 * Entries after the last one that a group was given are queued, all others run:
 * a job that moves on gets a new entry. Only the first queued entry of a stream
 * is looked at for its age.
 */
const script = Script.make(`${Lua.prelude}${Lua.headOf}${Lua.push}${Lua.join}${Lua.promote}
call('DEL', P .. '-')
local now = clock()
promote(now, 500)
local queued, running, oldest = 0, 0, nil
local function age(entry)
  if not entry then return end
  local due = string.match(headOf(entry[2][1]) or '', '^%d* (%d+)') or string.match(entry[1], '^%d+')
  if not oldest or tonumber(due) < oldest then oldest = tonumber(due) end
end
for _, level in ipairs(call('SMEMBERS', P .. 'levels')) do
  for _, kind in ipairs({ 'r:', 's:' }) do
    local stream = P .. kind .. level
    local length, pending, last = call('XLEN', stream), 0, '-'
    local groups = redis.pcall('XINFO', 'GROUPS', stream)
    if not groups.err then
      for _, one in ipairs(groups) do
        for x = 1, #one, 2 do
          if one[x] == 'pending' then pending = one[x + 1] end
          if one[x] == 'last-delivered-id' then last = '(' .. one[x + 1] end
        end
      end
    end
    queued = queued + length - pending
    running = running + pending
    if length > pending then age(call('XRANGE', stream, last, '+', 'COUNT', 1)[1]) end
  end
end
queued = queued + call('ZCARD', P .. 'f')
local first = tonumber(call('ZRANGE', P .. 'f', 0, 0, 'WITHSCORES')[2])
if first and (not oldest or first < oldest) then oldest = first end
call('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now)
local consumers, all = 0, call('HVALS', P .. 'c')
for _, one in ipairs(all) do
  local lease, at, rest = string.match(one, '^(%d+) (%d+) (.*)$')
  if rest ~= 'closed' and now - at <= tonumber(lease) then consumers = consumers + 1 end
end
return {
  call('ZCARD', P .. 'd'), queued, running, call('ZCARD', P .. 'dead'),
  oldest and math.max(0, now - oldest) or -1, consumers
}
`)

export const stats = (link: Link, keys: Keys, queue: string): Effect.Effect<QueueStats, TransportError> =>
  link.call({
    operation: `stats of queue "${queue}"`,
    queue,
    command: "evalsha",
    script,
    args: ["1", keys.queue(queue)],
    repeatable: true
  }, (reply) => {
    const [scheduled, queued, running, dead, age, consumers] = reply as [number, number, number, number, number, number]
    return { scheduled, queued, running, dead, oldestAge: age < 0 ? undefined : age, consumers }
  })
