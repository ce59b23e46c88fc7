/**
 * The `tracestate` of a span that came from elsewhere.
 */
import * as Context from "effect/Context"

/** In the `annotations` of an external span: its raw `tracestate` header. Spans under it inherit it. */
export const TraceState = Context.Reference<string | undefined>("@troupe/otel/TraceState", {
  defaultValue: () => undefined
})
