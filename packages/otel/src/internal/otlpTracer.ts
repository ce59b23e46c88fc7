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

/** Of all trace ids, this share begins below it. */
const wholeRange = 2 ** 32

/** A trace that begins here is sampled by its id; whatever has a parent follows it. */
const isSampled = (options: Options, traceId: string, ratio: number): boolean => {
  if (Option.isSome(options.parent)) return options.sampled
  return options.sampled && (ratio >= 1 || parseInt(traceId.slice(-8), 16) < ratio * wholeRange)
}

const nothing: Record<string, unknown> = Object.freeze({})
const noEvents: Array<WireEvent> = []

class OtlpSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly annotations: Context.Context<never>
  readonly links: Array<Tracer.SpanLink>
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId: string = Hex.random(16)
  readonly sampled: boolean
  status: Tracer.SpanStatus
  /** Of what is not sampled nothing is written to them. */
  private readonly values: Record<string, unknown>
  private readonly events: Array<WireEvent>
  private readonly push: (span: WireSpan) => void

  constructor(options: Options, ratio: number, push: (span: WireSpan) => void) {
    this.name = options.name
    this.parent = options.parent
    this.annotations = options.annotations
    this.links = options.links
    this.kind = options.kind
    this.traceId = Option.isSome(options.parent) ? options.parent.value.traceId : Hex.random(32)
    this.sampled = isSampled(options, this.traceId, ratio)
    this.status = { _tag: "Started", startTime: options.startTime }
    this.push = push
    this.values = this.sampled ? { ...Context.get(options.annotations, Telemetry.StartAttributes) } : nothing
    this.events = this.sampled ? [] : noEvents
  }

  get attributes(): ReadonlyMap<string, unknown> {
    return new AttributesView(this.values)
  }

  attribute(key: string, value: unknown): void {
    if (this.sampled && this.status._tag === "Started") this.values[key] = value
  }

  event(name: string, time: bigint, attributes: Record<string, unknown> = {}): void {
    if (!this.sampled || this.status._tag === "Ended") return
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
    if (this.sampled) this.push(this.toWire(startTime, endTime, exit))
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

/** `ratio` of the traces that begin here are sampled. */
export const make = (ratio: number, push: (span: WireSpan) => void): Tracer.Tracer =>
  Tracer.make({ span: (options) => new OtlpSpan(options, ratio, push) })
