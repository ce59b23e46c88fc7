/**
 * Effect's tracer over a tracer of OpenTelemetry's API.
 *
 * A span begins there as late as possible: when somebody asks for its identity, runs inside it, or ends it. Effect gives
 * a span its attributes just after it made it, and samplers see only those that a span begins with.
 */
import * as Otel from "@opentelemetry/api"
import * as Telemetry from "@troupe/core/Telemetry"
import * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { toAttributes, toValue } from "./attributes.ts"
import { AttributesView } from "./attributesView.ts"
import * as Current from "./currentContext.ts"
import * as Outcome from "./outcome.ts"
import { setSpan } from "./spanContext.ts"
import { followsParents, Unrecorded, UnsampledBelow } from "./unsampledContext.ts"

const kinds: Record<Tracer.SpanKind, Otel.SpanKind> = {
  internal: Otel.SpanKind.INTERNAL,
  server: Otel.SpanKind.SERVER,
  client: Otel.SpanKind.CLIENT,
  producer: Otel.SpanKind.PRODUCER,
  consumer: Otel.SpanKind.CONSUMER
}

type Options = Parameters<Tracer.Tracer["span"]>[0]

const billion = 1_000_000_000n

/** 0 where timing is switched off: then OpenTelemetry takes the time itself. */
const toTime = (nanos: bigint): Otel.HrTime | undefined =>
  nanos === 0n ? undefined : [Number(nanos / billion), Number(nanos % billion)]

const toLink = ({ attributes, span }: Tracer.SpanLink): Otel.Link => ({
  context: Current.spanContextOf(span),
  attributes: toAttributes(attributes)
})

/** What a span begins with. Most jobs have a link to their parent. */
const linksOf = (
  links: ReadonlyArray<Tracer.SpanLink>,
  parent: Tracer.AnySpan | undefined,
  around: Otel.Context
): Array<Otel.Link> =>
  links.map((link) => {
    const isParent = link.span._tag === "ExternalSpan" && link.span === parent
    const known = isParent ? Otel.trace.getSpanContext(around) : undefined
    return known === undefined ? toLink(link) : { context: known, attributes: toAttributes(link.attributes) }
  })

const contextAround = (parent: Tracer.AnySpan | undefined, root: boolean): Otel.Context =>
  root ? Otel.ROOT_CONTEXT : parent === undefined ? Otel.context.active() : Current.contextUnder(parent)

const isSampled = (span: Otel.Span): boolean => (span.spanContext().traceFlags & Otel.TraceFlags.SAMPLED) !== 0

class BridgeSpan implements Current.WithContext, Telemetry.SurroundingSpan {
  readonly _tag = "Span"
  readonly name: string
  readonly parent: Option.Option<Tracer.AnySpan>
  annotations: Context.Context<never>
  readonly links: Array<Tracer.SpanLink>
  readonly kind: Tracer.SpanKind
  status: Tracer.SpanStatus
  private readonly tracer: Otel.Tracer
  private readonly options: Options
  /** Those that core gave it at the start: shared, not to be written to. */
  private readonly start: Readonly<Record<string, unknown>>
  /** Those that came later. */
  private own: Otel.Attributes | undefined = undefined
  private span: Otel.Span | undefined = undefined
  private context: Otel.Context | undefined = undefined
  private outside: Otel.Context = Otel.ROOT_CONTEXT

  constructor(tracer: Otel.Tracer, options: Options, around?: Otel.Context, begun?: Otel.Span) {
    this.tracer = tracer
    this.options = options
    this.name = options.name
    this.parent = options.parent
    this.annotations = options.annotations
    this.links = options.links
    this.kind = options.kind
    this.status = { _tag: "Started", startTime: options.startTime }
    this.start = Context.get(options.annotations, Telemetry.StartAttributes)
    if (around !== undefined && begun !== undefined) this.keep(around, begun)
  }

  private get begun(): Otel.Span {
    if (this.span !== undefined) return this.span
    const { kind, links, name, root, sampled, startTime } = this.options
    const parent = Option.getOrUndefined(this.options.parent)
    const around = contextAround(parent, root)
    const span = sampled || parent?.sampled === false
      ? this.tracer.startSpan(name, {
        kind: kinds[kind],
        attributes: this.own === undefined ? toAttributes(this.start) : { ...toAttributes(this.start), ...this.own },
        links: linksOf(links, root ? undefined : parent, around),
        startTime: toTime(startTime)!
      }, around)
      // below the level of traces: not even the sampler is asked
      : Otel.trace.wrapSpanContext({
        ...(Otel.trace.getSpanContext(around) ?? Otel.INVALID_SPAN_CONTEXT),
        traceFlags: Otel.TraceFlags.NONE
      })
    return this.keep(around, span)
  }

  private keep(around: Otel.Context, span: Otel.Span): Otel.Span {
    this.context = setSpan(around, span)
    this.annotations = Current.withState(this.annotations, span)
    return this.span = span
  }

  get otelContext(): Otel.Context {
    if (this.context === undefined) void this.begun
    return this.context!
  }

  enter<A>(run: () => A): A {
    this.outside = Otel.context.active()
    return Otel.context.with(this.otelContext, run)
  }

  leave<A>(run: () => A): A {
    return Otel.context.active() === this.outside ? run() : Otel.context.with(this.outside, run)
  }

  get spanId(): string {
    return this.begun.spanContext().spanId
  }

  get traceId(): string {
    return this.begun.spanContext().traceId
  }

  get sampled(): boolean {
    return isSampled(this.begun)
  }

  get attributes(): ReadonlyMap<string, unknown> {
    return new AttributesView(this.own === undefined ? this.start : { ...this.start, ...this.own })
  }

  attribute(key: string, value: unknown): void {
    if (this.status._tag === "Ended" || value === undefined) return
    if (this.span?.isRecording() === false) return
    const converted = toValue(value)
    this.own ??= {}
    this.own[key] = converted
    this.span?.setAttribute(key, converted)
  }

  event(name: string, time: bigint, attributes?: Record<string, unknown>): void {
    if (this.status._tag === "Ended" || !this.begun.isRecording()) return
    this.begun.addEvent(name, attributes && toAttributes(attributes), toTime(time))
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    if (this.status._tag === "Ended") return
    for (const link of links) this.links.push(link)
    if (this.span?.isRecording()) this.span.addLinks(links.map(toLink))
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    const span = this.begun
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
    if (!span.isRecording()) return
    const time = toTime(endTime)
    const failure = Outcome.failureOf(exit)
    if (failure !== undefined) {
      span.setStatus({ code: Otel.SpanStatusCode.ERROR, message: failure.message })
      if ((this.own?.[Outcome.errorTypeAttribute] ?? this.start[Outcome.errorTypeAttribute]) === undefined) {
        span.setAttribute(Outcome.errorTypeAttribute, failure.type)
      }
      for (const error of failure.errors) span.recordException(error, time)
    } else if (Outcome.isInterruption(exit)) {
      span.setAttribute(Outcome.interruptedAttribute, true)
    }
    span.end(time)
  }
}

/** What a span of core begins with. The time is taken if the SDK asks for it, as it does to record the span. */
class CoreStart implements Otel.SpanOptions {
  readonly kind: Otel.SpanKind
  readonly attributes: Otel.Attributes
  readonly links: Array<Otel.Link>
  private readonly start: Telemetry.SpanStart
  private made: Options | undefined = undefined

  constructor(start: Telemetry.SpanStart, around: Otel.Context) {
    this.kind = kinds[start.kind]
    this.attributes = start.attributes
    this.links = linksOf(start.links, start.root ? undefined : start.parent, around)
    this.start = start
  }

  get options(): Options {
    return this.made ??= this.start.options()
  }

  get startTime(): Otel.TimeInput {
    return toTime(this.options.startTime)!
  }
}

/** All that a span of core says at its start is known: nothing is to be waited for. */
const begin = (tracer: Otel.Tracer, start: Telemetry.SpanStart): Tracer.Span => {
  const around = contextAround(start.parent, start.root)
  const options = new CoreStart(start, around)
  const span = tracer.startSpan(start.name, options, around)
  return span.isRecording() || isSampled(span)
    ? new BridgeSpan(tracer, options.options, around, span)
    : new Unrecorded(start, around, span)
}

export const make = (tracer: Otel.Tracer): Telemetry.LazyTracer => {
  const follows = followsParents(tracer)
  return {
    ...Tracer.make({
      span: (options) =>
        follows && !options.root && Option.isSome(options.parent) && !options.parent.value.sampled
          ? new UnsampledBelow(options, options.parent.value)
          : new BridgeSpan(tracer, options),
      context: Current.run
    }),
    spanLazily: (start) =>
      follows && start.parent?.sampled === false
        ? new UnsampledBelow(start, start.parent)
        // below the level of traces
        : !start.sampled && start.parent?.sampled !== false
        ? new BridgeSpan(tracer, start.options())
        : begin(tracer, start)
  }
}
