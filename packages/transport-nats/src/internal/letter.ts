/**
 * A dead letter: the envelope of a buried job with the record that says why.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { LocatedJob } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import type { QueueNames } from "./names.ts"
import { type Found, pack, unpack } from "./row.ts"
import type { Stored } from "./streams.ts"

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
  /** As the row of the job has it. */
  readonly record: Uint8Array
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Whether this is still the row that says so, as far as it can tell. */
export const isOf = (record: Uint8Array, { row }: Found): boolean =>
  row === undefined || row._tag === "Ended" && sameBytes(row.record, record)

/** What the row of a buried job, which is not expired, says that its letter is. `id` encoded. */
export interface Outgoing {
  readonly id: string
  readonly letter: Uint8Array
}

/**
 * Writes letters as their rows say. An older letter of the id gives way. A row that changed meanwhile has the last word:
 * nothing fences a letter, and the job may have been replayed after its row was read.
 */
export const write = Effect.fnUntraced(function*(
  { nonce, rows, streams }: Context,
  names: QueueNames,
  letters: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  let open = letters
  while (open.length > 0) {
    const subjects = open.map(({ id }) => Names.letter(names, id))
    const answers = yield* streams.publish(
      // a repeat of the request that comes late must not bring back what was replayed meanwhile
      open.map(({ letter }, index) => ({ subject: subjects[index]!, bytes: letter, messageId: `l.${nonce()}` }))
    )
    const sequences: Array<number> = []
    for (const [index, answer] of answers.entries()) {
      if (answer._tag === "Failed") return yield* answer.error
      if (answer._tag !== "Stored" && answer._tag !== "Duplicate") {
        return yield* Errors.queueFull(names.queue, "dead letters have no room")
      }
      yield* streams.purge(names.mailboxes, subjects[index]!, answer.sequence)
      sequences.push(answer.sequence)
    }
    const found = yield* rows.read(names, open.map(({ id }) => id))
    const again: Array<Outgoing> = []
    for (const [index, { id, letter }] of open.entries()) {
      if (isOf(parse(letter).record, found[index]!)) continue
      const { row } = found[index]!
      if (row?._tag === "Ended" && row.letter !== undefined) again.push({ id, letter: row.letter })
      else yield* streams.purge(names.mailboxes, subjects[index]!, sequences[index]! + 1)
    }
    open = again
  }
})

const parse = (bytes: Uint8Array) => {
  const { body, header } = unpack(bytes)
  // as `encode` wrote it
  const { d, r, x } = header as Header
  return { dueAt: d, expiresAt: x, record: body.subarray(0, r), envelope: body.subarray(r) }
}

/** `undefined`: there is none any more. */
export const read = (stored: Stored | undefined, now: number): Letter | undefined => {
  if (stored === undefined) return undefined
  const { dueAt, envelope, expiresAt, record } = parse(stored.bytes)
  if (expiresAt <= now) return undefined
  return {
    sequence: stored.sequence,
    record,
    located: { place: "dead", envelope: Envelope.fromBytes(envelope), dueAt, record: JobRecord.fromBytes(record) }
  }
}
