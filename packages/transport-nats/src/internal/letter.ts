/**
 * A dead letter: the envelope of a buried job with the record that says why.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { LocatedJob } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { QueueNames } from "./names.ts"
import { pack, unpack } from "./row.ts"
import type { Publish, Stored, Streams } from "./streams.ts"

interface Header {
  /** When its time is over, ms since the epoch by the broker's clock. */
  readonly x: number
  readonly d: number
  /** Length of the record. */
  readonly r: number
}

export const encode = (options: {
  readonly expiresAt: number
  readonly dueAt: number
  readonly record: Uint8Array
  readonly envelope: Uint8Array
}): Uint8Array =>
  pack(
    { x: options.expiresAt, d: options.dueAt, r: options.record.length } satisfies Header,
    options.record,
    options.envelope
  )

export interface Letter {
  readonly located: LocatedJob
  readonly sequence: number
}

/** An older letter of the id gives way. */
export const write = Effect.fnUntraced(function*(
  streams: Streams,
  names: QueueNames,
  letters: ReadonlyArray<Publish>
): Effect.fn.Return<void, TransportError> {
  if (letters.length === 0) return
  const answers = yield* streams.publish(letters)
  for (const [index, answer] of answers.entries()) {
    if (answer._tag === "Failed") return yield* answer.error
    if (answer._tag !== "Stored") return yield* Errors.queueFull(names.queue, "dead letters have no room")
    yield* streams.purge(names.mailboxes, letters[index]!.subject, answer.sequence)
  }
})

/** `undefined`: there is none any more. */
export const read = (stored: Stored | undefined, now: number): Letter | undefined => {
  if (stored === undefined) return undefined
  const { body, header } = unpack(stored.bytes)
  // as `encode` wrote it
  const { d, r, x } = header as Header
  if (x <= now) return undefined
  return {
    sequence: stored.sequence,
    located: {
      place: "dead",
      envelope: Envelope.fromBytes(body.subarray(r)),
      dueAt: d,
      record: JobRecord.fromBytes(body.subarray(0, r))
    }
  }
}
