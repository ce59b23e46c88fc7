/**
 * Spans below one that is not sampled, without a call of the SDK, where its sampler would say no to all of them.
 */
import * as Otel from "@opentelemetry/api"
import type * as Telemetry from "@troupe/core/Telemetry"
import type * as Context from "effect/Context"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import * as Current from "./currentContext.ts"

type Options = Parameters<Tracer.Tracer["span"]>[0]

const never = ["remoteParentNotSampled=AlwaysOffSampler,", "localParentNotSampled=AlwaysOffSampler}"]

/**
 * Whether the sampler behind a tracer does as a parent that is not sampled. Samplers say so by name, which the SDK's
 * specification asks of them; where a tracer keeps its sampler is the SDK's own matter: one that is not found is asked.
 */
export const followsParents = (tracer: Otel.Tracer): boolean => {
  const name = "_sampler" in tracer ? String(tracer._sampler) : ""
  return name.startsWith("ParentBased{") && never.every((part) => name.includes(part))
}

const nothing: ReadonlyMap<string, unknown> = new Map()

/** Has the identity of its parent: nobody will ever see it, and what is below it is in the same trace. */
export class Unsampled implements Current.WithContext, Telemetry.SurroundingSpan {
  readonly _tag = "Span"
  readonly name: string
  readonly parent: Option.Some<Tracer.AnySpan>
  readonly annotations: Context.Context<never>
  readonly links: Array<Tracer.SpanLink>
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId: string
  readonly sampled = false
  readonly attributes = nothing
  status: Tracer.SpanStatus
  private context: Otel.Context | undefined = undefined
  private outside: Otel.Context = Otel.ROOT_CONTEXT

  constructor(options: Options, parent: Option.Some<Tracer.AnySpan>) {
    this.name = options.name
    this.parent = parent
    this.annotations = options.annotations
    this.links = options.links
    this.kind = options.kind
    this.traceId = parent.value.traceId
    this.spanId = parent.value.spanId
    this.status = { _tag: "Started", startTime: options.startTime }
  }

  get otelContext(): Otel.Context {
    return this.context ??= Current.contextUnder(this.parent.value)
  }

  enter<A>(run: () => A): A {
    this.outside = Otel.context.active()
    return Otel.context.with(this.otelContext, run)
  }

  leave<A>(run: () => A): A {
    return Otel.context.active() === this.outside ? run() : Otel.context.with(this.outside, run)
  }

  attribute(): void {}

  event(): void {}

  addLinks(): void {}

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
  }
}
