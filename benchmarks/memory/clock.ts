/**
 * A clock that moves only when it is told to: an hour of records passes in
 * seconds, and everything that waits for a time does so in the right order.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

interface Sleeper {
  readonly at: number
  readonly resume: (effect: Effect.Effect<void>) => void
}

export interface SteppedClock extends Clock.Clock {
  /** Moves the time and wakes whoever slept until then, one after the other. */
  readonly advance: (milliseconds: number) => Effect.Effect<void>
}

export const make = (): SteppedClock => {
  let now = Date.now()
  const sleepers = new Set<Sleeper>()

  const first = (until: number): Sleeper | undefined => {
    let earliest: Sleeper | undefined
    for (const one of sleepers) if (one.at <= until && (earliest === undefined || one.at < earliest.at)) earliest = one
    return earliest
  }

  const millis = () => now
  const nanos = () => BigInt(now) * 1_000_000n
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: nanos,
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanosUnsafe: nanos,
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.callback((resume) => {
        const sleeper = { at: now + Duration.toMillis(duration), resume }
        sleepers.add(sleeper)
        return Effect.sync(() => sleepers.delete(sleeper))
      }),
    advance: Effect.fnUntraced(function*(milliseconds) {
      const end = now + milliseconds
      for (let sleeper = first(end); sleeper !== undefined; sleeper = first(end)) {
        sleepers.delete(sleeper)
        now = sleeper.at
        sleeper.resume(Effect.void)
        // a turn of the event loop: what woke up may sleep again
        yield* Effect.yieldNow
      }
      now = end
    })
  }
}
