/**
 * What a client says of the calls of its broker: metrics, `send`, `create` and `cancel` spans, and the headers by which
 * a trace travels with a job.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import type { NewJob } from "../../EnqueueOptions.ts"
import { TracePolicy } from "../../Telemetry.ts"
import { cronHeader } from "../cronHeader.ts"
import type { Producer } from "../producer.ts"
import type { Calls } from "./calls.ts"
import { RootJob } from "./currentJob.ts"
import * as Names from "./names.ts"
import * as Traceparent from "./traceparent.ts"
import { type Attributes, ofFiber, propagating, type Tracing } from "./tracing.ts"

/** Delays (ms) from which on a job is no part of what enqueued it. */
const longDelay = 60_000

/** Jobs of one call above which none of them is part of what enqueued them. */
const largeBatch = 32

/** ms; 0 for what the producer is going to refuse. */
const delayOf = ({ at, delay }: NewJob, clock: Clock.Clock): number => {
  if (delay !== undefined) {
    return Option.match(Duration.fromInput(delay), { onNone: () => 0, onSome: Duration.toMillis })
  }
  if (at === undefined) return 0
  const time = typeof at === "number" ? at : at instanceof Date ? at.getTime() : DateTime.toEpochMillis(at)
  return Math.max(0, time - clock.currentTimeMillisUnsafe()) || 0
}

/** The nearest span that came from elsewhere: without a tracer nobody will ever see those below it. */
const externalOf = (span: Tracer.AnySpan | undefined): Tracer.AnySpan | undefined => {
  for (let one = propagating(span); one !== undefined;) {
    if (one._tag === "ExternalSpan") return one
    one = propagating(Option.getOrUndefined(one.parent))
  }
  return undefined
}

const none: Readonly<Record<string, string>> = {}

/** The job with the trace of its creation. A `traceparent` that the caller gave stands. */
const carrying = (job: NewJob, span: Tracer.AnySpan, isLink: boolean, root: string | undefined): NewJob => {
  const given = job.headers ?? none
  const headers: Record<string, string> = { ...given }
  if (given[Names.headers.traceparent] === undefined) {
    const traceparent = Traceparent.write(span)
    if (traceparent !== undefined) {
      const tracestate = Traceparent.stateOf(span)
      headers[Names.headers.traceparent] = traceparent
      if (tracestate !== undefined) headers[Names.headers.tracestate] = tracestate
    }
  }
  if (isLink) headers[Names.headers.trace] = "link"
  if (root !== undefined) headers[Names.headers.root] = root
  return { ...job, headers }
}

export const around = (producer: Producer, context: Context.Context<never>, calls: Calls): Producer => {
  const clock = Context.get(context, Clock.Clock)
  const policy = Context.get(context, TracePolicy)
  const ownTracer = Context.getOrUndefined(context, Tracer.Tracer)

  const isLink = (job: NewJob, delay: number, batch: number): boolean => {
    const wanted = job.trace ?? policy
    return wanted === "link" ||
      (wanted === "auto" && (delay > longDelay || batch > largeBatch || job.headers?.[cronHeader] !== undefined))
  }

  const passOn = (job: NewJob, fiber: Fiber.Fiber<unknown, unknown>): NewJob => {
    const external = externalOf(fiber.cache.span)
    return external === undefined
      ? job
      : carrying(job, external, isLink(job, delayOf(job, clock), 1), undefined)
  }

  const attributesOf = (job: NewJob, operation: "send" | "create", delay: number): Attributes => {
    const attributes = calls.attributesOf(operation, job.queue)
    attributes[Names.attributes.task] = job.task
    attributes[Names.attributes.bodySize] = job.body.length
    if (job.id !== undefined) attributes[Names.attributes.jobId] = job.id
    if (delay > 0) attributes[Names.attributes.delayMillis] = delay
    return attributes
  }

  const sendOne: Producer["sendOne"] = (job) =>
    Effect.withFiber((fiber) => {
      const startedAt = clock.monotonicTimeNanosUnsafe()
      const tracing = ofFiber(fiber, ownTracer)
      if (tracing === undefined) {
        return Effect.onExitPrimitive(producer.sendOne(passOn(job, fiber)), (exit) => {
          calls.sentOne(job, startedAt, exit)
          return undefined
        })
      }
      const delay = delayOf(job, clock)
      const span = tracing.begin({
        name: `${Names.operations.send} ${job.queue}`,
        kind: "producer",
        parent: propagating(fiber.cache.span),
        links: [],
        attributes: attributesOf(job, "send", delay)
      })
      const root = Context.get(fiber.context, RootJob)
      const sent = producer.sendOne(carrying(job, span, isLink(job, delay, 1), root))
      return Effect.onExitPrimitive(calls.within(span, sent), (exit) => {
        calls.sentOne(job, startedAt, exit)
        if (span.sampled && Exit.isSuccess(exit)) calls.accepted(span, exit.value)
        calls.end(tracing, span, exit)
        return undefined
      })
    })

  /** One span for the call, and one per job if they are few. */
  const sendTraced = (
    jobs: NonEmptyReadonlyArray<NewJob>,
    fiber: Fiber.Fiber<unknown, unknown>,
    tracing: Tracing,
    startedAt: bigint
  ): ReturnType<Producer["send"]> => {
    const [{ queue }] = jobs
    const isOneQueue = jobs.every((job) => job.queue === queue)
    const attributes = calls.attributesOf("send", isOneQueue ? queue : undefined)
    attributes[Names.attributes.batchCount] = jobs.length
    const span = tracing.begin({
      name: isOneQueue ? `${Names.operations.send} ${queue}` : Names.operations.send,
      kind: "client",
      parent: propagating(fiber.cache.span),
      links: [],
      attributes
    })
    const isSmall = jobs.length <= largeBatch && span.sampled
    const root = Context.get(fiber.context, RootJob)
    const creations: Array<Tracer.Span> = []
    const create = (job: NewJob): NewJob => {
      const delay = delayOf(job, clock)
      const creation = !isSmall ? span : tracing.begin({
        name: `${Names.operations.create} ${job.queue}`,
        kind: "producer",
        parent: span,
        links: [],
        attributes: attributesOf(job, "create", delay)
      })
      if (isSmall) creations.push(creation)
      return carrying(job, creation, isLink(job, delay, jobs.length), root)
    }
    const [first, ...others] = jobs
    const sent = producer.send([create(first), ...others.map(create)])
    return Effect.onExitPrimitive(calls.within(span, sent), (exit) => {
      calls.sentMany(jobs, startedAt, exit)
      creations.forEach((creation, index) => {
        const outcome = Exit.isSuccess(exit) ? exit.value[index] : undefined
        if (outcome !== undefined && Result.isSuccess(outcome)) calls.accepted(creation, outcome.success)
        calls.end(
          tracing,
          creation,
          outcome === undefined ? exit : Result.isSuccess(outcome) ? Exit.void : Exit.fail(outcome.failure)
        )
      })
      calls.end(tracing, span, exit)
      return undefined
    })
  }

  return {
    sendOne,
    send: (jobs) =>
      Effect.withFiber((fiber) => {
        const startedAt = clock.monotonicTimeNanosUnsafe()
        const tracing = ofFiber(fiber, ownTracer)
        if (tracing !== undefined) return sendTraced(jobs, fiber, tracing, startedAt)
        const [first, ...others] = jobs
        const passed: NonEmptyReadonlyArray<NewJob> = externalOf(fiber.cache.span) === undefined
          ? jobs
          : [passOn(first, fiber), ...others.map((job) => passOn(job, fiber))]
        return Effect.onExitPrimitive(producer.send(passed), (exit) => {
          calls.sentMany(jobs, startedAt, exit)
          return undefined
        })
      })
  }
}
