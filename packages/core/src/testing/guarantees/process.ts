/**
 * A worker with a connection of its own, as a process has one: it can be
 * killed, cut off and told to stop.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Transport } from "../../Transport.ts"
import { StopNow, Worker } from "../../Worker.ts"
import * as Faults from "../Faults.ts"
import type { Journal } from "./journal.ts"

export interface Process {
  readonly id: string
  readonly worker: Worker["Service"]
  /** Breaks the connection of this worker only. */
  readonly faults: Faults.Faults
  /** `kill -9`: the broker hears nothing more of it, and its handlers leave no more traces. */
  readonly crash: Effect.Effect<void>
  /** The first signal: drains. Ends when the worker has. */
  readonly shutdown: Effect.Effect<void>
  /** The second signal: ends the grace period. */
  readonly stopNow: Effect.Effect<void>
}

export const start = Effect.fnUntraced(function*<E>(options: {
  readonly transport: Transport["Service"]
  readonly journal: Journal
  readonly id: string
  readonly layer: Layer.Layer<Worker, E, Transport>
}): Effect.fn.Return<Process, E> {
  const { id, journal, transport } = options
  const faults = Faults.make(transport)
  const stop = yield* Deferred.make<void>()
  const scope = yield* Scope.make()
  const services = yield* Layer.buildWithScope(options.layer, scope).pipe(
    Effect.provideService(Transport, faults.transport),
    Effect.provideService(StopNow, Deferred.await(stop)),
    Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
  )
  let closing: Fiber.Fiber<void> | undefined
  return {
    id,
    worker: Context.get(services, Worker),
    faults,
    crash: Effect.andThen(Effect.sync(() => journal.crash(id)), faults.crash(id)),
    shutdown: Effect.gen(function*() {
      closing ??= yield* Effect.forkDetach(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* Fiber.join(closing)
    }),
    stopNow: Effect.asVoid(Deferred.succeed(stop, undefined))
  }
})
