/**
 * The broker's time without a trip to the broker: our clock and an offset.
 */
import type { TransportError } from "@troupe/core/TransportError"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { StreamConfig, Streams } from "./streams.ts"

/** How often the offset is measured, ms. */
const measureEvery = 30_000

/** ms between the bounds of a measurement that is good enough, and how often to try for one. */
const precise = 50
const maxTries = 5

const nothing = new Uint8Array(0)

export class BrokerClock {
  private readonly streams: Streams
  private readonly clock: Clock.Clock
  private readonly stream: string
  private readonly subject: string
  private readonly restore: Effect.Effect<void, TransportError>
  private offset = 0

  /** `subject`: a row of ours in the table that shows when the server stored it. */
  constructor(streams: Streams, clock: Clock.Clock, table: StreamConfig, subject: string) {
    this.streams = streams
    this.clock = clock
    this.stream = table.name
    this.restore = streams.ensureStream(table)
    this.subject = subject
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe() + this.offset
  }

  /** Answers the ms since this call: at least. One of our clocks can be set, the other may stop while the host sleeps. */
  stopwatch(): () => number {
    const { clock } = this
    const monotonic = () => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const [at, since] = [clock.currentTimeMillisUnsafe(), monotonic()]
    return () => Math.max(clock.currentTimeMillisUnsafe() - at, monotonic() - since)
  }

  /** Bounds of the offset. */
  private readonly probe = Effect.fnUntraced({ self: this }, function*(): Effect.fn.Return<
    { readonly least: number; readonly most: number },
    TransportError
  > {
    const before = this.clock.currentTimeMillisUnsafe()
    const [answer] = yield* this.streams.publish([{ subject: this.subject, bytes: nothing }])
    const after = this.clock.currentTimeMillisUnsafe()
    if (answer?._tag === "Failed") return yield* answer.error
    const [stored] = yield* this.streams.last(this.stream, [this.subject])
    if (stored === undefined) return yield* Errors.unavailable("measure the time", "the row is not there")
    // a repeat of the request came after its answer: this one says nothing
    if (answer?._tag !== "Stored" || stored.sequence !== answer.sequence) return { least: -Infinity, most: Infinity }
    // both clocks are rounded down to whole ms
    return { least: stored.timestamp - after - 1, most: stored.timestamp + 1 - before }
  })

  readonly measure: Effect.Effect<void, TransportError> = Effect.gen({ self: this }, function*() {
    let best = yield* this.probe()
    // a slow answer says little: one that was lost and asked for again nothing
    for (let tries = 1; tries < maxTries && best.most - best.least > precise; tries++) {
      const next = yield* this.probe()
      if (next.most - next.least < best.most - best.least) best = next
    }
    const { least, most } = best
    // what fits stays: no offset, too, for two clocks of one host differ by the trip alone
    if (this.offset < least || this.offset > most) this.offset = (least + most) / 2
  })

  readonly following: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(measureEvery),
      // the table may have been deleted
      Effect.ignore(Effect.catch(this.measure, () => Effect.andThen(this.restore, this.measure)))
    )
  )
}
