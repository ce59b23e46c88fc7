/**
 * Records metrics in Effect's own registry.
 *
 * `Metric.update` looks the series up by name at each call: 40 to 65 ns. Here a series is a few numbers that are bound
 * once, and the registry asks for them when it is read.
 */
import * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { MetricDefinition } from "./metrics.ts"

type Observe = (value: number) => void

/** Series by registry: workers of one process add to the same ones. */
const known = new WeakMap<Metric.MetricRegistry, Map<string, Observe>>()

const nothing = () => {}

/** Without an update of its own: the registry only reads. */
const observed = <State>(get: () => State) => ({ get, update: nothing, modify: nothing })

const histogram = (boundaries: ReadonlyArray<number>) => {
  // most values are small: a search from the start is the fastest one
  const bounds = [...boundaries].sort((a, b) => a - b)
  const counts = new Float64Array(bounds.length + 1)
  const state = { count: 0, sum: 0, min: Number.MAX_VALUE, max: -Number.MAX_VALUE }
  return {
    record: (value: number) => {
      let bucket = 0
      while (bucket < bounds.length && value > bounds[bucket]!) bucket++
      counts[bucket]!++
      state.count++
      state.sum += value
      if (value < state.min) state.min = value
      if (value > state.max) state.max = value
    },
    get: (): Metric.HistogramState => {
      let sum = 0
      return { ...state, buckets: bounds.map((bound, bucket) => [bound, sum += counts[bucket]!]) }
    }
  }
}

const register = (
  context: Context.Context<never>,
  { boundaries, description, kind, name, unit }: MetricDefinition,
  own: Readonly<Record<string, string>>
): Observe => {
  // exporters of Effect read the unit from here
  const attributes = { ...own, unit }
  let value = 0
  switch (kind) {
    case "histogram": {
      const { get, record } = histogram(boundaries ?? [])
      const metric = Metric.histogram(name, { description, attributes, boundaries: boundaries ?? [] })
      Metric.registerUnsafe(metric, context, observed(get))
      return record
    }
    case "counter": {
      const metric = Metric.counter(name, { description, attributes, incremental: true })
      Metric.registerUnsafe(metric, context, observed(() => ({ count: value, incremental: true })))
      return (more) => {
        value += more
      }
    }
    // a counter that goes down is a gauge for Prometheus
    case "upDownCounter":
    case "gauge": {
      const metric = Metric.gauge(name, { description, attributes })
      Metric.registerUnsafe(metric, context, observed(() => ({ value })))
      if (kind === "gauge") {
        return (next) => {
          value = next
        }
      }
      return (more) => {
        value += more
      }
    }
  }
}

/** Over the registry and the common attributes of this context. */
export const make = (context: Context.Context<never>) => {
  const registry = Context.get(context, Metric.MetricRegistry)
  const common = Context.get(context, Metric.CurrentMetricAttributes)
  const series = known.get(registry) ?? new Map<string, Observe>()
  known.set(registry, series)
  return {
    bind: (definition: MetricDefinition, attributes: Readonly<Record<string, string>>): Observe => {
      const names = Object.entries({ ...common, ...attributes }).sort(([a], [b]) => a < b ? -1 : 1)
      const key = JSON.stringify([definition.name, names])
      const found = series.get(key)
      if (found !== undefined) return found
      const made = register(context, definition, attributes)
      series.set(key, made)
      return made
    }
  }
}
