/**
 * Metrics of Troupe on a meter of OpenTelemetry.
 */
import * as Api from "@opentelemetry/api"
import { Recorder } from "@troupe/core/Telemetry"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Globals from "./internal/globals.ts"
import * as Meter from "./internal/meter.ts"

const warning =
  "No OpenTelemetry meter is registered, so no metric of Troupe is recorded. Configure a metric reader of " +
  "the SDK, start it before this layer, and see to it that there is one copy of @opentelemetry/api"

/**
 * Records `Telemetry.metrics` over the globals of `@opentelemetry/api`, with their units and the advised buckets of
 * histograms. They are then no more in Effect's registry, which no SDK reads: `PrometheusMetrics` does not see them.
 *
 * Without a meter it logs a warning, and nothing is recorded.
 */
export const layerMetrics = (): Layer.Layer<never> =>
  Layer.effect(
    Recorder,
    Effect.gen(function*() {
      if (!Globals.hasMeter()) yield* Effect.logWarning(warning)
      return Meter.make(Api.metrics.getMeter(Globals.scope))
    })
  )
