/**
 * Holds a lock that was taken: renews it, notices its loss, gives it back.
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import type { TransportError } from "../../TransportError.ts"
import { monotonic } from "../monotonic.ts"
import { lockTopic } from "./row.ts"
import * as Take from "./take.ts"

/** ms between two looks of a contender: announcements of a release may be lost. */
const lookEvery = 5_000

/** ms that a release is tried for while the broker is away. */
const releasePatience = 5_000

const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

const patiently = <A, R>(effect: Effect.Effect<A, TransportError, R>) =>
  Effect.retry(effect, { while: (error) => error.reason._tag === "Unavailable", schedule: backoff })

/** Why the lock is no longer ours. */
export type Loss = "taken over" | "not renewed in time"

export interface Hold {
  readonly token: number
  /** Completes when the lock is lost. */
  readonly lost: Deferred.Deferred<Loss>
}

const release = (request: Take.Request): Effect.Effect<void> =>
  patiently(Take.giveBack(request)).pipe(
    Effect.timeoutOrElse({
      duration: Math.min(request.ttl, releasePatience),
      orElse: () => Effect.logWarning(`Lock "${request.name}" was not released: others take it after ${request.ttl} ms`)
    }),
    Effect.catch((error) => Effect.logWarning(`Lock "${request.name}" was not released`, error))
  )

/** Renews the row until it is lost. The answer says why. */
const renew = Effect.fnUntraced(function*(request: Take.Request, taken: Take.Taken) {
  const clock = yield* Clock.Clock
  const { ttl } = request
  // a contender counts a whole ttl from what it sees, which is later than what we sent: the rest is for the interruption
  const limit = ttl - ttl / 10
  let { revision, sentAt } = taken
  let wait = ttl / 3
  while (true) {
    yield* Effect.sleep(wait)
    const left = sentAt + limit - monotonic(clock)
    if (left <= 0) return "not renewed in time"
    const written = yield* Take.write(request, revision).pipe(
      Effect.timeoutOrElse({ duration: left, orElse: () => Effect.succeed("late" as const) }),
      Effect.catch((error) =>
        Effect.as(Effect.logWarning(`Lock "${request.name}" was not renewed`, error), "failed" as const)
      )
    )
    if (typeof written === "object") {
      revision = written.revision
      sentAt = written.sentAt
      wait = ttl / 3
      continue
    }
    if (written === "late") return "not renewed in time"
    if (written === undefined) {
      // a renewal whose answer was lost looks like a stranger's write, too
      const row = yield* Effect.orElseSucceed(Take.read(request), () => "unknown" as const)
      if (row === undefined) return "taken over"
      if (row !== "unknown") {
        if (row.owner !== request.owner) return "taken over"
        revision = row.revision
      }
    }
    wait = Math.min(1_000, ttl / 10, Math.max(0, sentAt + limit - monotonic(clock)))
  }
})

const hold = Effect.fnUntraced(function*(request: Take.Request, taken: Take.Taken) {
  const lost = yield* Deferred.make<Loss>()
  yield* Effect.forkScoped(
    Effect.flatMap(
      renew(request, taken),
      (loss): Effect.Effect<unknown> =>
        Effect.andThen(
          Deferred.succeed(lost, loss),
          Effect.logWarning(`Lock "${request.name}" is lost: ${loss}`)
        )
    ),
    { startImmediately: true }
  )
  return { token: taken.revision, lost }
})

/** The try may have succeeded without our knowing it. */
const orGiveBack = <A, E>(request: Take.Request, effect: Effect.Effect<A, E>) =>
  Effect.onExit(effect, (exit) => exit._tag === "Failure" ? release(request) : Effect.void)

/** Takes the lock if nobody holds it. */
export const acquireNow = (request: Take.Request): Effect.Effect<Hold | Take.Busy, TransportError, Scope> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const result = yield* orGiveBack(request, restore(Take.take(request)))
      if (result._tag === "Busy") return result
      yield* Effect.addFinalizer(() => release(request))
      return yield* hold(request, result)
    })
  )

/** Waits until nobody holds the lock. A broker that is away is waited for, too. */
export const acquire = (request: Take.Request): Effect.Effect<Hold, TransportError, Scope> => {
  const { bus } = request.transport
  const wait = Effect.scoped(Effect.gen(function*() {
    const announced = Latch.makeUnsafe(false)
    yield* patiently(bus.subscribe(lockTopic(request.name), () => void announced.openUnsafe()))
    while (true) {
      announced.closeUnsafe()
      const result = yield* patiently(Take.take(request))
      if (result._tag === "Taken") return result
      yield* Effect.raceFirst(announced.await, Effect.sleep(Math.min(lookEvery, Math.ceil(result.patience))))
    }
  }))
  const taken = Effect.flatMap(
    patiently(Take.take(request)),
    // most locks are free: then there is nobody to listen to
    (result) => result._tag === "Taken" ? Effect.succeed(result) : wait
  )
  return Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      const result = yield* orGiveBack(request, restore(taken))
      yield* Effect.addFinalizer(() => release(request))
      return yield* hold(request, result)
    })
  )
}
