/**
 * Records the metrics of core on a meter of OpenTelemetry's API.
 */
import type { Attributes, Meter } from "@opentelemetry/api"
import type { MetricDefinition, Recorder } from "@troupe/core/Telemetry"

type Record = (value: number, attributes: Attributes) => void

const instrument = (meter: Meter, { boundaries, description, kind, name, unit }: MetricDefinition): Record => {
  const options = { description, unit }
  switch (kind) {
    case "counter": {
      const counter = meter.createCounter(name, options)
      return (value, attributes) => counter.add(value, attributes)
    }
    case "upDownCounter": {
      const counter = meter.createUpDownCounter(name, options)
      return (value, attributes) => counter.add(value, attributes)
    }
    case "gauge": {
      const gauge = meter.createGauge(name, options)
      return (value, attributes) => gauge.record(value, attributes)
    }
    case "histogram": {
      const advice = boundaries === undefined ? {} : { advice: { explicitBucketBoundaries: [...boundaries] } }
      const histogram = meter.createHistogram(name, { ...options, ...advice })
      return (value, attributes) => histogram.record(value, attributes)
    }
  }
}

export const make = (meter: Meter): Recorder => {
  const instruments = new Map<string, Record>()
  return {
    bind: (definition, attributes) => {
      const known = instruments.get(definition.name) ?? instrument(meter, definition)
      instruments.set(definition.name, known)
      return (value) => known(value, attributes)
    }
  }
}
