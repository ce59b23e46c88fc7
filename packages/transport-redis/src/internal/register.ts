/**
 * How consumers come, show that they are alive and leave.
 */
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> consumer
 * ARGV[2] -> its lease, ms
 * ARGV[3] -> 1 to announce the consumer, 0 to create what it reads only
 * then the levels that it serves
 *
 * The first write is DEL: a worker starts on a full server, too.
 */
export const enter = Script.make(`${Lua.prelude}
call('DEL', P .. '-')
for x = 4, #ARGV do
  call('SADD', P .. 'levels', ARGV[x])
  redis.pcall('XGROUP', 'CREATE', P .. 's:' .. ARGV[x], 'g', '0', 'MKSTREAM')
  redis.pcall('XGROUP', 'CREATE', P .. 'r:' .. ARGV[x], 'g', '0', 'MKSTREAM')
end
if ARGV[3] == '1' then call('HSET', P .. 'c', ARGV[1], ARGV[2] .. ' ' .. ms((clock())) .. ' 0') end
return 1
`)

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> consumer
 *
 * A consumer that holds jobs is only marked: its lease counts until it is over.
 */
export const leave = Script.make(`${Lua.prelude}
local me, holds = ARGV[1], false
call('DEL', P .. '-')
for _, level in ipairs(call('SMEMBERS', P .. 'levels')) do
  for _, kind in ipairs({ 'r:', 's:' }) do
    local pending = redis.pcall('XPENDING', P .. kind .. level, 'g', '-', '+', 1, me)
    if not pending.err then
      if #pending > 0 then holds = true
      else call('XGROUP', 'DELCONSUMER', P .. kind .. level, 'g', me) end
    end
  end
end
local entry = call('HGET', P .. 'c', me)
if not holds then call('HDEL', P .. 'c', me)
elseif entry then call('HSET', P .. 'c', me, string.match(entry, '^%d+') .. ' ' .. ms((clock())) .. ' closed') end
return 1
`)

/**
 * Shows that a consumer is alive, queues what became due and, for whoever
 * comes first in an interval, takes jobs away from consumers that are silent.
 *
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> consumer
 * ARGV[2] -> its lease, ms
 * ARGV[3] -> ms between two calls
 * ARGV[4] -> id of the connection on which it waits for jobs, or 0
 * ARGV[5] -> stream to go on with, or ""
 * ARGV[6] -> entry to go on after
 *
 * Answers ms until the next scheduled job is due or -1, where to go on, and the
 * connections of consumers that have been silent for most of their lease: a read
 * that still waits there would take jobs to nowhere. Unblock them and call again.
 *
 * A consumer that could not call for longer than its lease stood still, or the
 * broker did. Then heartbeats get a third of the lease to arrive before
 * anything is taken away; once in a lease, so that a worker that stands still
 * all the time does not keep dead leases alive. A first call takes nothing.
 *
 * The first write is DEL: nothing here may stop on a full server.
 */
export const tick = Script.make(`${Lua.prelude}${Lua.read}${Lua.push}${Lua.join}${Lua.promote}${Lua.nextDue}
local me, lease, interval = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
call('DEL', P .. '-')
local now = clock()
promote(now, 500)
local entry = call('HGET', P .. 'c', me)
call('HSET', P .. 'c', me, ARGV[2] .. ' ' .. ms(now) .. ' ' .. ARGV[4])
if not entry then return { nextDue(now), '', '', {} } end
local seen = tonumber(string.match(entry, '^%d+ (%d+)'))

local longest, dead, silent = lease, {}, {}
local all = call('HGETALL', P .. 'c')
for x = 1, #all, 2 do
  local other, at, connection = string.match(all[x + 1], '^(%d+) (%d+) ([%d]*)')
  other, at = tonumber(other), tonumber(at)
  if all[x] ~= me then
    if now - at > other * 0.6 and connection ~= '' and connection ~= '0' then
      silent[#silent + 1] = connection
      call('HSET', P .. 'c', all[x], ms(other) .. ' ' .. ms(at) .. ' 0')
    end
    if now - at <= other then longest = math.max(longest, other) else dead[#dead + 1] = all[x] end
  end
end
-- first they must not be able to get what is taken away
if #silent > 0 then return { nextDue(now), '', '', silent } end

if now - seen > lease and call('SET', P .. 'stall', '', 'NX', 'PX', math.ceil(longest * 4 / 3)) then
  call('SET', P .. 'grace', '', 'PX', math.ceil(longest / 3))
end
local resumed = ARGV[5] ~= ''
if call('EXISTS', P .. 'grace') == 1 then return { nextDue(now), '', '', {} } end
if not resumed and not call('SET', P .. 'reap', me, 'NX', 'PX', interval) then return { nextDue(now), '', '', {} } end

local function reap(level, kind, after)
  local stream = P .. kind .. level
  local idle = redis.pcall('XPENDING', stream, 'g', 'IDLE', longest, after, '+', 100)
  if idle.err then return end
  for _, one in ipairs(idle) do
    local found = call('XRANGE', stream, one[1], one[1])[1]
    call('XACK', stream, 'g', one[1])
    if found then
      local id, head, envelope = read(kind .. level, one[1], found[2])
      local count, due, key = string.match(head, '^(%d+) (%d*) (.*)$')
      if not count then count, due, key = '0', '', '' end
      if due == '' then due = string.match(one[1], '^%d+') end
      call('XDEL', stream, one[1])
      push('r:' .. level, id, (count + 1) .. ' ' .. due .. ' ' .. key, envelope)
    end
  end
  if #idle == 100 then return idle[100][1] end
end

local levels = call('SMEMBERS', P .. 'levels')
for _, level in ipairs(levels) do
  for _, kind in ipairs({ 'r:', 's:' }) do
    if not resumed or ARGV[5] == kind .. level then
      local last = reap(level, kind, resumed and '(' .. ARGV[6] or '-')
      resumed = false
      if last then return { nextDue(now), kind .. level, last, {} } end
    end
  end
end

-- a dead consumer leaves its groups when it holds nothing any more
for _, other in ipairs(dead) do
  local holds = false
  for _, level in ipairs(levels) do
    for _, kind in ipairs({ 'r:', 's:' }) do
      local pending = redis.pcall('XPENDING', P .. kind .. level, 'g', '-', '+', 1, other)
      if not pending.err then
        if #pending > 0 then holds = true
        else call('XGROUP', 'DELCONSUMER', P .. kind .. level, 'g', other) end
      end
    end
  end
  if not holds then call('HDEL', P .. 'c', other) end
end
call('ZREMRANGEBYSCORE', P .. 'dead', '-inf', now)
call('ZREMRANGEBYSCORE', P .. 'jw', '-inf', now)
return { nextDue(now), '', '', {} }
`)

/**
 * Gives back jobs that nobody waits for, uncounted: they are read before all others.
 *
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV    -> triples of "s:" or "r:", level and entry
 */
export const release = Script.make(`${Lua.prelude}${Lua.read}${Lua.push}
for x = 1, #ARGV, 3 do
  local stream, entry = P .. ARGV[x] .. ARGV[x + 1], ARGV[x + 2]
  local found = call('XRANGE', stream, entry, entry)[1]
  if call('XACK', stream, 'g', entry) == 1 and found then
    local id, head, envelope = read(ARGV[x] .. ARGV[x + 1], entry, found[2])
    local count, due, key = string.match(head, '^(%d+) (%d*) (.*)$')
    if not count then count, due, key = '0', '', '' end
    if due == '' then due = string.match(entry, '^%d+') end
    call('XDEL', stream, entry)
    push('r:' .. ARGV[x + 1], id, count .. ' ' .. due .. ' ' .. key, envelope)
  end
end
return 1
`)

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> consumer
 * then the streams
 *
 * Answers, like a cycle, what the consumer has been given: after a lost reply
 * it may know less than Redis.
 */
export const own = Script.make(`${Lua.prelude}${Lua.handOver}
local out = { {}, -1, {} }
for x = 2, #ARGV do
  local read = redis.pcall('XREADGROUP', 'GROUP', 'g', ARGV[1], 'COUNT', 1000, 'STREAMS', P .. ARGV[x], '0')
  if read and not read.err then handOver(out, ARGV[x], read[1][2]) end
end
return out
`)
