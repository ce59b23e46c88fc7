/**
 * Effect's tracer over OTLP, without an SDK: a head sampler and the form of spans on the wire.
 *
 * `effect/observability` has a tracer, too. It has no sampler, calls success `Ok` and knows no `error.type`.
 */
import * as Telemetry from "@troupe/core/Telemetry"
import * as Context from "effect/Context"
import * as Hex from "effect/encoding/Hex"
import type * as Exit from "effect/Exit"
import * as OtlpResource from "effect/observability/OtlpResource"
import type * as OtlpTracer from "effect/observability/OtlpTracer"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { AttributesView } from "./attributesView.ts"
import * as Outcome from "./outcome.ts"
import { type Source, Unsampled, UnsampledChild } from "./unsampled.ts"

export type WireSpan = OtlpTracer.ScopeSpan["spans"][number]

type Options = Parameters<Tracer.Tracer["span"]>[0]
type WireEvent = WireSpan["events"][number]

const kinds: Record<Tracer.SpanKind, number> = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 }

const unset = { code: 0 } as const

const attributesOf = (record: Readonly<Record<string, unknown>>) => {
  const attributes: Array<OtlpResource.KeyValue> = []
  for (const key in record) {
    if (record[key] !== undefined) attributes.push({ key, value: OtlpResource.unknownToAttributeValue(record[key]) })
  }
  return attributes
}

const exceptionOf = (error: Error, time: string): WireEvent => ({
  name: "exception",
  timeUnixNano: time,
  attributes: attributesOf({
    "exception.type": error.name,
    "exception.message": error.message,
    "exception.stacktrace": error.stack
  }),
  droppedAttributesCount: 0
})

/** Of all trace ids, this share begins below it: their last eight digits decide. */
const wholeRange = 2 ** 32

/** `ratio` of the traces that begin here are sampled. Hexadecimal texts of one length compare as their numbers do. */
const samplerOf = (ratio: number): (traceId: string) => boolean => {
  const share = Math.max(0, Math.ceil(ratio * wholeRange))
  if (share >= wholeRange) return () => true
  const bound = share.toString(16).padStart(8, "0")
  return (traceId) => traceId.slice(-8) < bound
}

/** Begins a trace that is not sampled. */
class UnsampledRoot extends Unsampled {
  private ownTrace: string | undefined
  private ownSpan: string | undefined = undefined

  constructor(source: Source, traceId: string | undefined) {
    super(source)
    this.ownTrace = traceId
  }

  get parent(): Option.Option<Tracer.AnySpan> {
    return Option.none()
  }

  get traceId(): string {
    return this.ownTrace ??= Hex.random(32)
  }

  get spanId(): string {
    return this.ownSpan ??= Hex.random(16)
  }
}

class OtlpSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly annotations: Context.Context<never>
  readonly links: Array<Tracer.SpanLink>
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId: string = Hex.random(16)
  readonly sampled = true
  status: Tracer.SpanStatus
  private readonly values: Record<string, unknown>
  private readonly events: Array<WireEvent> = []
  private readonly push: (span: WireSpan) => void

  constructor(options: Options, traceId: string, push: (span: WireSpan) => void) {
    this.name = options.name
    this.parent = options.parent
    this.annotations = options.annotations
    this.links = options.links
    this.kind = options.kind
    this.traceId = traceId
    this.status = { _tag: "Started", startTime: options.startTime }
    this.push = push
    this.values = { ...Context.get(options.annotations, Telemetry.StartAttributes) }
  }

  get attributes(): ReadonlyMap<string, unknown> {
    return new AttributesView(this.values)
  }

  attribute(key: string, value: unknown): void {
    if (this.status._tag === "Started") this.values[key] = value
  }

  event(name: string, time: bigint, attributes: Record<string, unknown> = {}): void {
    if (this.status._tag === "Ended") return
    this.events.push({
      name,
      timeUnixNano: String(time),
      attributes: attributesOf(attributes),
      droppedAttributesCount: 0
    })
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    if (this.status._tag === "Ended") return
    for (const link of links) this.links.push(link)
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    const { startTime } = this.status
    this.status = { _tag: "Ended", startTime, endTime, exit }
    this.push(this.toWire(startTime, endTime, exit))
  }

  private toWire(startTime: bigint, endTime: bigint, exit: Exit.Exit<unknown, unknown>): WireSpan {
    const end = String(endTime)
    const failure = Outcome.failureOf(exit)
    if (failure !== undefined) {
      this.values[Outcome.errorTypeAttribute] ??= failure.type
      for (const error of failure.errors) this.events.push(exceptionOf(error, end))
    } else if (Outcome.isInterruption(exit)) {
      this.values[Outcome.interruptedAttribute] = true
    }
    return {
      traceId: this.traceId,
      spanId: this.spanId,
      parentSpanId: Option.isSome(this.parent) ? this.parent.value.spanId : undefined,
      name: this.name,
      kind: kinds[this.kind],
      startTimeUnixNano: String(startTime),
      endTimeUnixNano: end,
      attributes: attributesOf(this.values),
      droppedAttributesCount: 0,
      events: this.events,
      droppedEventsCount: 0,
      status: failure === undefined ? unset : { code: 2, message: failure.message },
      links: this.links.map(({ attributes, span }) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        attributes: attributesOf(attributes),
        droppedAttributesCount: 0
      })),
      droppedLinksCount: 0
    }
  }
}

/** `ratio` of the traces that begin here are sampled; whatever has a parent follows it. */
export const make = (ratio: number, push: (span: WireSpan) => void): Telemetry.LazyTracer => {
  const isSampled = samplerOf(ratio)
  /** The id of its trace if a span is sampled, else the span. */
  const decide = (source: Source, parent: Tracer.AnySpan | undefined, isWanted: boolean): string | Tracer.Span => {
    if (parent !== undefined) return isWanted ? parent.traceId : new UnsampledChild(source, parent)
    if (!isWanted) return new UnsampledRoot(source, undefined)
    const traceId = Hex.random(32)
    return isSampled(traceId) ? traceId : new UnsampledRoot(source, traceId)
  }
  return {
    ...Tracer.make({
      span: (options) => {
        const decided = decide(options, Option.getOrUndefined(options.parent), options.sampled)
        return typeof decided === "string" ? new OtlpSpan(options, decided, push) : decided
      }
    }),
    spanLazily: (start) => {
      const decided = decide(start, start.parent, start.sampled)
      return typeof decided === "string" ? new OtlpSpan(start.options(), decided, push) : decided
    }
  }
}
