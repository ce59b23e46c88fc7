/**
 * Spans below one that is not sampled, without a call of the SDK, where its sampler would say no to all of them.
 */
import * as Otel from "@opentelemetry/api"
import type * as Telemetry from "@troupe/core/Telemetry"
import * as Current from "./currentContext.ts"
import { UnsampledChild } from "./unsampled.ts"

const never = ["remoteParentNotSampled=AlwaysOffSampler,", "localParentNotSampled=AlwaysOffSampler}"]

/**
 * Whether the sampler behind a tracer does as a parent that is not sampled. Samplers say so by name, which the SDK's
 * specification asks of them; where a tracer keeps its sampler is the SDK's own matter: one that is not found is asked.
 */
export const followsParents = (tracer: Otel.Tracer): boolean => {
  const name = "_sampler" in tracer ? String(tracer._sampler) : ""
  return name.startsWith("ParentBased{") && never.every((part) => name.includes(part))
}

export class UnsampledWithContext extends UnsampledChild implements Current.WithContext, Telemetry.SurroundingSpan {
  private context: Otel.Context | undefined = undefined
  private outside: Otel.Context = Otel.ROOT_CONTEXT

  get otelContext(): Otel.Context {
    return this.context ??= Current.contextUnder(this.above)
  }

  enter<A>(run: () => A): A {
    this.outside = Otel.context.active()
    return Otel.context.with(this.otelContext, run)
  }

  leave<A>(run: () => A): A {
    return Otel.context.active() === this.outside ? run() : Otel.context.with(this.outside, run)
  }
}
