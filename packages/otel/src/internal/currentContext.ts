/**
 * OpenTelemetry's context while a fiber runs.
 *
 * Node keeps "the current span" in an `AsyncLocalStorage`, which follows promises and timers; an Effect program keeps it
 * in the fiber. Each step of a fiber therefore runs inside the context of the fiber's span, so that a client that is
 * instrumented finds it.
 */
import * as Otel from "@opentelemetry/api"
import { TraceState } from "@troupe/core/Telemetry"
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { ofSpanContext } from "./spanContext.ts"

/** A span that knows its context. */
export interface WithContext extends Tracer.Span {
  readonly otelContext: Otel.Context
}

const isWithContext = (span: Tracer.AnySpan): span is WithContext => "otelContext" in span

/** Of spans that are not ours, made once per span: a fiber asks at each step. */
const foreign = new WeakMap<Tracer.AnySpan, Otel.Context>()

const remoteState = (raw: string): { traceState?: Otel.TraceState } =>
  raw === "" ? {} : { traceState: Otel.createTraceState(raw) }

/** The identity of any span of Effect, as OpenTelemetry's parents and links want it. */
export const spanContextOf = (span: Tracer.AnySpan): Otel.SpanContext => {
  if (isWithContext(span)) {
    const known = Otel.trace.getSpanContext(span.otelContext)
    if (known !== undefined) return known
  }
  return {
    traceId: span.traceId,
    spanId: span.spanId,
    traceFlags: span.sampled ? Otel.TraceFlags.SAMPLED : Otel.TraceFlags.NONE,
    isRemote: span._tag === "ExternalSpan",
    ...remoteState(Context.get(span.annotations, TraceState))
  }
}

/** A sampler may have written a state of the trace; core sends it along with jobs. */
export const withState = (annotations: Context.Context<never>, span: Otel.Span): Context.Context<never> => {
  const { traceState } = span.spanContext()
  return traceState === undefined ? annotations : Context.add(annotations, TraceState, traceState.serialize())
}

/** The context in which one child of a span begins. A span that came with a job has no other: it is not remembered. */
export const contextUnder = (span: Tracer.AnySpan): Otel.Context =>
  span._tag === "ExternalSpan" ? ofSpanContext(spanContextOf(span)) : contextOf(span)

/** The context in which a fiber with this span runs. */
const contextOf = (span: Tracer.AnySpan): Otel.Context => {
  if (isWithContext(span)) return span.otelContext
  const known = foreign.get(span)
  if (known !== undefined) return known
  // a span that Effect made while tracing is off stands for the one around it
  const made = span._tag === "Span" && Context.get(span.annotations, Tracer.DisablePropagation)
    ? Option.match(span.parent, { onNone: () => Otel.ROOT_CONTEXT, onSome: contextOf })
    : ofSpanContext(spanContextOf(span))
  foreign.set(span, made)
  return made
}

type AnyFiber = Parameters<NonNullable<Tracer.Tracer["context"]>>[1]

const step = <X>(primitive: Tracer.EffectPrimitive<X>, fiber: AnyFiber): X =>
  primitive["~effect/Effect/evaluate"](fiber)

/**
 * `Tracer.context`: runs one step of a fiber.
 *
 * A fiber without a span stays in the context of its surroundings: Effect resumes it in the one in which it began, not in
 * that of the fiber which woke it. That of a handler began in the context of its span, and has nothing to enter.
 */
export const run = <X>(primitive: Tracer.EffectPrimitive<X>, fiber: AnyFiber): X => {
  const span = fiber.cache.span
  if (span === undefined) return primitive["~effect/Effect/evaluate"](fiber)
  const context = contextOf(span)
  return Otel.context.active() === context
    ? primitive["~effect/Effect/evaluate"](fiber)
    // no `this`: the context manager would bind it, at each step
    : Otel.context.with(context, step<X>, undefined, primitive, fiber)
}
