/**
 * The span of an attempt: where it stands in the traces, and what it says.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Envelope } from "../../Envelope.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import { KeyAttribute, type SurroundingSpan } from "../../Telemetry.ts"
import { cronHeader, fromHeaders } from "../cronHeader.ts"
import { Undecodable, Unencodable } from "../handler.ts"
import type { Held } from "../worker/held.ts"
import type { Outcome } from "../worker/outcome.ts"
import type { Settings } from "../worker/settings.ts"
import * as ErrorType from "./errorType.ts"
import * as Names from "./names.ts"
import * as Traceparent from "./traceparent.ts"
import { propagating, type Tracing } from "./tracing.ts"

/** The job that nobody's handler enqueued. */
const rootOf = ({ headers, id }: Envelope): string => headers[Names.headers.root] ?? id

const triggerOf = ({ attempt, headers }: Envelope): string =>
  attempt > 1
    ? "retry"
    : headers[Names.headers.trace] === "replay"
    ? "replay"
    : headers[cronHeader] !== undefined
    ? "cron"
    : headers[Names.headers.root] !== undefined
    ? "child"
    : "api"

/** A failure that is no error of the handler's. */
const failure = (type: string, message: string) => Exit.fail(Object.assign(new Error(message), { name: type }))

/** What went wrong, without what a schema says of the values that it met. */
const exitOf = (cause: Cause.Cause<unknown>, type: string, { reason }: Outcome): Exit.Exit<never, unknown> => {
  if (type === "timeout") return failure(type, reason)
  const unfit = cause.reasons.find((one) =>
    one._tag === "Fail" && (one.error instanceof Undecodable || one.error instanceof Unencodable)
  )
  return unfit === undefined ? Exit.failCause(cause) : failure(type, `the job failed: ${type}`)
}

const isSurrounding = (span: Tracer.Span): span is SurroundingSpan => "enter" in span && "leave" in span

/** Starts a handler where the span of its attempt is current outside of fibers, too. */
export const enter = <A>(span: Tracer.Span, start: () => A): A => isSurrounding(span) ? span.enter(start) : start()

/** What follows the end of a handler is no part of its span. */
export const leave = <A>(span: Tracer.Span, follow: () => A): A => isSurrounding(span) ? span.leave(follow) : follow()

export const make = (settings: Settings, tracing: Tracing, queue: string) => {
  const hasKey = Context.get(settings.context, KeyAttribute)
  const ambient = propagating(Context.getOrUndefined(settings.context, Tracer.ParentSpan))
  const name = `${Names.operations.process} ${queue}`
  const transport = settings.transport.name

  /** A worker that a test runs inside a span. One that has ended, as that of a start, is none. */
  const above = () => ambient?._tag === "Span" && ambient.status._tag === "Ended" ? undefined : ambient

  const attributesOf = (
    { deliveries, envelope }: Delivery,
    maxAttempts: number,
    waitMillis: number
  ): Names.Attributes => {
    const { attempt, headers, id, key, task } = envelope
    const attributes = Names.processAttributes({
      transport,
      queue,
      task,
      jobId: id,
      rootJobId: rootOf(envelope),
      attempt,
      maxAttempts,
      waitMillis,
      trigger: triggerOf(envelope),
      redelivered: deliveries > 1
    })
    if (hasKey && key !== undefined) attributes[Names.attributes.key] = key
    if (headers[cronHeader] !== undefined) {
      const ticket = fromHeaders(headers)
      if (ticket !== undefined) attributes[Names.attributes.cronName] = ticket.name
    }
    return attributes
  }

  const begin = ({ envelope }: Delivery, attributes: Names.Attributes): Tracer.Span => {
    const { attempt, headers, prevTraceparent } = envelope
    const creation = Traceparent.read(headers[Names.headers.traceparent], headers[Names.headers.tracestate])
    const previous = attempt > 1 ? Traceparent.read(prevTraceparent, undefined) : undefined
    const links: Array<Tracer.SpanLink> = []
    if (creation !== undefined) links.push({ span: creation, attributes: Names.creationLink })
    if (previous !== undefined) links.push({ span: previous, attributes: Names.previousLink })
    // siblings: a retry has the parent of the first attempt
    const parent = above() ?? (headers[Names.headers.trace] === undefined ? creation : undefined)
    return tracing.begin({ name, kind: "consumer", parent, links, attributes })
  }

  const end = (span: Tracer.Span, outcome: string, exit: Exit.Exit<unknown, unknown>) => {
    if (span.sampled) span.attribute(Names.attributes.outcome, outcome)
    tracing.end(span, exit)
  }

  const deadLettered = (span: Tracer.Span, settlement: Settlement) => {
    if (settlement._tag !== "Bury") return
    span.event(Names.events.deadLettered, tracing.now(), { [Names.details.reason]: settlement.record.reason })
  }

  return {
    begin: ({ delivery, task }: Held, waitMillis: number): Tracer.Span =>
      begin(
        delivery,
        attributesOf(delivery, delivery.envelope.maxAttempts ?? task.policy.maxAttempts, waitMillis)
      ),
    end,
    interrupted: (span: Tracer.Span, outcome: "cancelled" | "released" | "lease_lost") => {
      if (outcome !== "lease_lost" || !span.sampled) {
        if (outcome === "released" && span.sampled) span.event(Names.events.released, tracing.now())
        return end(span, outcome, Exit.void)
      }
      span.attribute(Names.attributes.errorType, "lease_lost")
      end(span, outcome, failure("lease_lost", "the lease was lost: the job is handed out again"))
    },
    /** `type` is that of an error; others are none. */
    failed: (span: Tracer.Span, cause: Cause.Cause<unknown>, outcome: Outcome, type: string | undefined) => {
      if (!span.sampled) return tracing.end(span, Exit.void)
      if (type === undefined) {
        const isSnooze = outcome.kind === "Snoozed"
        if (isSnooze) {
          span.event(Names.events.snoozed, tracing.now(), { [Names.details.delayMillis]: outcome.delay })
        }
        return end(span, isSnooze ? "snoozed" : "cancelled", Exit.void)
      }
      span.attribute(Names.attributes.errorType, type)
      if (outcome.settlement._tag === "Forward") {
        span.event(Names.events.retryScheduled, tracing.now(), {
          [Names.details.delayMillis]: outcome.delay,
          [Names.details.nextAttempt]: outcome.settlement.successor.attempt
        })
      }
      deadLettered(span, outcome.settlement)
      end(span, outcome.kind === "Retried" ? "retried" : "failed", exitOf(cause, type, outcome))
    },
    /** A span of no length for a job that ends without a run. */
    refused: (delivery: Delivery, settlement: Settlement) => {
      if (settlement._tag === "Forward" || settlement._tag === "Drop") return
      const { envelope } = delivery
      const { reason, state } = settlement.record
      // whoever wrote that must not place spans in our traces
      const isForeign = reason === "Signature" || reason === "Undecodable" || reason === "UnknownVersion"
      const trusted = isForeign
        ? { ...delivery, envelope: { ...envelope, headers: {}, prevTraceparent: undefined } }
        : delivery
      const { [Names.attributes.maxAttempts]: _, [Names.attributes.waitMillis]: __, ...attributes } = attributesOf(
        trusted,
        0,
        0
      )
      const span = begin(trusted, attributes)
      if (state !== "failed" || !span.sampled) return end(span, state, Exit.void)
      const type = ErrorType.ofRefusal(reason)
      span.attribute(Names.attributes.errorType, type)
      deadLettered(span, settlement)
      end(span, state, failure(type, `the job was not run: ${type}`))
    }
  }
}
