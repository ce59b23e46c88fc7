/**
 * Streams of events do not end by themselves: they end when the process begins
 * to stop, before its server waits for the requests under way.
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

export class Closing extends Context.Service<Closing, Deferred.Deferred<void>>()("app/Closing") {
  static readonly layer = Layer.effect(this, Deferred.make<void>())

  /** Over the server: what is built last is told first. */
  static readonly announced = Layer.effectDiscard(
    Effect.flatMap(Closing, (closing) => Effect.addFinalizer(() => Deferred.succeed(closing, undefined)))
  )
}

/** Ends the stream when the process begins to stop. */
export const endAtClose = (closing: Closing["Service"]) => Stream.interruptWhen(Deferred.await(closing))
