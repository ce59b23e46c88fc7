/**
 * Priority levels: a few names, from the lowest to the highest.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"

/** Used when neither the task nor the call names a level. */
export const defaultLevel = "normal"

/**
 * The levels of this deployment, from the lowest to the highest. Producers and
 * workers must agree: a worker does not serve levels it does not know.
 */
export const Levels = Context.Reference<NonEmptyReadonlyArray<string>>("@troupe/core/Priority/Levels", {
  defaultValue: () => ["low", defaultLevel, "high"]
})
