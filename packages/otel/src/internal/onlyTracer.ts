/**
 * One tracer per application.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Tracer from "effect/Tracer"
import { TracerConflict } from "../OtelError.ts"

/** Who provides the tracer. Layers of one application are built with one memory, in which this is one. */
class Owner extends Context.Service<Owner, { current: string | undefined }>()("@troupe/otel/TracerOwner") {}

// a constant: layers are remembered by identity
const ownerLayer = Layer.sync(Owner, () => ({ current: undefined }))

const refuse = Effect.fnUntraced(function*(layer: string) {
  const owner = yield* Owner
  if (owner.current !== undefined) {
    return yield* new TracerConflict({ layer, found: `${owner.current} beside it` })
  }
  const around = Context.getOrUndefined(yield* Effect.context<never>(), Tracer.Tracer)
  if (around !== undefined && around !== Tracer.nativeTracer) {
    return yield* new TracerConflict({ layer, found: "a tracer around it" })
  }
  owner.current = layer
  yield* Scope.addFinalizer(
    yield* Effect.scope,
    Effect.sync(() => {
      owner.current = undefined
    })
  )
})

/** The layer of a tracer. It fails where there is one already. */
export const layer = <E, R>(
  name: string,
  make: Effect.Effect<Tracer.Tracer, E, R>
): Layer.Layer<never, E | TracerConflict, Exclude<R, Scope.Scope>> =>
  Layer.effect(Tracer.Tracer, Effect.andThen(refuse(name), make)).pipe(Layer.provide(ownerLayer))
