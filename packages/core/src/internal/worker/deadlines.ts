/**
 * Time limits of all running attempts behind one sleeping fiber.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { ShortLivedMap } from "../../ShortLived.ts"
import { monotonic } from "../monotonic.ts"
import type { Held } from "./held.ts"

export interface Deadlines {
  /** `at`: ms on the monotonic clock: a step of the wall clock moves no time limit. */
  readonly add: (held: Held, at: number) => void
  readonly remove: (held: Held) => void
  /** Nothing is due any more: a sleeper would keep the process of a closed worker alive. */
  readonly close: () => void
}

export const make = (options: {
  readonly clock: Clock.Clock
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly onDeadline: (held: Held) => void
}): Deadlines => {
  const deadlines = new ShortLivedMap<Held, number>()
  let sleeping: { readonly until: number; readonly fiber: Fiber.Fiber<void> } | undefined

  const wake = Effect.sync(() => {
    sleeping = undefined
    const now = monotonic(options.clock)
    let next = Number.POSITIVE_INFINITY
    for (const [held, at] of deadlines) {
      if (at > now) next = Math.min(next, at)
      else {
        deadlines.delete(held)
        options.onDeadline(held)
      }
    }
    if (next !== Number.POSITIVE_INFINITY) sleepUntil(next)
  })

  const sleepUntil = (at: number) => {
    if (sleeping !== undefined && sleeping.until <= at) return
    sleeping?.fiber.interruptUnsafe()
    const delay = Math.max(0, at - monotonic(options.clock))
    sleeping = { until: at, fiber: options.fork(Effect.andThen(Effect.sleep(delay), wake)) }
  }

  return {
    add: (held, at) => {
      deadlines.set(held, at)
      sleepUntil(at)
    },
    // the sleeper may wake for nothing once; it costs less than moving it for every job
    remove: (held) => deadlines.delete(held),
    close: () => {
      deadlines.clear()
      sleeping?.fiber.interruptUnsafe()
      sleeping = undefined
    }
  }
}
