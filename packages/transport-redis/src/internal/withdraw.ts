/**
 * Ends jobs from outside: the record is created if absent and the job goes
 * away, wherever it is.
 */
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { Keys } from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Record from "./record.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> "1" if listeners on other nodes are not seen from here
 * then per job: id, record, time to live, full record or "", its time to live, channel of the client or ""
 *
 * Answers per job false, or the record that stood already.
 *
 * The first write is DEL: jobs can be cancelled on a full server.
 */
const script = Script.make(`${Lua.prelude}${Lua.headOf}${Lua.follower}${Lua.advance}${Lua.finish}${Lua.announce}
call('DEL', P .. '-')
local answers, everywhere = {}, ARGV[1] == '1'
local function letGo(head, id)
  local key = string.match(head, '^%d* %d* k(.*)$')
  if key then advance({ key }, { id }) end
end
local function remove(id, state)
  local kind = string.sub(state, 1, 1)
  if kind == 'q' then
    local entry, stream = string.match(state, '^q(%S+) (.*)$')
    local found = call('XRANGE', P .. stream, entry, entry)[1]
    redis.pcall('XACK', P .. stream, 'g', entry)
    call('XDEL', P .. stream, entry)
    if found then letGo(headOf(found[2][1]) or '', id) end
  elseif kind == 'm' then
    -- the key skips what is gone
    call('ZREM', P .. 'f', id)
  elseif kind == 'd' then
    local _, head = cmsgpack.unpack(string.sub(state, 2))
    call('ZREM', P .. 'd', id)
    letGo(head, id)
  end
end
for x = 2, #ARGV, 6 do
  local id, record, full, channel = ARGV[x], ARGV[x + 1], ARGV[x + 3], ARGV[x + 5]
  local state = call('GET', P .. 't:' .. id)
  if isRecord(state) then
    answers[#answers + 1] = call('GET', P .. 'v:' .. id) or state
  else
    if state then remove(id, state) end
    finish(id, record, ARGV[x + 2], full, ARGV[x + 4])
    if channel ~= '' then announce(channel, full == '' and record or full, everywhere) end
    answers[#answers + 1] = false
  end
end
flush()
return answers
`)

/** Records per script. */
const maxBatch = 250

export const withdraw = Effect.fnUntraced(function*(
  link: Link,
  keys: Keys,
  isCluster: boolean,
  queue: string,
  records: NonEmptyReadonlyArray<JobRecord.JobRecord>
): Effect.fn.Return<ReadonlyArray<JobRecord.JobRecord>, TransportError> {
  const operation = `withdraw from queue "${queue}"`
  const stray = records.find((record) => record.queue !== queue)
  if (stray !== undefined) {
    return yield* Errors.refused(operation, `the record of job "${stray.id}" is of queue "${stray.queue}"`)
  }
  const answers: Array<JobRecord.JobRecord> = []
  for (let start = 0; start < records.length; start += maxBatch) {
    const batch = records.slice(start, start + maxBatch)
    const args: Array<Arg> = ["1", keys.queue(queue), isCluster ? "1" : "0"]
    for (const record of batch) {
      args.push(record.id, ...Record.split(record))
      args.push(record.replyTo === undefined ? "" : keys.results(record.replyTo))
    }
    const request = { operation, queue, command: "evalsha", script, args, repeatable: true }
    // per record nothing, or the bytes of the one that stood
    const standing = yield* link.call(request, (reply) => reply as ReadonlyArray<Buffer | null>)
    batch.forEach((record, index) => {
      const bytes = standing[index]
      answers.push(Buffer.isBuffer(bytes) ? JobRecord.fromBytes(bytes) : record)
    })
  }
  return answers
})
