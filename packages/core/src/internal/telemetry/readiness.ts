/**
 * How many workers of this process are ready, by queue: for alerts where nobody asks `/ready`.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { isReady } from "../../Health.ts"
import { tick } from "../worker/presence.ts"
import type { Settings } from "../worker/settings.ts"
import type { Vitals } from "../worker/vitals.ts"
import { metrics } from "./metrics.ts"
import * as Series from "./series.ts"

/** Looks every second, also while the worker drains. */
export const tell = (
  { recorder, transport }: Settings,
  queue: string,
  vitals: Vitals
): Effect.Effect<void, never, Scope> => {
  const observe = recorder.bind(metrics.workerReady, Series.labelsOf(transport.name, queue))
  let told = 0
  const say = (now: 0 | 1) =>
    Effect.sync(() => {
      // what does not change need not be said, but a series must be there to be seen
      observe(now - told)
      told = now
    })
  const look = Effect.suspend(() => say(isReady(vitals.report()) ? 1 : 0))
  return Effect.andThen(
    Effect.acquireRelease(say(0), () => say(0)),
    Effect.asVoid(Effect.forkScoped(Effect.repeat(look, Schedule.spaced(tick))))
  )
}
