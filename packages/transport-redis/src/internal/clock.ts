/**
 * The broker's time without a trip to the broker: our clock and an offset.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Link } from "./link.ts"

/** How often the offset is measured, ms. */
const measureEvery = 30_000

export class BrokerClock {
  private readonly link: Link
  private offset = 0

  constructor(link: Link) {
    this.link = link
  }

  now(): number {
    return this.link.now() + this.offset
  }

  readonly measure: Effect.Effect<void, TransportError> = Effect.suspend(() => {
    const before = this.link.now()
    const request = { operation: "TIME", queue: "", command: "time", args: [], repeatable: true }
    return this.link.call(request, (reply) => {
      // TIME answers seconds and microseconds
      const [seconds, micros] = reply as [Buffer, Buffer]
      const time = Number(seconds) * 1000 + Number(micros) / 1000
      // ours is rounded down to whole ms
      const least = time - this.link.now() - 1
      const most = time - before
      // two clocks of one host differ by the trip alone: no offset is the exact one then
      this.offset = least <= 0 && most >= 0 ? 0 : (least + most) / 2
    })
  })

  readonly following: Effect.Effect<never> = Effect.forever(
    Effect.andThen(Effect.sleep(measureEvery), Effect.ignore(Effect.suspend(() => this.measure)))
  )
}
