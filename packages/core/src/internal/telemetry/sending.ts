/**
 * What a client says of the calls of its broker: metrics, `send`, `create` and `cancel` spans, and the headers by which
 * a trace travels with a job.
 */
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Tracer from "effect/Tracer"
import { DefaultHeaders, type NewJob, noHeaders } from "../../EnqueueOptions.ts"
import { StartAttributes, TracePolicy } from "../../Telemetry.ts"
import { cronHeader } from "../cronHeader.ts"
import type { Producer } from "../producer.ts"
import { type Calls, CallStart } from "./calls.ts"
import * as Names from "./names.ts"
import * as Traceparent from "./traceparent.ts"
import { propagating, Start, type Tracing } from "./tracing.ts"

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

/** The job at the root of the one whose handler this is: its span is above, and knows. */
const rootOf = (ambient: Tracer.AnySpan | undefined): string | undefined => {
  for (let one = ambient; one?._tag === "Span"; one = Option.getOrUndefined(one.parent)) {
    const root = Context.get(one.annotations, StartAttributes)[Names.attributes.rootJobId]
    if (typeof root === "string") return root
  }
  return undefined
}

type Headers = Readonly<Record<string, string>>

/** What says where a job was created. */
const headersOf = (span: Tracer.AnySpan, isLink: boolean, root: string | undefined): Headers => {
  const traceparent = Traceparent.write(span)
  // the name as a literal: it is there for most jobs
  const headers: Record<string, string> = traceparent === undefined ? {} : { traceparent }
  if (traceparent !== undefined) {
    const tracestate = Traceparent.stateOf(span)
    if (tracestate !== undefined) headers[Names.headers.tracestate] = tracestate
  }
  if (isLink) headers[Names.headers.trace] = "link"
  if (root !== undefined) headers[Names.headers.root] = root
  return headers
}

/** A `traceparent` that the caller gave stands, and the state with it. */
const beside = ({ headers }: NewJob, own: Headers): Headers => {
  if (headers === undefined) return own
  if (headers[Names.headers.traceparent] === undefined) return { ...headers, ...own }
  const { [Names.headers.traceparent]: _, [Names.headers.tracestate]: __, ...others } = own
  return { ...headers, ...others }
}

/** The job with the headers that its caller gives to all of them. */
const over = (defaults: Headers, job: NewJob): NewJob =>
  defaults === noHeaders ? job : { ...job, headers: { ...defaults, ...job.headers } }

/** A span of one job that is sent. */
class JobStart extends Start {
  private readonly operation: "send" | "create"
  private readonly transport: string
  private readonly job: NewJob
  private readonly delay: number

  constructor(
    tracing: Tracing,
    operation: "send" | "create",
    transport: string,
    parent: Tracer.AnySpan | undefined,
    job: NewJob,
    delay: number
  ) {
    super(tracing, "producer", parent)
    this.operation = operation
    this.transport = transport
    this.job = job
    this.delay = delay
  }

  override get name(): string {
    return `${Names.operations[this.operation]} ${this.job.queue}`
  }

  protected override describe(): Names.Attributes {
    const { body, id, queue, task } = this.job
    const attributes = Names.sendAttributes(this.operation, this.transport, queue, task, body.length)
    if (id !== undefined) attributes[Names.attributes.jobId] = id
    if (this.delay > 0) attributes[Names.attributes.delayMillis] = this.delay
    return attributes
  }
}

/** What a client sends with. */
export interface Sender {
  readonly send: (jobs: Arr.NonEmptyReadonlyArray<NewJob>) => ReturnType<Producer["send"]>
  /** `caller` is the fiber that runs what this answers, at once and once: it need not be asked for then. */
  readonly sendOne: (job: NewJob, caller?: Fiber.Fiber<unknown, unknown>) => ReturnType<Producer["sendOne"]>
}

/** Around the call of the broker alone: a tracer may enter each step of what is in a span. */
const withinOf = (calls: Calls, span: Tracer.Span) => <A, E>(call: Effect.Effect<A, E>) => calls.within(span, call)

export const around = (producer: Producer, context: Context.Context<never>, calls: Calls): Sender => {
  const clock = Context.get(context, Clock.Clock)
  const policy = Context.get(context, TracePolicy)

  const isLink = (job: NewJob, delay: number, batch: number): boolean => {
    const wanted = job.trace ?? policy
    return wanted === "link" ||
      (wanted === "auto" && (delay > longDelay || batch > largeBatch || job.headers?.[cronHeader] !== undefined))
  }

  const passOn = (job: NewJob, fiber: Fiber.Fiber<unknown, unknown>): Headers | undefined => {
    const external = externalOf(fiber.cache.span)
    return external && beside(job, headersOf(external, isLink(job, delayOf(job, clock), 1), undefined))
  }

  const sendOneTraced = (
    job: NewJob,
    fiber: Fiber.Fiber<unknown, unknown>,
    tracing: Tracing,
    startedAt: bigint
  ): ReturnType<Producer["sendOne"]> => {
    const delay = delayOf(job, clock)
    const ambient = propagating(fiber.cache.span)
    const span = tracing.begin(new JobStart(tracing, "send", calls.transport, ambient, job, delay))
    const headers = beside(job, headersOf(span, isLink(job, delay, 1), rootOf(ambient)))
    const within = span.sampled ? withinOf(calls, span) : undefined
    return Effect.onExitPrimitive(producer.sendOne(job, headers, within), (exit) => {
      calls.sentOne(job, startedAt, exit)
      if (span.sampled && Exit.isSuccess(exit)) calls.accepted(span, exit.value)
      calls.end(tracing, span, exit)
      return undefined
    })
  }

  const sendFrom = (given: NewJob, fiber: Fiber.Fiber<unknown, unknown>): ReturnType<Producer["sendOne"]> => {
    const job = over(fiber.getRef(DefaultHeaders), given)
    const startedAt = clock.monotonicTimeNanosUnsafe()
    const tracing = calls.tracingOf(fiber)
    if (tracing !== undefined) return sendOneTraced(job, fiber, tracing, startedAt)
    return Effect.onExitPrimitive(producer.sendOne(job, passOn(job, fiber)), (exit) => {
      calls.sentOne(job, startedAt, exit)
      return undefined
    })
  }

  const sendOne: Sender["sendOne"] = (job, caller) =>
    caller === undefined ? Effect.withFiber((fiber) => sendFrom(job, fiber)) : sendFrom(job, caller)

  /** One span for the call, and one per job if they are few. */
  const sendTraced = (
    jobs: Arr.NonEmptyReadonlyArray<NewJob>,
    fiber: Fiber.Fiber<unknown, unknown>,
    tracing: Tracing,
    startedAt: bigint
  ): ReturnType<Producer["send"]> => {
    const ambient = propagating(fiber.cache.span)
    const [{ queue }] = jobs
    const isOneQueue = jobs.every((job) => job.queue === queue)
    const span = tracing.begin(
      new CallStart(tracing, "send", calls.transport, isOneQueue ? queue : undefined, ambient, {
        [Names.attributes.batchCount]: jobs.length
      })
    )
    const root = rootOf(ambient)
    const creations: Array<Tracer.Span> = []
    const create = (job: NewJob): Headers => {
      const delay = delayOf(job, clock)
      const creation = tracing.begin(new JobStart(tracing, "create", calls.transport, span, job, delay))
      creations.push(creation)
      return beside(job, headersOf(creation, isLink(job, delay, jobs.length), root))
    }
    // the same for all of them, but for the few that say something else
    const kept = headersOf(span, false, root)
    const linked = headersOf(span, true, root)
    const share = (job: NewJob): Headers => beside(job, isLink(job, delayOf(job, clock), jobs.length) ? linked : kept)
    const sent = producer.send(jobs, jobs.length <= largeBatch && span.sampled ? create : share)
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
    send: (given) =>
      Effect.withFiber((fiber) => {
        const defaults = fiber.getRef(DefaultHeaders)
        const jobs = defaults === noHeaders ? given : Arr.map(given, (job) => over(defaults, job))
        const startedAt = clock.monotonicTimeNanosUnsafe()
        const tracing = calls.tracingOf(fiber)
        if (tracing !== undefined) return sendTraced(jobs, fiber, tracing, startedAt)
        const headers = externalOf(fiber.cache.span) && ((job: NewJob) => passOn(job, fiber))
        return Effect.onExitPrimitive(producer.send(jobs, headers), (exit) => {
          calls.sentMany(jobs, startedAt, exit)
          return undefined
        })
      })
  }
}
