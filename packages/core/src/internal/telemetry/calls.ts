/**
 * What all calls of a client have in common: attributes, duration, and how they end.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import * as Tracer from "effect/Tracer"
import type { NewJob } from "../../EnqueueOptions.ts"
import type { Enqueued } from "../../JobRef.ts"
import * as ErrorType from "./errorType.ts"
import { metrics } from "./metrics.ts"
import * as Names from "./names.ts"
import * as Recorder from "./recorder.ts"
import * as Series from "./series.ts"
import { ofCallers, propagating, Start, type Tracing } from "./tracing.ts"

interface Counts {
  readonly succeeded: (value: number) => void
  /** By type of error. */
  readonly failed: (type: string) => (value: number) => void
}

type Outcomes = ReadonlyArray<Result.Result<Enqueued, unknown>>

export interface Calls {
  readonly transport: string
  /** `undefined` if nobody listens. */
  readonly tracingOf: (caller: Fiber.Fiber<unknown, unknown>) => Tracing | undefined
  readonly sentOne: (job: NewJob, startedAt: bigint, exit: Exit.Exit<unknown, unknown>) => void
  readonly sentMany: (jobs: ReadonlyArray<NewJob>, startedAt: bigint, exit: Exit.Exit<Outcomes, unknown>) => void
  /** What only the broker's answer says. */
  readonly accepted: (span: Tracer.Span, job: Enqueued) => void
  readonly end: (tracing: Tracing, span: Tracer.Span, exit: Exit.Exit<unknown, unknown>) => void
  /** Spans of the transport's own libraries are children of the call. */
  readonly within: <A, E, R>(span: Tracer.Span, call: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Around the cancel of a job. */
  readonly cancel: <A extends string, E>(queue: string, id: string, call: Effect.Effect<A, E>) => Effect.Effect<A, E>
}

/** The span of a call of the broker. */
export class CallStart extends Start {
  private readonly operation: "send" | "cancel"
  private readonly transport: string
  private readonly queue: string | undefined
  private readonly own: Names.Attributes

  constructor(
    tracing: Tracing,
    operation: "send" | "cancel",
    transport: string,
    queue: string | undefined,
    parent: Tracer.AnySpan | undefined,
    own: Names.Attributes
  ) {
    super(tracing, "client", parent)
    this.operation = operation
    this.transport = transport
    this.queue = queue
    this.own = own
  }

  override get name(): string {
    const name = Names.operations[this.operation]
    return this.queue === undefined ? name : `${name} ${this.queue}`
  }

  protected override describe(): Names.Attributes {
    const attributes: Names.Attributes = {
      [Names.attributes.system]: Names.system,
      [Names.attributes.transport]: this.transport,
      [Names.attributes.operationName]: Names.operations[this.operation],
      [Names.attributes.operationType]: Names.operationTypes[this.operation]
    }
    if (this.queue !== undefined) attributes[Names.attributes.queue] = this.queue
    return { ...attributes, ...this.own }
  }
}

const causeType = (exit: Exit.Failure<unknown, unknown>) => ErrorType.ofCall(exit.cause)

export const make = (context: Context.Context<never>, transport: string) => {
  const clock = Context.get(context, Clock.Clock)
  const recorder = Recorder.of(context)
  const tracingOf = ofCallers(context)

  const durations = (operation: string) => {
    const labels = { ...Series.labelsOf(transport), [Names.attributes.operationName]: operation }
    const bind = (queue: string, more?: Series.Labels) =>
      recorder.bind(metrics.operationDuration, { ...labels, [Names.attributes.queue]: queue, ...more })
    const succeeded = Series.byValue((queue) => bind(queue))
    const failed = Series.byValue((queue) =>
      Series.byValue((type) => bind(queue, { [Names.attributes.errorType]: type }))
    )
    return (queue: string, startedAt: bigint, exit: Exit.Exit<unknown, unknown>) => {
      const observe = Exit.isSuccess(exit) ? succeeded(queue) : failed(queue)(causeType(exit))
      observe(Number(clock.monotonicTimeNanosUnsafe() - startedAt) / 1e9)
    }
  }
  const sending = durations(Names.operations.send)
  const cancelling = durations(Names.operations.cancel)

  const countsOf = Series.byValue((queue) =>
    Series.byValue((task) => {
      const labels = {
        ...Series.labelsOf(transport, queue),
        [Names.attributes.task]: task,
        [Names.attributes.operationName]: Names.operations.send
      }
      const counts: Counts = {
        succeeded: recorder.bind(metrics.sentMessages, labels),
        failed: Series.byValue((type) =>
          recorder.bind(metrics.sentMessages, { ...labels, [Names.attributes.errorType]: type })
        )
      }
      return counts
    })
  )
  // most calls are of the task of the call before
  let last: { readonly queue: string; readonly task: string; readonly counts: Counts } | undefined
  const count = ({ queue, task }: NewJob): Counts => {
    if (last?.queue !== queue || last.task !== task) last = { queue, task, counts: countsOf(queue)(task) }
    return last.counts
  }
  const countOne = (job: NewJob, exit: Exit.Exit<unknown, unknown>) => {
    if (Exit.isSuccess(exit)) count(job).succeeded(1)
    else count(job).failed(causeType(exit))(1)
  }

  const calls: Calls = {
    transport,
    tracingOf,
    sentOne: (job, startedAt, exit) => {
      sending(job.queue, startedAt, exit)
      countOne(job, exit)
    },
    sentMany: (jobs, startedAt, exit) => {
      sending(jobs[0]?.queue ?? Names.other, startedAt, exit)
      jobs.forEach((job, index) => {
        if (Exit.isFailure(exit)) return countOne(job, exit)
        const outcome = exit.value[index]
        if (outcome !== undefined && Result.isFailure(outcome)) countOne(job, Exit.fail(outcome.failure))
        else count(job).succeeded(1)
      })
    },
    accepted: (span, { duplicate, id }) => {
      span.attribute(Names.attributes.jobId, id)
      if (duplicate) span.attribute(Names.attributes.deduplicated, true)
    },
    end: (tracing, span, exit) => {
      if (!span.sampled || Exit.isSuccess(exit)) return tracing.end(span, Exit.void)
      span.attribute(Names.attributes.errorType, causeType(exit))
      tracing.end(span, exit)
    },
    within: (span, call) => span.sampled ? Effect.provideService(call, Tracer.ParentSpan, span) as typeof call : call,
    cancel: (queue, id, call) =>
      Effect.withFiber((fiber) => {
        const startedAt = clock.monotonicTimeNanosUnsafe()
        const tracing = tracingOf(fiber)
        if (tracing === undefined) {
          return Effect.onExitPrimitive(call, (exit) => {
            cancelling(queue, startedAt, exit)
            return undefined
          })
        }
        const span = tracing.begin(
          new CallStart(tracing, "cancel", transport, queue, propagating(fiber.cache.span), {
            [Names.attributes.jobId]: id
          })
        )
        return Effect.onExitPrimitive(calls.within(span, call), (exit) => {
          cancelling(queue, startedAt, exit)
          // what stands: somebody else may have ended the job first
          if (span.sampled && Exit.isSuccess(exit)) span.attribute(Names.attributes.outcome, exit.value)
          calls.end(tracing, span, exit)
          return undefined
        })
      })
  }
  return calls
}
