/**
 * W3C trace context: how a span travels in a header.
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import type * as Tracer from "effect/Tracer"
import { TraceState } from "../../Telemetry.ts"

/** `version-traceId-spanId-flags`: where the hyphens are, and how long it is. */
const at = { traceId: 2, spanId: 35, flags: 52, end: 55 }
const hyphen = 0x2d
const noTrace = "0".repeat(32)
const noSpan = "0".repeat(16)
const nothing = Context.empty()

/** `undefined` for what is no span: of a tracer that is switched off. */
export const write = ({ sampled, spanId, traceId }: Tracer.AnySpan): string | undefined =>
  traceId.length === 32 && spanId.length === 16 && spanId !== noSpan && traceId !== noTrace
    ? `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`
    : undefined

/** The state of the trace, as the nearest span that knows one says. */
export const stateOf = (span: Tracer.AnySpan): string | undefined => {
  for (let one: Tracer.AnySpan | undefined = span; one !== undefined;) {
    const { annotations } = one
    // most have none: a look into an empty one takes as long
    const state = annotations === nothing ? "" : Context.get(annotations, TraceState)
    if (state !== "") return state
    one = one._tag === "Span" ? Option.getOrUndefined(one.parent) : undefined
  }
  return undefined
}

/** Of each byte: 0 for a hexadecimal digit. */
const strange = Uint8Array.from(
  { length: 256 },
  (_, byte) => "0123456789abcdef".includes(String.fromCharCode(byte)) ? 0 : 1
)

// a text is asked for its form at each of its characters: bytes are read in a third of the time
const encoder = new TextEncoder()
const bytes = new Uint8Array(at.end)

/** Of a hexadecimal digit. "a" is 10, and its code is odd. */
const isOdd = (digit: number): boolean => (digit & 1) === (digit >= 0x61 ? 0 : 1)

/** Whether there are digits from here to there, and not only zeros where those are no id. */
const areDigits = (from: number, to: number, isId: boolean): boolean => {
  let digits = 0
  let others = 0
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!
    others |= strange[byte]!
    digits |= byte ^ 0x30
  }
  return others === 0 && (!isId || digits !== 0)
}

// by hand: a regular expression takes three times as long, and this is done for each attempt
/** Leaves its bytes. */
const isTraceparent = (text: string): boolean =>
  text.length >= at.end &&
  // fewer if the last character is no ASCII; others are no digits
  encoder.encodeInto(text, bytes).written === at.end &&
  bytes[at.traceId] === hyphen &&
  bytes[at.spanId] === hyphen &&
  bytes[at.flags] === hyphen &&
  areDigits(0, at.traceId, false) &&
  areDigits(at.traceId + 1, at.spanId, true) &&
  areDigits(at.spanId + 1, at.flags, true) &&
  areDigits(at.flags + 1, at.end, false) &&
  !(bytes[0] === 0x66 && bytes[1] === 0x66) &&
  // a later version may be longer, and begins the same
  (text.length === at.end || (!text.startsWith("00") && text.charCodeAt(at.end) === hyphen))

/** A span that came in a header. Most ask only whether it is sampled: its ids are cut out when they are needed. */
class RemoteSpan implements Tracer.ExternalSpan {
  readonly _tag = "ExternalSpan"
  readonly sampled: boolean
  readonly annotations: Context.Context<never>
  private readonly text: string

  constructor(text: string, sampled: boolean, annotations: Context.Context<never>) {
    this.text = text
    this.sampled = sampled
    this.annotations = annotations
  }

  get traceId(): string {
    return this.text.slice(at.traceId + 1, at.spanId)
  }

  get spanId(): string {
    return this.text.slice(at.spanId + 1, at.flags)
  }
}

/** `undefined` for what is no `traceparent`: whoever wrote it, a job is not to fail of it. */
export const read = (text: string | undefined, state: string | undefined): Tracer.ExternalSpan | undefined => {
  if (text === undefined || !isTraceparent(text)) return undefined
  const annotations = state === undefined ? nothing : Context.add(nothing, TraceState, state)
  return new RemoteSpan(text, isOdd(bytes[at.end - 1]!), annotations)
}
