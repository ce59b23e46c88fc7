/**
 * Spans that are not sampled: below one that is not, without a call of the SDK where its sampler would say no to all of
 * them; and those of which the SDK itself says so.
 */
import * as Otel from "@opentelemetry/api"
import type * as Telemetry from "@troupe/core/Telemetry"
import type * as Context from "effect/Context"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import * as Current from "./currentContext.ts"
import { setSpan } from "./spanContext.ts"
import { type Source, Unsampled } from "./unsampled.ts"

const never = ["remoteParentNotSampled=AlwaysOffSampler,", "localParentNotSampled=AlwaysOffSampler}"]

/**
 * Whether the sampler behind a tracer does as a parent that is not sampled. Samplers say so by name, which the SDK's
 * specification asks of them; where a tracer keeps its sampler is the SDK's own matter: one that is not found is asked.
 */
export const followsParents = (tracer: Otel.Tracer): boolean => {
  const name = "_sampler" in tracer ? String(tracer._sampler) : ""
  return name.startsWith("ParentBased{") && never.every((part) => name.includes(part))
}

abstract class Surrounding extends Unsampled implements Current.WithContext, Telemetry.SurroundingSpan {
  private context: Otel.Context | undefined = undefined
  private outside: Otel.Context = Otel.ROOT_CONTEXT

  protected abstract makeContext(): Otel.Context

  get otelContext(): Otel.Context {
    return this.context ??= this.makeContext()
  }

  enter<A>(run: () => A): A {
    this.outside = Otel.context.active()
    return Otel.context.with(this.otelContext, run)
  }

  leave<A>(run: () => A): A {
    return Otel.context.active() === this.outside ? run() : Otel.context.with(this.outside, run)
  }
}

/** Has the identity of its parent. */
export class UnsampledBelow extends Surrounding {
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

  protected makeContext(): Otel.Context {
    return Current.contextUnder(this.above)
  }
}

/** A span of core that the SDK does not record: of it there is its identity. */
export class Unrecorded extends Surrounding {
  private readonly start: Telemetry.SpanStart
  private readonly around: Otel.Context
  private readonly span: Otel.Span

  constructor(start: Telemetry.SpanStart, around: Otel.Context, span: Otel.Span) {
    super(start)
    this.start = start
    this.around = around
    this.span = span
  }

  get parent(): Option.Option<Tracer.AnySpan> {
    return Option.fromUndefinedOr(this.start.parent)
  }

  get traceId(): string {
    return this.span.spanContext().traceId
  }

  get spanId(): string {
    return this.span.spanContext().spanId
  }

  override get annotations(): Context.Context<never> {
    return Current.withState(super.annotations, this.span)
  }

  protected makeContext(): Otel.Context {
    return setSpan(this.around, this.span)
  }
}
