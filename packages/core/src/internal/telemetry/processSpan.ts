/**
 * The span of an attempt: where it stands in the traces, and what it says.
 */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Envelope } from "../../Envelope.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import { KeyAttribute, StartAttributes, type SurroundingSpan } from "../../Telemetry.ts"
import { cronHeader, fromHeaders } from "../cronHeader.ts"
import { type Start as StartHandler, Undecodable, Unencodable } from "../handler.ts"
import type { Held } from "../worker/held.ts"
import type { Outcome } from "../worker/outcome.ts"
import type { Settings } from "../worker/settings.ts"
import * as ErrorType from "./errorType.ts"
import * as Names from "./names.ts"
import * as Traceparent from "./traceparent.ts"
import { propagating, Start, type Tracing } from "./tracing.ts"

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

/** The span of an attempt, if it is to be current outside of fibers, too. */
export const surrounding = (span: Tracer.Span | undefined): SurroundingSpan | undefined =>
  span !== undefined && isSurrounding(span) ? span : undefined

// both are functions of their own: a closure costs those attempts, too, that do not need it

export const startWithin = (
  span: SurroundingSpan,
  start: StartHandler,
  ...of: Parameters<StartHandler>
): ReturnType<StartHandler> => span.enter(() => start(...of))

/** What follows the end of a handler is no part of its span. */
export const endOutside =
  <A>(span: SurroundingSpan, one: Held, follow: (one: Held, exit: A) => void) => (exit: A): void =>
    span.leave(() => follow(one, exit))

/** What all spans of one worker's queue have in common. */
interface Common {
  readonly tracing: Tracing
  readonly name: string
  readonly queue: string
  readonly transport: string
  readonly hasKey: boolean
}

/** `maxAttempts` and `waitMillis` are missing where the job does not run. */
class AttemptStart extends Start {
  private readonly common: Common
  private readonly delivery: Delivery
  private readonly creation: Tracer.ExternalSpan | undefined
  private readonly maxAttempts: number | undefined
  private readonly waitMillis: number | undefined

  constructor(
    common: Common,
    delivery: Delivery,
    parent: Tracer.AnySpan | undefined,
    creation: Tracer.ExternalSpan | undefined,
    maxAttempts?: number,
    waitMillis?: number
  ) {
    super(common.tracing, "consumer", parent)
    this.common = common
    this.delivery = delivery
    this.creation = creation
    this.maxAttempts = maxAttempts
    this.waitMillis = waitMillis
  }

  override get name(): string {
    return this.common.name
  }

  /** Jobs that the handler enqueues say which one is at the root. */
  override get annotations(): Context.Context<never> {
    return Context.add(Context.empty(), StartAttributes, {
      [Names.attributes.rootJobId]: rootOf(this.delivery.envelope)
    })
  }

  protected override ownLinks(): Array<Tracer.SpanLink> {
    const { attempt, headers, prevTraceparent } = this.delivery.envelope
    const creation = this.creation ?? creationOf(headers)
    const previous = attempt > 1 ? Traceparent.read(prevTraceparent, undefined) : undefined
    const links: Array<Tracer.SpanLink> = []
    if (creation !== undefined) links.push({ span: creation, attributes: Names.creationLink })
    if (previous !== undefined) links.push({ span: previous, attributes: Names.previousLink })
    return links
  }

  protected override describe(): Names.Attributes {
    const { hasKey, queue, transport } = this.common
    const { deliveries, envelope } = this.delivery
    const { attempt, headers, id, key, task } = envelope
    const attributes = Names.processAttributes({
      transport,
      queue,
      task,
      jobId: id,
      rootJobId: rootOf(envelope),
      attempt,
      maxAttempts: this.maxAttempts ?? 0,
      waitMillis: this.waitMillis ?? 0,
      trigger: triggerOf(envelope),
      redelivered: deliveries > 1
    })
    if (this.maxAttempts === undefined) delete attributes[Names.attributes.maxAttempts]
    if (this.waitMillis === undefined) delete attributes[Names.attributes.waitMillis]
    if (hasKey && key !== undefined) attributes[Names.attributes.key] = key
    if (headers[cronHeader] !== undefined) {
      const ticket = fromHeaders(headers)
      if (ticket !== undefined) attributes[Names.attributes.cronName] = ticket.name
    }
    return attributes
  }
}

const creationOf = (headers: Envelope["headers"]): Tracer.ExternalSpan | undefined =>
  Traceparent.read(headers[Names.headers.traceparent], headers[Names.headers.tracestate])

export const make = (settings: Settings, tracing: Tracing, queue: string) => {
  const ambient = propagating(Context.getOrUndefined(settings.context, Tracer.ParentSpan))
  const common: Common = {
    tracing,
    name: `${Names.operations.process} ${queue}`,
    queue,
    transport: settings.transport.name,
    hasKey: Context.get(settings.context, KeyAttribute)
  }

  /** A worker that a test runs inside a span. One that has ended, as that of a start, is none. */
  const above = () => ambient?._tag === "Span" && ambient.status._tag === "Ended" ? undefined : ambient

  const begin = (delivery: Delivery, maxAttempts?: number, waitMillis?: number): Tracer.Span => {
    const { headers } = delivery.envelope
    const around = above()
    // siblings: a retry has the parent of the first attempt
    const creation = around === undefined && headers[Names.headers.trace] === undefined
      ? creationOf(headers)
      : undefined
    return tracing.begin(new AttemptStart(common, delivery, around ?? creation, creation, maxAttempts, waitMillis))
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
      begin(delivery, delivery.envelope.maxAttempts ?? task.policy.maxAttempts, waitMillis),
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
      const span = begin(trusted)
      if (state !== "failed" || !span.sampled) return end(span, state, Exit.void)
      const type = ErrorType.ofRefusal(reason)
      span.attribute(Names.attributes.errorType, type)
      deadLettered(span, settlement)
      end(span, state, failure(type, `the job was not run: ${type}`))
    }
  }
}
