/**
 * Spans that are not sampled: nobody will ever see them, and what is below them is in the same trace.
 */
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"

/** What is asked of a span that nobody sees. */
export interface Source {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly annotations: Context.Context<never>
}

const nothing: ReadonlyMap<string, unknown> = new Map()

const started: Tracer.SpanStatus = { _tag: "Started", startTime: 0n }

export abstract class Unsampled implements Tracer.Span {
  readonly _tag = "Span"
  readonly sampled = false
  readonly attributes = nothing
  private readonly source: Source
  private ended: Exit.Exit<unknown, unknown> | undefined = undefined
  private endTime = 0n
  private added: Array<Tracer.SpanLink> | undefined = undefined

  constructor(source: Source) {
    this.source = source
  }

  abstract readonly parent: Option.Option<Tracer.AnySpan>
  abstract readonly traceId: string
  abstract readonly spanId: string

  get status(): Tracer.SpanStatus {
    const { endTime, ended } = this
    return ended === undefined ? started : { _tag: "Ended", startTime: 0n, endTime, exit: ended }
  }

  get name(): string {
    return this.source.name
  }

  get kind(): Tracer.SpanKind {
    return this.source.kind
  }

  get annotations(): Context.Context<never> {
    return this.source.annotations
  }

  get links(): Array<Tracer.SpanLink> {
    return this.added ??= []
  }

  attribute(): void {}

  event(): void {}

  addLinks(): void {}

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.ended !== undefined) return
    this.ended = exit
    this.endTime = endTime
  }
}

/** Has the identity of its parent. */
export class UnsampledChild extends Unsampled {
  private readonly above: Tracer.AnySpan

  constructor(source: Source, above: Tracer.AnySpan) {
    super(source)
    this.above = above
  }

  get parent(): Option.Option<Tracer.AnySpan> {
    return Option.some(this.above)
  }

  get traceId(): string {
    return this.above.traceId
  }

  get spanId(): string {
    return this.above.spanId
  }
}
