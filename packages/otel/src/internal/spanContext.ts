/**
 * OpenTelemetry's context around a span, without a copy of the one around it: the API's own is a map and three closures,
 * and there are three of them per job.
 */
import * as Otel from "@opentelemetry/api"

/** Under which a context keeps its span. The API does not tell it, but writes to any context. */
const spanKey = ((): symbol => {
  let key = Symbol()
  const probe: Otel.Context = {
    getValue: () => undefined,
    setValue: (one) => {
      key = one
      return probe
    },
    deleteValue: () => probe
  }
  Otel.trace.setSpan(probe, Otel.trace.wrapSpanContext(Otel.INVALID_SPAN_CONTEXT))
  return key
})()

class ContextOfSpan implements Otel.Context {
  /** None of ours: chains would grow with the depth of spans. */
  readonly base: Otel.Context
  readonly span: Otel.Span

  constructor(base: Otel.Context, span: Otel.Span) {
    this.base = base
    this.span = span
  }

  getValue(key: symbol): unknown {
    return key === spanKey ? this.span : this.base.getValue(key)
  }

  setValue(key: symbol, value: unknown): Otel.Context {
    return this.copied.setValue(key, value)
  }

  deleteValue(key: symbol): Otel.Context {
    return this.copied.deleteValue(key)
  }

  private get copied(): Otel.Context {
    return Otel.trace.setSpan(this.base, this.span)
  }
}

/** As `trace.setSpan`. */
export const setSpan = (around: Otel.Context, span: Otel.Span): Otel.Context =>
  new ContextOfSpan(around instanceof ContextOfSpan ? around.base : around, span)

/** As `trace.setSpanContext` on the root context. */
export const ofSpanContext = (spanContext: Otel.SpanContext): Otel.Context =>
  new ContextOfSpan(Otel.ROOT_CONTEXT, Otel.trace.wrapSpanContext(spanContext))
