/**
 * What a backend of OpenTelemetry got of the service.
 */
import type { Backend } from "../otel/e2e/backend.ts"

export { startBackend } from "../otel/e2e/backend.ts"

/**
 * Spans of this name, each with all above it in its trace, from the first: `service: name`. The client of the tests sends
 * its trace along and exports nothing.
 */
export const pathsTo = async (backend: Backend, name: string): Promise<ReadonlyArray<ReadonlyArray<string>>> => {
  const spans = await backend.spans()
  const above = (span: typeof spans[number] | undefined): ReadonlyArray<string> => {
    if (span === undefined) return ["the client"]
    const { attributes, name, parentSpanId, traceId } = span
    const parent = () => spans.find((one) => one.spanId === parentSpanId && one.traceId === traceId)
    return [...(parentSpanId === undefined ? [] : above(parent())), `${String(attributes["service.name"])}: ${name}`]
  }
  return spans.filter((span) => span.name === name).map(above)
}
