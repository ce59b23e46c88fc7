/**
 * Bytes in a stream that are no envelope: written by something else, or damaged.
 */
import * as Envelope from "@troupe/core/Envelope"
import * as Bytes from "./bytes.ts"
import type { Entry } from "./cycle.ts"
import type { Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/** `undefined` if the bytes are no envelope. */
export const tryDecode = (bytes: Buffer): Envelope.Envelope | undefined => {
  try {
    return Envelope.fromBytes(bytes)
  } catch {
    return undefined
  }
}

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> stream
 * ARGV[2] -> entry
 *
 * Answers id, "" or "k" .. key, and the bytes; false if the entry is gone.
 *
 * The id in an entry counts only if the job of that id is this entry: bytes
 * from elsewhere must not end somebody else's job.
 */
const script = Script.make(`${Lua.prelude}${Lua.read}
local stream, entry = ARGV[1], ARGV[2]
local found = call('XRANGE', P .. stream, entry, entry)[1]
if not found then return false end
local id, head, bytes = read(stream, entry, found[2])
if call('GET', P .. 't:' .. id) ~= 'q' .. entry .. ' ' .. stream then
  return { 'foreign ' .. stream .. ' ' .. entry, '', bytes }
end
return { id, string.match(head, '^%d* %d* (k.*)$') or '', bytes }
`)

/** Asks for the id of the job; calls back with an envelope around the bytes. */
export const wrap = (
  link: Link,
  base: string,
  queue: string,
  { entry, stream }: Entry,
  onWrapped: (envelope: Envelope.Envelope) => void
): void => {
  link.request({
    operation: `pull from queue "${queue}"`,
    queue,
    command: "evalsha",
    script,
    args: ["1", base, stream, entry],
    repeatable: true,
    onReply: (reply) => {
      if (reply === null) return
      const [id, key, bytes] = reply as [Buffer, Buffer, Buffer]
      onWrapped(Envelope.unreadable({
        id: Bytes.text(id),
        queue,
        // of the stream's name: the level
        priority: stream.slice(2),
        key: key.length === 0 ? undefined : Bytes.text(key).slice(1)
      }, bytes))
    },
    // it comes back with its lease
    onError: () => {}
  })
}
