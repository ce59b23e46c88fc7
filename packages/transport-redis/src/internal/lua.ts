/**
 * What several scripts share. A script begins with `prelude` and then takes
 * the functions that it calls, in this order.
 *
 * The first write of a script decides on a full server: `XADD` and `SET` are
 * refused there, and after any other write everything passes. Scripts that
 * accept new work begin with a refused one and so change nothing; scripts that
 * finish work begin with one that is allowed and so can always finish.
 *
 * The value of `t:<id>` says where a job is:
 * `q<entry> <stream>` in a stream,
 * `m` + msgpack of a token, level, name (see below) and envelope: behind the head of its key,
 * `d` + msgpack of level, head and envelope: scheduled,
 * a byte 0xe2 and more: over; this is its record.
 *
 * An entry has one field: its name says head and id, its value is the envelope.
 * The name is `:<id>` for an empty head, else `<length of the head>h<head>:<id>`.
 * Every item costs the client that parses it, and Lua, more than its bytes do.
 *
 * The head is empty, or `<hand-outs before> <due> ` and `k<key>` for a job with
 * a key. Without a due time a job is due since its entry id.
 */

export const prelude = `
local P = KEYS[1]
local call = redis.call
local function isRecord(state) return state and string.byte(state) == 226 end
local function clock()
  local t = call('TIME')
  local ms = t[1] * 1000 + t[2] / 1000
  return math.floor(ms), math.ceil(ms)
end
local function ms(number) return string.format('%.0f', number) end
`

/** headOf: head and id by the name of the field; nothing if no release wrote it. */
export const headOf = `
local function headOf(name)
  if string.byte(name) == 58 then return '', string.sub(name, 2) end
  local n, at = string.match(name, '^(%d%d?%d?%d?%d?)h()')
  if n and string.byte(name, at + n) == 58 then
    return string.sub(name, at, at + n - 1), string.sub(name, at + n + 1)
  end
end
`

/**
 * read: id, head and envelope of an entry. What no release wrote has no id: it
 * gets one that nobody else has, and everything that it holds as its envelope.
 * Needs headOf.
 */
export const read = `${headOf}
local function read(stream, entry, v)
  local head, id = headOf(v[1])
  if id and (#v == 2 or v[3] == 'l') then return id, head, v[2] end
  return 'foreign ' .. stream .. ' ' .. entry, '', table.concat(v, ' ')
end
`

/** nameOf: the name of the field. push: puts a job at the end of a stream. Answers its entry. */
export const push = `
local function nameOf(head, id)
  return head == '' and ':' .. id or #head .. 'h' .. head .. ':' .. id
end
local function push(stream, id, head, envelope)
  local entry = call('XADD', P .. stream, '*', nameOf(head, id), envelope)
  call('SET', P .. 't:' .. id, 'q' .. entry .. ' ' .. stream)
  return entry
end
`

/**
 * join: puts a job that is due into its stream, or behind the head of its key.
 * The token tells it from an earlier job of the same id that was withdrawn and
 * is still in the list. Needs push.
 */
export const join = `
local function join(now, level, id, head, envelope)
  local key = string.match(head, '^%d* %d* k(.*)$')
  if key then
    local holder = call('HGET', P .. 'mk', key)
    if not holder then
      call('HSET', P .. 'mk', key, id)
    elseif holder ~= id then
      local token = ms(now)
      call('SET', P .. 't:' .. id, 'm' .. cmsgpack.pack(token, level, nameOf(head, id), envelope))
      call('RPUSH', P .. 'm:' .. key, token .. ' ' .. id)
      call('ZADD', P .. 'f', string.match(head, '^%d* (%d+)') or token, id)
      return
    end
  end
  push('s:' .. level, id, head, envelope)
end
`

/** follower: what the state of a job behind the head of its key says: token, level, name and envelope. */
export const follower = `
local function follower(state)
  if not state or string.byte(state) ~= 109 then return end
  local _, token, level, name, envelope = cmsgpack.unpack_limit(state, 4, 1)
  return token, level, name, envelope
end
`

/**
 * advance: jobs leave; of each that was the head of its key, the next one
 * follows. One command for all of them wherever there is one. Answers, by the
 * positions of the keys, the entries of those that follow in the stream `told`,
 * if that is given. Needs follower.
 */
export const advance = `
local function advance(keys, ids, told)
  local entries = {}
  if #keys == 0 then return entries end
  local holders, free, seen = call('HMGET', P .. 'mk', unpack(keys)), {}, {}
  for x, key in ipairs(keys) do
    if holders[x] == ids[x] and not seen[key] then
      seen[key] = true
      free[#free + 1] = x
    end
  end
  local states, turns, heads, ended, n = {}, {}, {}, {}, 0
  while #free > 0 do
    local waiting, tokens, followers, names, m = {}, {}, {}, {}, 0
    for _, x in ipairs(free) do
      local first = call('LPOP', P .. 'm:' .. keys[x])
      if first then
        m = m + 1
        waiting[m] = x
        tokens[m], followers[m] = string.match(first, '^(%d+) (.*)$')
        names[m] = P .. 't:' .. followers[m]
      else
        ended[#ended + 1] = keys[x]
      end
    end
    free = {}
    local found = m > 0 and call('MGET', unpack(names))
    for x = 1, m do
      local token, level, name, envelope = follower(found[x])
      if token == tokens[x] then
        local entry = call('XADD', P .. 's:' .. level, '*', name, envelope)
        n = n + 1
        heads[n] = followers[x]
        states[2 * n - 1], states[2 * n] = names[x], 'q' .. entry .. ' s:' .. level
        turns[2 * n - 1], turns[2 * n] = keys[waiting[x]], followers[x]
        if told == 's:' .. level then entries[waiting[x]] = entry end
      else
        -- it was withdrawn
        free[#free + 1] = waiting[x]
      end
    end
  end
  if n > 0 then
    call('MSET', unpack(states))
    call('HSET', P .. 'mk', unpack(turns))
    call('ZREM', P .. 'f', unpack(heads))
  end
  if #ended > 0 then call('HDEL', P .. 'mk', unpack(ended)) end
  return entries
end
`

/** promote: what has become due joins its stream; at most limit jobs. Needs join. */
export const promote = `
local function promote(now, limit)
  local ids = call('ZRANGEBYSCORE', P .. 'd', '-inf', '(' .. ms(now + 1), 'LIMIT', 0, limit)
  if #ids == 0 then return end
  call('ZREM', P .. 'd', unpack(ids))
  for _, id in ipairs(ids) do
    local state = call('GET', P .. 't:' .. id)
    if state and string.byte(state) == 100 then
      local level, head, envelope = cmsgpack.unpack(string.sub(state, 2))
      join(now, level, id, head, envelope)
    end
  end
end
`

/** nextDue: ms until the first scheduled job is due, or -1. */
export const nextDue = `
local function nextDue(now)
  local first = call('ZRANGE', P .. 'd', 0, 0, 'WITHSCORES')
  if not first[2] then return -1 end
  return math.min(2000000000, math.max(0, math.floor(first[2]) - now))
end
`

/** admit: takes a job in that is due at a time, after a delay, or now. Needs join. */
export const admit = `
local function admit(now, up, level, id, kind, due, key, envelope)
  local at = now
  if kind == 'at' then at = tonumber(due)
  -- rounded up: the delay begins within this ms, and must not end too early
  elseif kind == 'in' and tonumber(due) > 0 then at = up + tonumber(due) end
  if at <= now then
    join(now, level, id, key == '' and '' or ('0  ' .. key), envelope)
    return
  end
  -- jobs of one ms keep their order: the fraction grows
  local fraction = call('INCR', P .. 'n') % 2048 / 2048
  local head = '0 ' .. ms(at) .. ' ' .. key
  call('SET', P .. 't:' .. id, 'd' .. cmsgpack.pack(level, head, envelope))
  call('ZADD', P .. 'd', string.format('%.17g', at + fraction), id)
  if call('ZRANGE', P .. 'd', 0, 0)[1] == id then
    call('PUBLISH', P .. 'ctl', ms(math.min(2000000000, at - now)))
  end
end
`

/**
 * finish: writes the record and tells who waits. `full` is the record with its
 * value if that is kept for a shorter time, else empty.
 */
export const finish = `
local waiters
local function finish(id, record, ttl, full, valueTtl)
  call('SET', P .. 't:' .. id, record, 'PX', ttl)
  if full ~= '' and valueTtl ~= '0' then call('SET', P .. 'v:' .. id, full, 'PX', valueTtl) end
  if waiters == nil then waiters = call('EXISTS', P .. 'jw') == 1 end
  if waiters and call('ZREM', P .. 'jw', id) == 1 then
    call('PUBLISH', P .. 'j:' .. id, full == '' and record or full)
  end
end
`

/**
 * announce, flush: collect records by the channel of their client and publish
 * each list once, as `JobRecord.manyToBytes`. `everywhere`: who listens to
 * another node of a cluster is not seen from here.
 */
export const announce = `
local lists = {}
local function announce(channel, record, everywhere)
  local list = lists[channel]
  if list == nil then
    list = (everywhere or call('PUBSUB', 'NUMSUB', channel)[2] > 0) and {}
    lists[channel] = list
  end
  if list then
    list[#list + 1] = struct.pack('>I4', #record)
    list[#list + 1] = record
  end
end
local function flush()
  for channel, list in pairs(lists) do
    if list then call('PUBLISH', channel, table.concat(list)) end
  end
end
`

/**
 * handOver: adds to an answer what XREADGROUP read from one stream: its name,
 * the entries in one text, the names of their fields or nothing if none of them
 * was handed out before, and the envelopes.
 */
export const handOver = `
local function handOver(out, stream, entries)
  local ids, names, envelopes, plain = {}, {}, {}, true
  local n = 0
  for _, one in ipairs(entries) do
    local fields = one[2]
    -- an entry that was deleted while it was ours has no fields
    if fields then
      local name = fields[1]
      n = n + 1
      -- what no release wrote may have more fields: then none is its envelope
      ids[n], names[n], envelopes[n] = one[1], fields[3] and '' or name, fields[2]
      plain = plain and not fields[3] and (string.byte(name) == 58 or string.find(name, '^%d+h0 ') ~= nil)
    end
  end
  if n == 0 then return end
  local c = #out
  out[c + 1], out[c + 2], out[c + 3], out[c + 4] = stream, table.concat(ids, ' '), plain and {} or names, envelopes
end
`
