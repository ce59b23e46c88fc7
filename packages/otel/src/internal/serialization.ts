/**
 * OTLP as JSON: a third of what protobuf costs in JavaScript.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as OtlpMetrics from "effect/observability/OtlpMetrics"
import { layerJson, OtlpSerialization } from "effect/observability/OtlpSerialization"

/** Effect keeps the unit of a metric in an attribute, and sends it as one, too: it would be a label of every series. */
const withoutUnits = (data: OtlpMetrics.MetricsData): OtlpMetrics.MetricsData => {
  for (const { scopeMetrics } of data.resourceMetrics) {
    for (const { metrics } of scopeMetrics) {
      for (const { gauge, histogram, sum } of metrics) {
        for (const point of (gauge ?? sum ?? histogram)?.dataPoints ?? []) {
          point.attributes = (point.attributes ?? []).filter(({ key }) => key !== "unit")
        }
      }
    }
  }
  return data
}

export const layer: Layer.Layer<OtlpSerialization> = Layer.effect(
  OtlpSerialization,
  Effect.map(OtlpSerialization, (json) => ({ ...json, metrics: (data) => json.metrics(withoutUnits(data)) }))
).pipe(Layer.provide(layerJson))
