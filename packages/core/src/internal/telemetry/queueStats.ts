/**
 * How long a queue is. Every worker asks: none of them is special, and the number is the same.
 */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Settings } from "../worker/settings.ts"
import { metrics } from "./metrics.ts"
import * as Names from "./names.ts"
import * as Series from "./series.ts"

const states = ["scheduled", "queued", "running", "dead"] as const

/** Asks at once, and then again and again. A broker that does not answer leaves the last numbers. */
export const poll = (settings: Settings, queue: string): Effect.Effect<void, never, Scope> => {
  const { queueStatsInterval, recorder, transport } = settings
  if (!(queueStatsInterval > 0 && Number.isFinite(queueStatsInterval))) return Effect.void
  const bind = Series.binder(recorder, Series.labelsOf(transport.name, queue))
  const depths = states.map((state) => [state, bind(metrics.queueDepth, { [Names.attributes.state]: state })] as const)
  const oldestAge = bind(metrics.queueOldestAge)
  const look = Effect.map(transport.log.stats(queue), (stats) => {
    for (const [state, observe] of depths) observe(stats[state])
    oldestAge((stats.oldestAge ?? 0) / 1_000)
  })
  // jittered: workers that started together do not ask together
  const pause = Effect.suspend(() => Effect.sleep(settings.jittered(queueStatsInterval)))
  // nobody looks any more: an old number would be the greatest of all for as long as the process lives
  const leave = Effect.sync(() => {
    for (const [, observe] of depths) observe(0)
    oldestAge(0)
  })
  return Effect.andThen(
    Effect.addFinalizer(() => leave),
    Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(Effect.ignoreCause(look), pause))))
  )
}
