/**
 * How the process tells its workers to stop without waiting.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * Ends the grace period of every worker in context as soon as it completes.
 * `runMain` completes it at the second signal.
 */
export const StopNow = Context.Reference<Effect.Effect<void>>("@troupe/core/Worker/StopNow", {
  defaultValue: () => Effect.never
})
