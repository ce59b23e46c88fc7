/**
 * Keeps the leases of everything in hand, and notices when one is lost: because
 * the broker says so, or because it has not answered for a whole lease.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Delivery, Subscription } from "../../JobLog.ts"
import { monotonic } from "../monotonic.ts"
import type { Held } from "./held.ts"
import type { Settings } from "./settings.ts"

export const run = (options: {
  readonly settings: Settings
  readonly queue: string
  readonly subscription: Subscription
  readonly held: Iterable<Held>
  readonly onLost: (held: Held) => void
}): Effect.Effect<never> => {
  const { held, onLost, queue, settings, subscription } = options
  const { clock, idleTimeout } = settings
  const interval = idleTimeout / 3

  const lose = (lost: ReadonlyArray<Held>) => {
    // those that wait go first: a slot that becomes free must not go to one of them
    for (const one of lost) if (one.state === "buffered") onLost(one)
    for (const one of lost) if (one.state !== "gone") onLost(one)
  }

  let checkedAt = monotonic(clock)
  /** Our own count: what was not confirmed for a lease may be with somebody else by now. */
  const dropExpired = () => {
    checkedAt = monotonic(clock)
    lose([...held].filter((one) => checkedAt - one.confirmedAt >= idleTimeout))
  }

  /** One line per outage. A heartbeat without an answer in time counts as a failure, too. */
  let failing = false
  const onFailure = (error: unknown) =>
    Effect.suspend(() => {
      if (failing) return Effect.succeedNone
      failing = true
      return Effect.as(Effect.logWarning(`Heartbeats of queue "${queue}" are not answered`, error), Option.none())
    })

  const beat = Effect.gen(function*() {
    // after a standstill our own count comes first: a heartbeat must not take back what it gives up
    dropExpired()
    const sent = [...held]
    const sentAt = monotonic(clock)
    const [first, ...others] = sent.map((one) => one.delivery)
    if (first === undefined) return
    const deliveries: NonEmptyReadonlyArray<Delivery> = [first, ...others]
    const answer = yield* subscription.extend(deliveries).pipe(
      Effect.timeout(interval),
      Effect.asSome,
      Effect.catch(onFailure)
    )
    if (Option.isNone(answer)) return
    if (failing) {
      failing = false
      yield* Effect.logInfo(`Heartbeats of queue "${queue}" are answered again`)
    }
    const ours = new Set(answer.value)
    if (settings.debug) {
      yield* Effect.logDebug("Leases renewed", { queue, renewed: ours.size, lost: sent.length - ours.size })
    }
    const lost: Array<Held> = []
    for (const one of sent) {
      if (ours.has(one.delivery)) one.confirmedAt = sentAt
      else lost.push(one)
    }
    lose(lost)
  })

  const beats = Effect.gen(function*() {
    let next = monotonic(clock)
    while (true) {
      next += interval
      yield* Effect.sleep(Math.max(0, next - monotonic(clock)))
      next = Math.max(next, monotonic(clock))
      yield* beat
    }
  })

  /** When the first lease in hand ends by our own count. Whatever comes into our hands later, ends later than a beat. */
  const firstEnd = () => {
    let first = checkedAt + interval
    for (const one of held) {
      const end = one.confirmedAt + idleTimeout
      // one whose end was noticed stays in hand until its settlement is answered: it must not keep us awake
      if (end > checkedAt) first = Math.min(first, end)
    }
    return first
  }

  // apart from the beats: a lease also ends while a heartbeat waits for its answer
  const count = Effect.gen(function*() {
    while (true) {
      const expectedAt = firstEnd()
      yield* Effect.sleep(Math.max(0, expectedAt - monotonic(clock)))
      const late = monotonic(clock) - expectedAt
      if (late >= idleTimeout) {
        yield* Effect.logWarning(
          `This process stood still for ${late} ms, longer than the lease of ${idleTimeout} ms of queue "${queue}": ` +
            `its jobs may run elsewhere now. Move blocking work off the event loop or raise idleTimeout.`
        )
      }
      dropExpired()
    }
  })

  return Effect.andThen(Effect.all([count, beats], { concurrency: "unbounded", discard: true }), Effect.never)
}
