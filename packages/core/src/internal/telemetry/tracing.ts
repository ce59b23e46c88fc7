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
import { type Attributes, attributes as names } from "./names.ts"

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

// a class: a client makes one per call, and closures would cost more than the spans
class ContextTracing implements Tracing {
  readonly #tracer: Tracer.Tracer
  readonly #clock: Clock.Clock
  readonly #isTimed: boolean
  readonly #own: Readonly<Record<string, unknown>>
  readonly #links: ReadonlyArray<Tracer.SpanLink>
  readonly #isWanted: boolean

  constructor(context: Context.Context<never>, tracer: Tracer.Tracer) {
    this.#tracer = tracer
    this.#clock = Context.get(context, Clock.Clock)
    this.#isTimed = Context.get(context, References.TracerTimingEnabled)
    this.#own = Context.get(context, References.TracerSpanAnnotations)
    this.#links = Context.get(context, References.TracerSpanLinks)
    const least = Context.get(context, Tracer.MinimumTraceLevel)
    this.#isWanted = least === "All" || !LogLevel.isGreaterThan(least, Context.get(context, Tracer.CurrentTraceLevel))
  }

  begin({ attributes, kind, links, name, parent }: SpanOptions): Tracer.Span {
    const span = this.#tracer.span({
      name,
      kind,
      parent: parent === undefined ? Option.none() : Option.some(parent),
      annotations: Context.add(Context.empty(), StartAttributes, attributes),
      links: this.#links.length === 0 ? links : [...this.#links, ...links],
      // the time is dear, and whoever samples this all the same takes it himself
      startTime: parent?.sampled === false ? 0n : this.now(),
      // a call may have surroundings that only the tracer knows, such as the request of an instrumented server
      root: parent === undefined && kind === "consumer",
      sampled: this.#isWanted && parent?.sampled !== false
    })
    if (span.sampled) {
      setAll(span, this.#own)
      if (!span.attributes.has(names.system)) setAll(span, attributes)
    }
    return span
  }

  now(): bigint {
    return this.#isTimed ? this.#clock.currentTimeNanosUnsafe() : 0n
  }

  end(span: Tracer.Span, exit: Exit.Exit<unknown, unknown>): void {
    // nobody sees when one ends that is not sampled, and the time is dear
    span.end(span.sampled ? this.now() : 0n, exit)
  }
}

/** Effect's own tracer keeps spans for nobody. */
const listens = (tracer: Tracer.Tracer | undefined): tracer is Tracer.Tracer =>
  tracer !== undefined && tracer !== Tracer.nativeTracer

/** Of a worker. `undefined` if nobody listens. */
export const ofContext = (context: Context.Context<never>): Tracing | undefined => {
  const tracer = Context.getOrUndefined(context, Tracer.Tracer)
  return listens(tracer) && Context.get(context, References.TracerEnabled)
    ? new ContextTracing(context, tracer)
    : undefined
}

/** Of calls: the caller's tracer, or else that of the client. `undefined` if nobody listens. */
export const ofCallers = (own: Context.Context<never>) => {
  const fallback = Context.getOrUndefined(own, Tracer.Tracer)
  // most calls come from the caller of the call before
  let last: { readonly context: Context.Context<never>; readonly tracing: Tracing } | undefined
  return ({ cache, context }: Fiber.Fiber<unknown, unknown>): Tracing | undefined => {
    if (last?.context === context) return last.tracing
    const tracer = cache.tracer ?? fallback
    if (!listens(tracer) || !cache.tracerEnabled) return undefined
    last = { context, tracing: new ContextTracing(context, tracer) }
    return last.tracing
  }
}

/** The nearest span that may have children elsewhere. */
export const propagating = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  for (let one = span; one !== undefined;) {
    if (!Context.get(one.annotations, Tracer.DisablePropagation)) return one
    one = one._tag === "Span" ? Option.getOrUndefined(one.parent) : undefined
  }
  return undefined
}
