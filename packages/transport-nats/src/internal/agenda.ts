/**
 * Due times of jobs, in buckets.
 *
 * A due time is stored before the row that names its sequence: where there is a
 * row that waits, there is its due time, and it can be taken away. One whose row
 * is not there yet is kept by its bucket for `patience`; a row that comes later
 * than `timely` gets another one.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { BrokerClock } from "./clock.ts"
import * as Due from "./due.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import type * as Row from "./row.ts"
import type { Publish, Published, Streams } from "./streams.ts"

/** ms for which a bucket keeps a due time without a row. */
export const patience = 60_000

/** ms between a due time and its row. */
const timely = patience / 2

const nothing = new Uint8Array(0)

/** A due time that was stored, before its row is. */
export interface Noted {
  readonly sequence: number
  /** ms since it was sent. */
  readonly age: () => number
}

/** What a row says of its due time. */
export type Waiting = Pick<Row.Live, "nonce" | "entry" | "writtenAt">

const errorOf = (answer: Published): TransportError | undefined => {
  switch (answer._tag) {
    case "Failed":
      return answer.error
    case "Full":
      // due times have no limits of ours
      return Errors.unavailable("write a due time", answer.description)
    default:
      return undefined
  }
}

export class Agenda {
  private readonly streams: Streams
  private readonly clock: BrokerClock
  /** Buckets that are known to have an index, by subject, with the time at which they end. */
  private readonly indexed = new Map<string, number>()

  constructor(streams: Streams, clock: BrokerClock) {
    this.streams = streams
    this.clock = clock
  }

  private isIndexed(subject: string, now: number): boolean {
    return (this.indexed.get(subject) ?? 0) > now
  }

  /** An index is taken for granted when it is stored: whoever needs it meanwhile publishes it, too. */
  private remember(subject: string, bucket: number, now: number): void {
    for (const [old, end] of this.indexed) if (end <= now) this.indexed.delete(old)
    this.indexed.set(subject, (bucket + 1) * Names.bucketWidth)
  }

  /** Stores due times. One answer each. */
  note(
    names: Names.QueueNames,
    dues: ReadonlyArray<Due.Due>
  ): Effect.Effect<ReadonlyArray<Noted | TransportError>> {
    if (dues.length === 0) return Effect.succeed([])
    const now = this.clock.now()
    const age = this.clock.stopwatch()
    const messages: Array<Publish> = []
    /** Places among the messages, by bucket. */
    const indexes = new Map<number, number>()
    const places = dues.map((due) => {
      const bucket = Names.bucketOf(due.dueAt)
      if (!indexes.has(bucket)) {
        const subject = Names.index(names, bucket)
        if (!this.isIndexed(subject, now)) {
          indexes.set(bucket, messages.length)
          messages.push({ subject, bytes: nothing, expected: 0 })
        }
      }
      messages.push({ subject: Names.dues(names, bucket), bytes: Due.encode(due) })
      return { at: messages.length - 1, index: indexes.get(bucket) }
    })
    return Effect.map(this.streams.publish(messages), (answers) => {
      for (const [bucket, index] of indexes) {
        if (errorOf(answers[index]!) === undefined) this.remember(messages[index]!.subject, bucket, now)
      }
      return places.map(({ at, index }) => {
        const answer = answers[at]!
        const error = (index === undefined ? undefined : errorOf(answers[index]!)) ?? errorOf(answer)
        return error ?? { sequence: answer._tag === "Stored" ? answer.sequence : 0, age }
      })
    })
  }

  /** Whether a row that was written just now may have come too late for its due time. */
  isLate({ age }: Noted): boolean {
    return age() > timely
  }

  /** Which of these rows that wait have lost their due times: whoever wrote them stood still on the way, and died. */
  readonly missing = Effect.fnUntraced({ self: this }, function*(
    names: Names.QueueNames,
    rows: ReadonlyArray<Waiting>
  ): Effect.fn.Return<ReadonlyArray<Waiting>, TransportError> {
    if (rows.length === 0) return []
    const found = yield* this.streams.at(names.delays, rows.map(({ entry }) => entry))
    return rows.filter(({ entry, nonce, writtenAt }, index) => {
      const stored = found[index]
      return entry === 0 || stored === undefined || Due.decode(stored.bytes).nonce !== nonce ||
        writtenAt - stored.timestamp > timely
    })
  })

  /** Takes the due time of a row away. */
  readonly remove = Effect.fnUntraced({ self: this }, function*(
    names: Names.QueueNames,
    { entry, nonce }: Waiting
  ): Effect.fn.Return<void, TransportError> {
    if (entry === 0) return
    // a stream that was made anew counts anew
    const [stored] = yield* this.streams.at(names.delays, [entry])
    if (stored === undefined || Due.decode(stored.bytes).nonce !== nonce) return
    yield* this.streams.remove(names.delays, [entry])
  })

  /** Takes due times away whose rows were not written. What stays is dropped when it is due. */
  forget(names: Names.QueueNames, noted: ReadonlyArray<Noted>): Effect.Effect<void> {
    return Effect.ignore(this.streams.remove(names.delays, noted.map(({ sequence }) => sequence)))
  }
}
