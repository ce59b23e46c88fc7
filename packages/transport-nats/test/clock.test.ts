/**
 * The broker's time, measured although requests are repeated on their way.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { assert, describe, it } from "vitest"
import { BrokerClock } from "../src/internal/clock.ts"
import { tableConfig } from "../src/internal/queues.ts"
import type { Streams } from "../src/internal/streams.ts"
import { playAtPort } from "./model/play.ts"

/** The first publications arrive once more, 700 ms after their answer and before anything else is asked. */
const repeating = (streams: Streams, repeats: number): Streams => {
  let count = 0
  let last: Effect.Effect<unknown> = Effect.void
  return {
    ...streams,
    publish: (messages) => {
      last = Effect.delay(streams.publish(messages), 700)
      return streams.publish(messages)
    },
    last: (stream, subjects) =>
      Effect.andThen(Effect.suspend(() => count++ < repeats ? last : Effect.void), streams.last(stream, subjects))
  }
}

describe("The broker's clock", () => {
  for (const repeats of [0, 1, 4, 100]) {
    it(`is right although ${repeats} requests come twice`, () =>
      playAtPort(({ wire, world }) =>
        Effect.gen(function*() {
          const table = tableConfig("clock")
          yield* wire.streams.ensureStream(table)
          const clock = new BrokerClock(repeating(wire.streams, repeats), yield* Clock.Clock, table, "clock.s.t.one")
          yield* clock.measure
          assert.strictEqual(clock.now(), world.now)
        })
      ))
  }
})
