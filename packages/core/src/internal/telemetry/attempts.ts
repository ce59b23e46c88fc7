/**
 * What a worker says of the jobs of one queue: metrics, the `process` span of each attempt, and what the log lines of a
 * handler are annotated with.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import type { Envelope } from "../../Envelope.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import type { FailureReason } from "../../JobRecord.ts"
import { cronHeader, fromHeaders } from "../cronHeader.ts"
import type { Held } from "../worker/held.ts"
import type { Outcome } from "../worker/outcome.ts"
import type { RegisteredTask, Settings } from "../worker/settings.ts"
import * as ErrorType from "./errorType.ts"
import { metrics } from "./metrics.ts"
import * as Names from "./names.ts"
import * as ProcessSpan from "./processSpan.ts"
import * as Series from "./series.ts"

/** What a handler answers with: its errors have types, and reach whoever awaits the job. */
const answers: ReadonlySet<FailureReason | undefined> = new Set(["Error", "Discarded", "Exhausted"])

export interface Attempts {
  /** They were handed out. */
  readonly received: (deliveries: ReadonlyArray<Delivery>) => void
  /** How handlers of a task start: answers the context in which one runs. */
  readonly starter: (tag: string, base: Context.Context<never>) => (one: Held) => Context.Context<never>
  readonly succeeded: (one: Held) => void
  readonly interrupted: (one: Held, outcome: "cancelled" | "released" | "lease_lost") => void
  readonly failed: (one: Held, cause: Cause.Cause<unknown>, outcome: Outcome) => void
  /** The broker took what a failed attempt came to. */
  readonly settled: (one: Held, cause: Cause.Cause<unknown>, outcome: Outcome) => void
  /** The job ended without a run. */
  readonly refused: (delivery: Delivery, settlement: Settlement) => void
  /** A job that waited for a slot is not ours any more. */
  readonly lostInBuffer: (delivery: Delivery) => void
  /** The worker stops. */
  readonly close: () => void
}

const seconds = (nanos: bigint): number => Number(nanos) / 1e9

/** When the job was due, by the broker's clock; it stamped the envelope, or nearly. */
const dueOf = ({ due, writtenAt }: Envelope): number =>
  due === undefined ? writtenAt : due._tag === "At" ? due.at : writtenAt + due.after

export const make = (settings: Settings, queue: string, tasks: ReadonlyMap<string, RegisteredTask>): Attempts => {
  const { clock, now, recorder, tracing, transport } = settings
  const ofQueue = Series.labelsOf(transport.name, queue)
  const spans = tracing === undefined ? undefined : ProcessSpan.make(settings, tracing, queue)

  let isBroken = false
  /** A tracer that throws must not stop the pump. */
  const broke = (cause: unknown) => {
    if (isBroken) return
    isBroken = true
    const message = `The tracer of queue "${queue}" fails: jobs run, and have no spans or broken ones`
    Effect.runForkWith(settings.context)(Effect.logError(message, cause))
  }
  const safely = (trace: () => void) => {
    try {
      trace()
    } catch (cause) {
      broke(cause)
    }
  }

  const seriesOf = (tag: string) => {
    const bind = Series.binder(recorder, { ...ofQueue, [Names.attributes.task]: tag })
    const operation = { [Names.attributes.operationName]: Names.operations.process }
    const duration = (outcome: string, more?: Series.Labels) =>
      bind(metrics.processDuration, { ...operation, [Names.attributes.outcome]: outcome, ...more })
    const retried = Series.byValue((type) => duration("retried", { [Names.attributes.errorType]: type }))
    const failed = Series.byValue((type) => duration("failed", { [Names.attributes.errorType]: type }))
    return {
      consumed: bind(metrics.consumedMessages, operation),
      reclaimed: bind(metrics.reclaimed),
      wait: bind(metrics.waitDuration),
      active: bind(metrics.active),
      succeeded: duration("succeeded"),
      retries: bind(metrics.retries),
      deadLettered: bind(metrics.deadLettered),
      leaseLost: bind(metrics.leaseLost),
      decodeErrors: bind(metrics.payloadDecodeErrors),
      retried,
      failed,
      ended: Series.byValue((outcome) => duration(outcome))
    }
  }
  type TaskSeries = ReturnType<typeof seriesOf>
  // bound before the first job: an alert sees a counter rise only if it was there before
  const known = new Map<string, TaskSeries>(Array.from(tasks.keys(), (tag) => [tag, seriesOf(tag)]))
  let unknown: TaskSeries | undefined
  const unknownTask = (): TaskSeries => unknown ??= seriesOf(Names.other)
  // most jobs are of the task of the job before; a tag from the wire is a new text, and would be hashed each time
  let last: { readonly tag: string; readonly ofTask: TaskSeries } | undefined
  const series = (tag: string): TaskSeries => {
    if (last?.tag === tag) return last.ofTask
    const ofTask = known.get(tag)
    if (ofTask === undefined) return unknownTask()
    last = { tag, ofTask }
    return ofTask
  }
  const lateness = Series.byValue((task) =>
    recorder.bind(metrics.cronLateness, { ...ofQueue, [Names.attributes.task]: task })
  )
  recorder.bind(metrics.deadLettered, { ...ofQueue, [Names.attributes.task]: Names.other })
  const signatureRejected = recorder.bind(metrics.signatureRejected, ofQueue)
  const capacity = recorder.bind(metrics.workerCapacity, ofQueue)
  capacity(settings.concurrency)

  /** A run that a scheduler sent in time: not a retry, and nobody asked for it. */
  const noteLateness = ({ deliveries, envelope }: Delivery) => {
    if (envelope.attempt > 1 || deliveries > 1) return
    const ticket = fromHeaders(envelope.headers)
    if (ticket?.trigger !== "schedule") return
    const due = envelope.due?._tag === "At" ? envelope.due.at : ticket.tick
    lateness(envelope.task)(Math.max(0, now() - due) / 1_000)
  }

  const finish = ({ delivery, startedAt }: Held, observe: (ofTask: TaskSeries) => (value: number) => void) => {
    const ofTask = series(delivery.envelope.task)
    ofTask.active(-1)
    observe(ofTask)(seconds(clock.monotonicTimeNanosUnsafe() - startedAt))
    return ofTask
  }

  /** The only line about a failure that nobody tries again: its attempts may have logged nothing. */
  const logBurial = (
    { delivery, span }: Held,
    cause: Cause.Cause<unknown>,
    outcome: Outcome,
    why: FailureReason | undefined
  ) => {
    const { attempt, id, task } = delivery.envelope
    const type = ErrorType.ofCause(cause)
    // what a schema says may hold values of the payload
    const isSecret = type === "decode" || type === "encode"
    const what = isSecret ? type : outcome.reason
    const line = `Job "${id}" of queue "${queue}" (task "${task}") is dead-lettered: attempt ${attempt} failed: ${what}`
    const annotated = Context.add(
      settings.context,
      References.CurrentLogAnnotations,
      { ...Context.get(settings.context, References.CurrentLogAnnotations), ...Names.annotationsOf(id, task, attempt) }
    )
    const within = span === undefined ? annotated : Context.add(annotated, Tracer.ParentSpan, span)
    const log = answers.has(why) ? Effect.logInfo : Effect.logWarning
    Effect.runForkWith(within as Context.Context<never>)(isSecret ? log(line) : log(line, cause))
  }

  return {
    received: (deliveries) => {
      for (const { deliveries: count, envelope } of deliveries) {
        const ofTask = series(envelope.task)
        ofTask.consumed(1)
        // the broker itself counted more than one: nobody gave it back
        if (count - envelope.deliveries > 1) ofTask.reclaimed(1)
      }
    },
    starter: (tag, base) => {
      const ofTask = series(tag)
      const outer = Context.get(base, References.CurrentLogAnnotations)
      const isAnnotated = Object.keys(outer).length > 0
      return (one) => {
        const { delivery } = one
        const { attempt, headers, id } = delivery.envelope
        const wait = Math.max(0, now() - dueOf(delivery.envelope))
        one.startedAt = clock.monotonicTimeNanosUnsafe()
        ofTask.active(1)
        ofTask.wait(wait / 1_000)
        if (headers[cronHeader] !== undefined) noteLateness(delivery)
        const own = Names.annotationsOf(id, tag, attempt)
        // an overlay: the services below it are not copied
        const annotated = Context.add(base, References.CurrentLogAnnotations, isAnnotated ? { ...outer, ...own } : own)
        if (spans === undefined) return annotated
        // here and at a success without a closure: each job comes by
        try {
          one.span = spans.begin(one, wait)
        } catch (cause) {
          broke(cause)
        }
        return one.span === undefined
          ? annotated
          : Context.add(annotated, Tracer.ParentSpan, one.span) as Context.Context<never>
      }
    },
    succeeded: (one) => {
      finish(one, (ofTask) => ofTask.succeeded)
      const { span } = one
      if (span === undefined) return
      try {
        spans?.end(span, "succeeded", Exit.void)
      } catch (cause) {
        broke(cause)
      }
    },
    interrupted: (one, outcome) => {
      const ofTask = finish(one, (ofTask) => ofTask.ended(outcome))
      if (outcome === "lease_lost") ofTask.leaseLost(1)
      const { span } = one
      if (span !== undefined) safely(() => spans?.interrupted(span, outcome))
    },
    failed: (one, cause, outcome) => {
      const isError = outcome.kind === "Retried" || outcome.kind === "Failed"
      const isTimeout = one.stopReason === "timedOut" && Cause.hasInterrupts(cause)
      const type = !isError ? undefined : isTimeout ? "timeout" : ErrorType.ofCause(cause)
      finish(one, (ofTask) =>
        outcome.kind === "Retried"
          ? ofTask.retried(type!)
          : outcome.kind === "Failed"
          ? ofTask.failed(type!)
          : ofTask.ended(outcome.kind === "Snoozed" ? "snoozed" : "cancelled"))
      const { span } = one
      if (span !== undefined) safely(() => spans?.failed(span, cause, outcome, type))
    },
    settled: (one, cause, outcome) => {
      const { kind, settlement } = outcome
      const ofTask = series(one.delivery.envelope.task)
      if (kind === "Retried") ofTask.retries(1)
      if (settlement._tag !== "Bury") return
      logBurial(one, cause, outcome, settlement.record.reason)
      ofTask.deadLettered(1)
      if (settlement.record.reason === "Undecodable") ofTask.decodeErrors(1)
    },
    refused: (delivery, settlement) => {
      const { reason } = settlement._tag === "Bury" ? settlement.record : { reason: undefined }
      // a task that nobody vouches for gets no series
      const ofTask = reason === "Signature" ? unknownTask() : series(delivery.envelope.task)
      if (settlement._tag === "Bury") ofTask.deadLettered(1)
      if (reason === "Signature") signatureRejected(1)
      if (reason === "Undecodable") ofTask.decodeErrors(1)
      safely(() => spans?.refused(delivery, settlement))
    },
    lostInBuffer: ({ envelope }) => series(envelope.task).leaseLost(1),
    close: () => capacity(-settings.concurrency)
  }
}
