/**
 * Begins and ends spans as Effect itself does, but with attributes that samplers see.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import { StartAttributes } from "../../Telemetry.ts"
import { attributes as names } from "./names.ts"

export type Attributes = Record<string, string | number | boolean>

export interface SpanOptions {
  readonly name: string
  readonly kind: Tracer.SpanKind
  /** Without one the span begins a trace. */
  readonly parent: Tracer.AnySpan | undefined
  readonly links: Array<Tracer.SpanLink>
  readonly attributes: Attributes
}

export interface Tracing {
  readonly begin: (options: SpanOptions) => Tracer.Span
  readonly now: () => bigint
  readonly end: (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>) => void
}

const setAll = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>>) => {
  for (const name in attributes) span.attribute(name, attributes[name])
}

const make = (context: Context.Context<never>, tracer: Tracer.Tracer): Tracing => {
  const clock = Context.get(context, Clock.Clock)
  const isTimed = Context.get(context, References.TracerTimingEnabled)
  const own = Context.get(context, References.TracerSpanAnnotations)
  const links = Context.get(context, References.TracerSpanLinks)
  const level = Context.get(context, Tracer.CurrentTraceLevel)
  const isWanted = !LogLevel.isGreaterThan(Context.get(context, Tracer.MinimumTraceLevel), level)
  const now = () => isTimed ? clock.currentTimeNanosUnsafe() : 0n
  return {
    begin: (options) => {
      const { attributes, kind, name, parent } = options
      const span = tracer.span({
        name,
        kind,
        parent: parent === undefined ? Option.none() : Option.some(parent),
        annotations: Context.add(Context.empty(), StartAttributes, attributes),
        links: links.length === 0 ? options.links : [...links, ...options.links],
        startTime: now(),
        // a call may have surroundings that only the tracer knows, such as the request of an instrumented server
        root: parent === undefined && kind === "consumer",
        sampled: isWanted && parent?.sampled !== false
      })
      if (span.sampled) {
        setAll(span, own)
        if (!span.attributes.has(names.system)) setAll(span, attributes)
      }
      return span
    },
    now,
    end: (span, exit) => span.end(now(), exit)
  }
}

/** Effect's own tracer keeps spans for nobody. */
const listens = (tracer: Tracer.Tracer | undefined): tracer is Tracer.Tracer =>
  tracer !== undefined && tracer !== Tracer.nativeTracer

/** Of a worker. `undefined` if nobody listens. */
export const ofContext = (context: Context.Context<never>): Tracing | undefined => {
  const tracer = Context.getOrUndefined(context, Tracer.Tracer)
  return listens(tracer) && Context.get(context, References.TracerEnabled) ? make(context, tracer) : undefined
}

/** Of a call: the caller's tracer, or else that of the client. `undefined` if nobody listens. */
export const ofFiber = (
  { cache, context }: Fiber.Fiber<unknown, unknown>,
  fallback: Tracer.Tracer | undefined
): Tracing | undefined => {
  const tracer = cache.tracer ?? fallback
  return listens(tracer) && cache.tracerEnabled ? make(context, tracer) : undefined
}

/** The nearest span that may have children elsewhere. */
export const propagating = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  for (let one = span; one !== undefined;) {
    if (!Context.get(one.annotations, Tracer.DisablePropagation)) return one
    one = one._tag === "Span" ? Option.getOrUndefined(one.parent) : undefined
  }
  return undefined
}
