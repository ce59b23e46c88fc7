/**
 * W3C trace context: how a span travels in a header.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import { TraceState } from "../../Telemetry.ts"

const form = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}/
const noTrace = "0".repeat(32)
const noSpan = "0".repeat(16)

/** `undefined` for what is no span: of a tracer that is switched off. */
export const write = ({ sampled, spanId, traceId }: Tracer.AnySpan): string | undefined =>
  traceId.length === 32 && spanId.length === 16 && spanId !== noSpan && traceId !== noTrace
    ? `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`
    : undefined

/** The state of the trace, as the nearest span that knows one says. */
export const stateOf = (span: Tracer.AnySpan): string | undefined => {
  for (let one: Tracer.AnySpan | undefined = span; one !== undefined;) {
    const state = Context.get(one.annotations, TraceState)
    if (state !== "") return state
    one = one._tag === "Span" ? Option.getOrUndefined(one.parent) : undefined
  }
  return undefined
}

/** `undefined` for what is no `traceparent`: whoever wrote it, a job is not to fail of it. */
export const read = (text: string | undefined, state: string | undefined): Tracer.ExternalSpan | undefined => {
  // a later version may be longer, and begins the same
  if (text === undefined || !form.test(text) || text.startsWith("ff")) return undefined
  if (text.length > 55 && (text.startsWith("00") || text[55] !== "-")) return undefined
  const traceId = text.slice(3, 35)
  const spanId = text.slice(36, 52)
  if (traceId === noTrace || spanId === noSpan) return undefined
  return Tracer.externalSpan({
    traceId,
    spanId,
    sampled: (Number.parseInt(text.slice(53, 55), 16) & 1) === 1,
    annotations: state === undefined ? Context.empty() : Context.add(Context.empty(), TraceState, state)
  })
}
