/**
 * The broker's clock, without asking for it each time.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"

export interface BrokerClock {
  /** ms since the epoch by the broker's clock, as far as this process knows it. */
  readonly now: () => number
  /** Asks the broker. */
  readonly measure: Effect.Effect<void, TransportError>
}

export const make = Effect.fnUntraced(function*(transport: Transport["Service"]) {
  const clock = yield* Clock.Clock
  let offset = 0
  let isKnown = false
  const measure = Effect.suspend(() => {
    const asked = clock.currentTimeMillisUnsafe()
    return Effect.map(transport.clock, (time) => {
      // it answered at some time between question and answer: a slow answer says little
      const least = time - clock.currentTimeMillisUnsafe()
      const most = time - asked
      offset = isKnown ? Math.min(Math.max(offset, least), most) : Math.round((least + most) / 2)
      isKnown = true
    })
  })
  yield* measure
  return { now: () => clock.currentTimeMillisUnsafe() + offset, measure } satisfies BrokerClock
})
