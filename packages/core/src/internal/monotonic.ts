import type * as Clock from "effect/Clock"

/** Whole ms of a clock that never goes back. */
export const monotonic = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n)
