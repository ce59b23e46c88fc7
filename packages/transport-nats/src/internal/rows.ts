/**
 * Reads and writes the rows of ids.
 */
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { BrokerClock } from "./clock.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import * as Row from "./row.ts"
import type { Publish, Published, Streams } from "./streams.ts"

/**
 * A row that was written: its sequence, which may be 0 for a write with a `runId`, or `undefined` if somebody else was
 * first.
 */
export type Written = number | undefined

/** One attempt to write a row. `id` is encoded. */
export interface Write {
  readonly id: string
  /** What precedes the bytes, one UTF-16 unit for each. */
  readonly head?: string | undefined
  readonly bytes: Uint8Array
  readonly expected: number
  /** Of a write whose sequence nobody asks for: no other one has it, but for a repeat. */
  readonly runId?: string | undefined
}

/** What a write came to. */
const writtenOf = (answer: Published): Written | TransportError => {
  switch (answer._tag) {
    case "Stored":
    case "Duplicate":
      return answer.sequence
    case "WrongSequence":
      return undefined
    case "Failed":
      return answer.error
    case "Full":
      // rows have no limits of ours
      return Errors.unavailable("write a row", answer.description)
  }
}

export class Rows {
  private readonly streams: Streams
  private readonly clock: BrokerClock

  constructor(streams: Streams, clock: BrokerClock) {
    this.streams = streams
    this.clock = clock
  }

  /** `ids` encoded. */
  read(names: Names.QueueNames, ids: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Row.Found>, TransportError> {
    if (ids.length === 0) return Effect.succeed([])
    return Effect.map(
      this.streams.last(names.rows, ids.map((id) => Names.row(names, id))),
      (found) => {
        const now = this.clock.now()
        return found.map((stored) => Row.read(stored, now))
      }
    )
  }

  readOne(names: Names.QueueNames, id: string): Effect.Effect<Row.Found, TransportError> {
    return Effect.map(this.read(names, [id]), ([found]) => found!)
  }

  /** All at once, one answer per write. Of one that failed nobody knows whether it was written. */
  tryWrite(
    names: Names.QueueNames,
    writes: ReadonlyArray<Write>
  ): Effect.Effect<ReadonlyArray<Written | TransportError>> {
    const messages = writes.map(({ bytes, expected, head, id, runId }): Publish => ({
      subject: Names.row(names, id),
      head,
      bytes,
      expected,
      runId
    }))
    return Effect.map(this.streams.publish(messages, names.rows), (answers) => answers.map(writtenOf))
  }

  /** Fails if one of them failed. */
  write(
    names: Names.QueueNames,
    writes: ReadonlyArray<Write>
  ): Effect.Effect<ReadonlyArray<Written>, TransportError> {
    return Effect.flatMap(this.tryWrite(names, writes), (answers) => {
      const sequences: Array<Written> = []
      for (const answer of answers) {
        if (answer instanceof TransportError) return Effect.fail(answer)
        sequences.push(answer)
      }
      return Effect.succeed(sequences)
    })
  }

  /**
   * The time of these jobs has come: nobody can reschedule them any more. `place`: in a mailbox. Answers the rows as
   * they are now, `undefined` if somebody else was first.
   */
  come(
    names: Names.QueueNames,
    waiting: ReadonlyArray<{ readonly id: string; readonly row: Row.Live; readonly place: number | undefined }>
  ): Effect.Effect<ReadonlyArray<Row.Live | undefined>, TransportError> {
    const writes = waiting.map(({ id, place, row }) => ({ id, bytes: Row.due(row, place), expected: row.sequence }))
    return Effect.map(this.write(names, writes), (written) =>
      waiting.map(({ place, row }, index) => {
        const sequence = written[index]
        if (sequence === undefined) return undefined
        return {
          ...row,
          sequence,
          auth: sequence,
          waits: false,
          entry: 0,
          place: place ?? sequence,
          isFirst: place === undefined
        }
      }))
  }

  /** Gives a row up that still has this sequence. */
  giveUp(names: Names.QueueNames, id: string, sequence: number): Effect.Effect<void, TransportError> {
    return Effect.asVoid(this.write(names, [{ id, bytes: Row.gone, expected: sequence }]))
  }
}

/**
 * What a row says to a hand-out that `auth` let happen. `current`: go on.
 * `passed`: a later revision is on its way. `over`: the job has ended.
 */
export type Standing =
  | { readonly _tag: "current"; readonly sequence: number; readonly row: Row.Live | undefined }
  | { readonly _tag: "passed"; readonly row: Row.Live }
  | { readonly _tag: "over"; readonly row: Row.Ended }

export const standing = ({ row, sequence }: Row.Found, auth: number): Standing => {
  // sent without one, or its sender gave up the claim while somebody else let the job in: it has not ended
  if (row === undefined) return { _tag: "current", sequence, row }
  if (row._tag === "Ended") return { _tag: "over", row }
  return row.auth === auth ? { _tag: "current", sequence, row } : { _tag: "passed", row }
}
