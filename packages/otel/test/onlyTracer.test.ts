import { describe, expect, it } from "@effect/vitest"
import * as Api from "@opentelemetry/api"
import { Otel } from "@troupe/otel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

const usersTracer = Tracer.make({ span: (options) => new Tracer.NativeSpan(options) })
const users = Layer.succeed(Tracer.Tracer, usersTracer)

// nobody listens there, and these tests send nothing
const otlp = () => Otel.layerOtlp({ endpoint: "http://127.0.0.1:1", metrics: false, logs: false })

const sdk = () =>
  Otel.layerNodeSdk({ autoDetectResources: false, spanProcessors: [], metricReaders: [], logRecordProcessors: [] })

/** That of the effect under the layers, or why they do not start. */
const tracerUnder = <E>(layers: Layer.Layer<never, E>) =>
  // without an SDK there is a warning
  Effect.scoped(Effect.provide(Effect.tracer, layers)).pipe(Effect.provideService(References.MinimumLogLevel, "Error"))

const refusal = <E>(layers: Layer.Layer<never, E>) => Effect.flip(tracerUnder(layers))

describe("one tracer", () => {
  it.live("refuses the second layer, whichever they are", () =>
    Effect.gen(function*() {
      const makers = [Otel.layer, otlp, sdk] as const
      for (const first of makers) {
        for (const second of makers) {
          const error = yield* refusal(Layer.mergeAll(first(), second()))
          expect(error).toBeInstanceOf(Otel.TracerConflict)
          expect(error.message).toMatch(/^Otel\.layer\w* finds .+( beside it|already.*): an application has one tracer/)
        }
      }
    }))

  it.live("refuses one around which there is another", () =>
    Effect.gen(function*() {
      const found = "a tracer around it"
      expect(yield* refusal(Layer.provide(Otel.layer(), otlp()))).toMatchObject({ layer: "Otel.layer" })
      expect(yield* refusal(Layer.provide(otlp(), users))).toMatchObject({ layer: "Otel.layerOtlp", found })
      expect(yield* refusal(Otel.layer()).pipe(Effect.provide(users))).toMatchObject({ layer: "Otel.layer", found })
      expect(yield* refusal(Otel.layer()).pipe(Effect.withTracer(usersTracer))).toMatchObject({ found })
    }))

  it.live("takes one layer in two places as one", () =>
    Effect.gen(function*() {
      const layer = Otel.layer()
      const part = Layer.effectDiscard(Effect.void).pipe(Layer.provide(layer))
      expect(yield* tracerUnder(Layer.mergeAll(part, layer))).not.toBe(Tracer.nativeTracer)
    }))

  it.live("takes another one when the first has ended", () =>
    Effect.gen(function*() {
      const first = yield* tracerUnder(Otel.layer())
      const second = yield* tracerUnder(otlp())
      expect(second).not.toBe(first)
      expect(second).not.toBe(Tracer.nativeTracer)
    }))

  it.live("starts no SDK beside one that somebody registered", () =>
    Effect.gen(function*() {
      Api.trace.setGlobalTracerProvider(new Api.ProxyTracerProvider())
      const error = yield* refusal(sdk()).pipe(Effect.ensuring(Effect.sync(() => Api.trace.disable())))
      expect(error).toMatchObject({ _tag: "TracerConflict", layer: "Otel.layerNodeSdk" })
      expect(error.message).toContain("an SDK that is registered already")
    }))

  it.live("takes Effect's own tracer as none", () =>
    Effect.gen(function*() {
      const tracer = yield* tracerUnder(Otel.layer()).pipe(Effect.withTracer(Tracer.nativeTracer))
      expect(tracer).not.toBe(Tracer.nativeTracer)
    }))
})
