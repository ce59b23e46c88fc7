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
import { type LazyTracer, type SpanStart, StartAttributes } from "../../Telemetry.ts"
import { type Attributes, attributes as names } from "./names.ts"

type Options = Parameters<Tracer.Tracer["span"]>[0]

export interface Tracing {
  readonly begin: (start: Start) => Tracer.Span
  readonly now: () => bigint
  readonly end: (span: Tracer.Span, exit: Exit.Exit<unknown, unknown>) => void
  /** Those that the surroundings give to every span come first. */
  readonly linksWith: (own: Array<Tracer.SpanLink>) => Array<Tracer.SpanLink>
  /** What `Tracer.span` takes. */
  readonly optionsOf: (start: Start) => Options
  /** The level of traces is not above that of spans here. */
  readonly isWanted: boolean
}

/** A span before it begins. What it says is made at most once, and only if somebody asks. */
export abstract class Start implements SpanStart {
  readonly kind: Tracer.SpanKind
  /** Without one the span begins a trace. */
  readonly parent: Tracer.AnySpan | undefined
  private readonly tracing: Tracing
  private made: Attributes | undefined = undefined

  constructor(tracing: Tracing, kind: Tracer.SpanKind, parent: Tracer.AnySpan | undefined) {
    this.tracing = tracing
    this.kind = kind
    this.parent = parent
  }

  abstract get name(): string

  protected abstract describe(): Attributes

  protected ownLinks(): Array<Tracer.SpanLink> {
    return []
  }

  get links(): Array<Tracer.SpanLink> {
    return this.tracing.linksWith(this.ownLinks())
  }

  get annotations(): Context.Context<never> {
    return Context.empty()
  }

  // a call may have surroundings that only the tracer knows, such as the request of an instrumented server
  get root(): boolean {
    return this.parent === undefined && this.kind === "consumer"
  }

  get sampled(): boolean {
    return this.tracing.isWanted && this.parent?.sampled !== false
  }

  get attributes(): Attributes {
    return this.made ??= this.describe()
  }

  options(): Options {
    return this.tracing.optionsOf(this)
  }
}

const setAll = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>>) => {
  for (const name in attributes) span.attribute(name, attributes[name])
}

const isLazy = (tracer: Tracer.Tracer): tracer is LazyTracer => "spanLazily" in tracer

// a class: a client makes one per call, and closures would cost more than the spans
class ContextTracing implements Tracing {
  readonly #tracer: Tracer.Tracer
  readonly #clock: Clock.Clock
  readonly #isTimed: boolean
  readonly #own: Readonly<Record<string, unknown>>
  readonly #links: ReadonlyArray<Tracer.SpanLink>
  readonly #lazy: LazyTracer | undefined
  readonly isWanted: boolean

  constructor(context: Context.Context<never>, tracer: Tracer.Tracer) {
    this.#tracer = tracer
    this.#lazy = isLazy(tracer) ? tracer : undefined
    this.#clock = Context.get(context, Clock.Clock)
    this.#isTimed = Context.get(context, References.TracerTimingEnabled)
    this.#own = Context.get(context, References.TracerSpanAnnotations)
    this.#links = Context.get(context, References.TracerSpanLinks)
    const least = Context.get(context, Tracer.MinimumTraceLevel)
    this.isWanted = least === "All" || !LogLevel.isGreaterThan(least, Context.get(context, Tracer.CurrentTraceLevel))
  }

  begin(start: Start): Tracer.Span {
    const span = this.#lazy === undefined ? this.#tracer.span(start.options()) : this.#lazy.spanLazily(start)
    if (span.sampled) {
      setAll(span, this.#own)
      if (!span.attributes.has(names.system)) setAll(span, start.attributes)
    }
    return span
  }

  linksWith(own: Array<Tracer.SpanLink>): Array<Tracer.SpanLink> {
    return this.#links.length === 0 ? own : [...this.#links, ...own]
  }

  optionsOf(start: Start): Options {
    const { kind, name, parent } = start
    return {
      name,
      kind,
      parent: parent === undefined ? Option.none() : Option.some(parent),
      annotations: Context.add(Context.empty(), StartAttributes, start.attributes),
      links: start.links,
      // the time is dear, and whoever samples this all the same takes it himself
      startTime: parent?.sampled === false ? 0n : this.now(),
      root: start.root,
      sampled: start.sampled
    }
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
