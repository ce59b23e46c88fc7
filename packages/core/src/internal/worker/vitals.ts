/**
 * What a worker knows of its contact with one queue: what it does, when the
 * broker was last heard of, and whether pulls fail.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { QueueHealth, QueueState } from "../../Health.ts"
import { tick } from "./presence.ts"
import { monotonic } from "./settings.ts"

/** ms without an answer after which the broker counts as away: it is asked every second, and may be slow once. */
const silence = 3 * tick

export interface Vitals {
  /** What the worker does from now on. */
  readonly enter: (state: "starting" | "pulling" | "paused" | "draining") => void
  /** Asks the broker something, and learns from its answer that it is there. */
  readonly ask: <A, E extends Error, R>(question: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  readonly pullFailed: (why: string) => void
  /** Tried again after a failure. A pull of an empty queue does not answer: it works if it does not fail soon. */
  readonly pullsAgain: () => void
  readonly pulled: () => void
  readonly report: () => QueueHealth
}

export const make = (clock: Clock.Clock, queue: string): Vitals => {
  let does: Parameters<Vitals["enter"]>[0] = "starting"
  let answeredAt = monotonic(clock)
  let unanswered: string | undefined
  let failure: { readonly why: string; againAt: number | undefined } | undefined
  let state: QueueState = does
  let since = clock.currentTimeMillisUnsafe()

  const judge = (): { readonly state: QueueState; readonly reason?: string } => {
    if (does === "draining" || does === "starting") return { state: does }
    const quiet = monotonic(clock) - answeredAt
    if (unanswered !== undefined) return { state: "disconnected", reason: unanswered }
    if (quiet > silence) return { state: "disconnected", reason: `the broker has not answered for ${quiet} ms` }
    if (failure !== undefined) return { state: "failing", reason: failure.why }
    return { state: does }
  }

  const look = (): QueueHealth => {
    const now = judge()
    if (now.state !== state) {
      state = now.state
      const ago = state === "disconnected" ? monotonic(clock) - answeredAt : 0
      since = clock.currentTimeMillisUnsafe() - ago
    }
    return { queue, state, since, reason: now.reason }
  }

  const onAnswer = () => {
    // a silence that nobody asked about has begun, too
    look()
    answeredAt = monotonic(clock)
    unanswered = undefined
    if (failure?.againAt !== undefined && answeredAt - failure.againAt >= tick) failure = undefined
    look()
  }

  return {
    enter: (next) => {
      does = next
      look()
    },
    ask: (question) =>
      Effect.tapError(Effect.tap(question, () => Effect.sync(onAnswer)), (error) =>
        Effect.sync(() => {
          unanswered = error.message
          look()
        })),
    pullFailed: (why) => {
      failure = { why, againAt: undefined }
      look()
    },
    pullsAgain: () => {
      if (failure !== undefined) failure.againAt = monotonic(clock)
    },
    pulled: () => {
      failure = undefined
      look()
    },
    report: look
  }
}
