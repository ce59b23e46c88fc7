/**
 * Asks the broker whether jobs are still ours: at once for all that ask in one turn.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type { Delivery, Subscription } from "../../JobLog.ts"
import type { Settings } from "./settings.ts"

const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

interface Asked {
  readonly delivery: Delivery
  readonly answer: (answer: Effect.Effect<boolean>) => void
}

/** Repeats until it is answered. */
export const make = (settings: Settings, subscription: Subscription) => {
  const fork = Effect.runForkWith(settings.context)
  let asked: Array<Asked> = []

  const extend = Effect.suspend(() => {
    const batch = asked
    asked = []
    const deliveries = batch.map(({ delivery }) => delivery)
    if (!Arr.isReadonlyArrayNonEmpty(deliveries)) return Effect.void
    return subscription.extend(deliveries).pipe(
      Effect.retry(backoff),
      Effect.orDie,
      Effect.exit,
      Effect.map((exit) => {
        const ours = new Set(Exit.isSuccess(exit) ? exit.value : [])
        for (const { answer, delivery } of batch) {
          answer(Exit.isSuccess(exit) ? Effect.succeed(ours.has(delivery)) : Effect.failCause(exit.cause))
        }
      })
    )
  })

  return (delivery: Delivery): Effect.Effect<boolean> =>
    Effect.callback<boolean>((resume) => {
      asked.push({ delivery, answer: resume })
      // everybody who is ready to ask comes along
      if (asked.length === 1) fork(Effect.andThen(Effect.yieldNow, extend))
    })
}
