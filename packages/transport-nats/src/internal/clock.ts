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

  readonly measure: Effect.Effect<void, TransportError> = Effect.suspend(() => {
    const before = this.clock.currentTimeMillisUnsafe()
    return Effect.flatMap(this.streams.publish([{ subject: this.subject, bytes: nothing }]), ([answer]) => {
      const after = this.clock.currentTimeMillisUnsafe()
      if (answer?._tag === "Failed") return Effect.fail(answer.error)
      if (answer?._tag !== "Stored") return Effect.fail(Errors.unavailable("measure the time", String(answer?._tag)))
      return Effect.map(this.streams.last(this.stream, [this.subject]), ([stored]) => {
        if (stored === undefined) return
        // both clocks are rounded down to whole ms
        const least = stored.timestamp - after - 1
        const most = stored.timestamp + 1 - before
        // two clocks of one host differ by the trip alone: no offset is the exact one then
        this.offset = least <= 0 && most >= 0 ? 0 : (least + most) / 2
      })
    })
  })

  readonly following: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(measureEvery),
      // the table may have been deleted
      Effect.ignore(Effect.catch(this.measure, () => Effect.andThen(this.restore, this.measure)))
    )
  )
}
