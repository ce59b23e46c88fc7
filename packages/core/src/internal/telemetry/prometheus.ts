/**
 * What Prometheus calls our metrics: with the unit and `_total`, as it calls them itself when they come by OTLP, so that
 * a dashboard does not depend on the way that the numbers came.
 */
import { type MetricDefinition, metrics } from "./metrics.ts"

const suffixOf = ({ kind, unit }: MetricDefinition): string =>
  `${unit === "s" ? "_seconds" : ""}${kind === "counter" ? "_total" : ""}`

const names = new Map<string, string>(
  Object.values(metrics).map((definition) => [definition.name, definition.name + suffixOf(definition)])
)

/** Names of others stay as they are. */
export const nameOf = (name: string): string => names.get(name) ?? name
