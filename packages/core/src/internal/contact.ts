/**
 * What a part of this process knows of its contact with the broker: when it was
 * last heard of, and whether it counts as away.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { monotonic } from "./monotonic.ts"

/** ms between two questions to the broker. */
export const askEvery = 1_000

/** ms without an answer after which the broker counts as away: it may be slow once. */
const silence = 3 * askEvery

/** What is said of that part. */
export interface Standing<State extends string> {
  readonly state: State | "disconnected"
  /** ms since the epoch by this process's clock. While disconnected: when the broker was last heard of. */
  readonly since: number
  readonly reason: string | undefined
}

export interface Contact<State extends string> {
  /** Asks the broker something, and learns from its answer that it is there. */
  readonly ask: <A, E extends Error, R>(question: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Judges anew: called when something has changed, so that `since` is right. */
  readonly look: () => Standing<State>
  /** When the broker was last heard of, ms on the monotonic clock. */
  readonly answeredAt: () => number
}

/** `judge` is told why the broker counts as away, if it does. */
export const make = <State extends string>(
  clock: Clock.Clock,
  initial: State,
  judge: (away: string | undefined) => { readonly state: State | "disconnected"; readonly reason?: string }
): Contact<State> => {
  let answeredAt = monotonic(clock)
  let unanswered: string | undefined
  let state: State | "disconnected" = initial
  let since = clock.currentTimeMillisUnsafe()

  const away = (): string | undefined => {
    if (unanswered !== undefined) return unanswered
    const quiet = monotonic(clock) - answeredAt
    return quiet > silence ? `the broker has not answered for ${quiet} ms` : undefined
  }

  const look = (): Standing<State> => {
    const now = judge(away())
    if (now.state !== state) {
      state = now.state
      const ago = state === "disconnected" ? monotonic(clock) - answeredAt : 0
      since = clock.currentTimeMillisUnsafe() - ago
    }
    return { state, since, reason: now.reason }
  }

  const onAnswer = () => {
    // a silence that nobody asked about has begun, too
    look()
    answeredAt = monotonic(clock)
    unanswered = undefined
    look()
  }

  return {
    ask: (question) =>
      Effect.tapError(Effect.tap(question, () => Effect.sync(onAnswer)), (error) =>
        Effect.sync(() => {
          unanswered = error.message
          look()
        })),
    look,
    answeredAt: () => answeredAt
  }
}
