/**
 * Changes jobs that wait for their time, and only those.
 */
import { checkRevision, type Revised, type Revision } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Due from "./due.ts"
import * as Errors from "./errors.ts"
import type { Keys } from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Record from "./record.ts"
import * as Script from "./script.ts"

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> "1" if listeners on other nodes are not seen from here
 * then per job: tag, id, the revision that it must have, and
 *   Reschedule level, kind of due, due, "" or "k" .. key, envelope
 *   Unschedule record, time to live, full record or "", its time to live, channel of the client or ""
 *
 * Answers done, superseded or missing per job.
 *
 * The first write is DEL: a full server lets jobs move, they need hardly more
 * room than they had.
 *
 * The revision is read from the header of the envelope. Only `n` of the header
 * itself is followed by a number: headers of the user are texts, and a quote
 * inside of a text has a backslash before it.
 */
const script = Script.make(`${Lua.prelude}${Lua.headOf}${Lua.push}${Lua.join}${Lua.follower}${Lua.advance}${Lua.promote}
${Lua.admit}${Lua.finish}${Lua.announce}
call('DEL', P .. '-')
local now, up = clock()
promote(now, 500)
local everywhere = ARGV[1] == '1'
local function revisionOf(envelope)
  local header = string.sub(envelope, 6, 5 + struct.unpack('>I4', envelope, 2))
  return string.match(header, ',"n":(%d+)[,}]') or '0'
end
local function queued(state)
  local _, _, _, envelope = follower(state)
  if envelope then return envelope end
  local entry, stream = string.match(state, '^q(%S+) (.*)$')
  local found = entry and call('XRANGE', P .. stream, entry, entry)[1]
  return found and found[2][2]
end
local function revise(x)
  local isMove, id, revision = ARGV[x] == 'Reschedule', ARGV[x + 1], ARGV[x + 2]
  local state = call('GET', P .. 't:' .. id)
  if not state or isRecord(state) then
    return state and not isMove and state == ARGV[x + 3] and 'done' or 'missing'
  end
  if string.byte(state) ~= 100 then
    return isMove and queued(state) == ARGV[x + 7] and 'done' or 'superseded'
  end
  local _, head, envelope = cmsgpack.unpack(string.sub(state, 2))
  if isMove and envelope == ARGV[x + 7] then return 'done' end
  local due, key = string.match(head, '^%d+ (%d*) (.*)$')
  if tonumber(due) <= now or revisionOf(envelope) ~= revision then return 'superseded' end
  call('ZREM', P .. 'd', id)
  if isMove then
    call('SADD', P .. 'levels', ARGV[x + 3])
    admit(now, up, ARGV[x + 3], id, ARGV[x + 4], ARGV[x + 5], ARGV[x + 6], ARGV[x + 7])
    return 'done'
  end
  local record, full, channel = ARGV[x + 3], ARGV[x + 5], ARGV[x + 7]
  if key ~= '' then advance({ string.sub(key, 2) }, { id }) end
  finish(id, record, ARGV[x + 4], full, ARGV[x + 6])
  if channel ~= '' then announce(channel, full == '' and record or full, everywhere) end
  return 'done'
end
local out = {}
for x = 2, #ARGV, 8 do out[#out + 1] = revise(x) end
flush()
return out
`)

/** Revisions per script. */
const maxBatch = 100

const encode = (keys: Keys, revision: Revision): ReadonlyArray<Arg> => {
  if (revision._tag === "Reschedule") {
    const { successor } = revision
    const before = String(successor.revision - 1)
    return [
      "Reschedule",
      successor.id,
      before,
      ...Due.encode(successor),
      Due.keyOf(successor),
      Due.toBytes(successor)
    ]
  }
  const { record } = revision
  const channel = record.replyTo === undefined ? "" : keys.results(record.replyTo)
  return ["Unschedule", record.id, String(revision.revision), ...Record.split(record), channel]
}

export const revise = Effect.fnUntraced(function*(
  link: Link,
  keys: Keys,
  isCluster: boolean,
  queue: string,
  revisions: NonEmptyReadonlyArray<Revision>
): Effect.fn.Return<ReadonlyArray<Revised>, TransportError> {
  const operation = `revise in queue "${queue}"`
  for (const revision of revisions) {
    const mismatch = checkRevision(queue, revision)
    if (mismatch !== undefined) return yield* Errors.refused(operation, mismatch)
  }
  const answers: Array<Revised> = []
  for (let start = 0; start < revisions.length; start += maxBatch) {
    const args: Array<Arg> = ["1", keys.queue(queue), isCluster ? "1" : "0"]
    for (const revision of revisions.slice(start, start + maxBatch)) args.push(...encode(keys, revision))
    const request = { operation, queue, command: "evalsha", script, args, repeatable: true }
    // the three names that the script writes
    for (const answer of yield* link.call(request, (reply) => (reply as ReadonlyArray<Buffer>).map(String))) {
      answers.push(answer as Revised)
    }
  }
  return answers
})
