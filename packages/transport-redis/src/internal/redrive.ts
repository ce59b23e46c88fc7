/**
 * Replays and drops dead letters.
 */
import type { Redrive, Redriven } from "@troupe/core/JobLog"
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
 * ARGV    -> per letter: "drop" or "as", id, level, kind of due, due, "" or "k" .. key, envelope
 *
 * Answers done, duplicate or missing per letter.
 *
 * The first write is DEL: letters can be dropped on a full server, and a replay
 * needs hardly more room than its letter.
 */
const script = Script.make(`${Lua.prelude}${Lua.push}${Lua.join}${Lua.admit}
call('DEL', P .. '-')
local now, up = clock()
local out = {}
for x = 1, #ARGV, 7 do
  local id = ARGV[x + 1]
  local state = call('GET', P .. 't:' .. id)
  if call('EXISTS', P .. 'l:' .. id) == 0 then
    out[#out + 1] = 'missing'
  elseif ARGV[x] == 'as' and state and not isRecord(state) then
    out[#out + 1] = 'duplicate'
  else
    if ARGV[x] == 'as' then
      call('DEL', P .. 't:' .. id, P .. 'v:' .. id)
      call('SADD', P .. 'levels', ARGV[x + 2])
      admit(now, up, ARGV[x + 2], id, ARGV[x + 3], ARGV[x + 4], ARGV[x + 5], ARGV[x + 6])
    end
    call('DEL', P .. 'l:' .. id)
    call('ZREM', P .. 'dead', id)
    out[#out + 1] = 'done'
  end
end
return out
`)

/** Letters per script. */
const maxBatch = 100

export const redrive = Effect.fnUntraced(function*(
  link: Link,
  keys: Keys,
  queue: string,
  letters: NonEmptyReadonlyArray<Redrive>
): Effect.fn.Return<ReadonlyArray<Redriven>, TransportError> {
  const operation = `redrive of queue "${queue}"`
  const stray = letters.find(({ as, id }) => as !== "drop" && (as.id !== id || as.queue !== queue))
  if (stray !== undefined) return yield* Errors.refused(operation, "the new envelope names another job")
  const answers: Array<Redriven> = []
  for (let start = 0; start < letters.length; start += maxBatch) {
    const args: Array<Arg> = ["1", keys.queue(queue)]
    for (const { as, id } of letters.slice(start, start + maxBatch)) {
      if (as === "drop") args.push("drop", id, "", "", "", "", "")
      else {
        args.push("as", id, ...Due.encode(as), Due.keyOf(as), Due.toBytes(as))
      }
    }
    // a repeat would answer that the letter is missing
    const request = { operation, queue, command: "evalsha", script, args, repeatable: false }
    // the three names that the script writes
    for (const answer of yield* link.call(request, (reply) => (reply as ReadonlyArray<Buffer>).map(String))) {
      answers.push(answer as Redriven)
    }
  }
  return answers
})
