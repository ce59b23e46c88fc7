/**
 * What Troupe says of itself: spans, metrics and annotations of logs, by Effect's own `Tracer`, `Metric` and logger.
 *
 * Spans go through the tracer in context; without one none is made and nothing is written. Metrics are always recorded,
 * in Effect's registry unless there is a `Recorder`. No name and no metric has a payload or an id in it.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Tracer from "effect/Tracer"
import type { MetricDefinition } from "./internal/telemetry/metrics.ts"
import * as Registry from "./internal/telemetry/registry.ts"

export { metrics } from "./internal/telemetry/metrics.ts"
export type { MetricDefinition } from "./internal/telemetry/metrics.ts"
export { attributes, events, headers, logAnnotations, operations, system } from "./internal/telemetry/names.ts"

/**
 * Where the attempts of a job stand in the traces. They have links to the span that created the job in any case.
 *
 * - `parent`: children of that span, in its trace.
 * - `link`: each attempt begins a trace of its own.
 * - `auto`: `parent`, but `link` for jobs that are delayed by more than a minute, runs of cron jobs, and jobs of a call
 *   that enqueues more than 32 at once.
 *
 * The replay of a dead letter begins a trace of its own in any case. A worker that was itself started inside a span, as
 * in a test, makes all attempts children of that one.
 */
export type TracePolicy = "auto" | "parent" | "link"

/** The policy of a client, for tasks and calls that say nothing. Read when the client is made. Default: `auto`. */
export const TracePolicy = Context.Reference<TracePolicy>("@troupe/core/Telemetry/TracePolicy", {
  defaultValue: () => "auto"
})

/**
 * Where metrics go. `bind` is called once per time series, what it answers once per observation: it must be cheap and
 * must not throw. The same definition and attributes mean the same series.
 */
export interface Recorder {
  readonly bind: (
    definition: MetricDefinition,
    attributes: Readonly<Record<string, string>>
  ) => (value: number) => void
}

/**
 * Read when a client, a worker or a scheduler is made. Default: Effect's `Metric` registry of their context, with the
 * unit as an attribute `unit`, as Effect's exporters read it.
 */
export const Recorder = Context.Reference<Recorder>("@troupe/core/Telemetry/Recorder", {
  defaultValue: () => Registry.make(Context.empty())
})

/** How often a worker asks how long its queues are. 0 for never. Default: 15 seconds. */
export const QueueStatsInterval = Context.Reference<Duration.Input>("@troupe/core/Telemetry/QueueStatsInterval", {
  defaultValue: () => "15 seconds"
})

/** Whether `job.key` is an attribute of spans: switch it off where keys are personal data. Default: true. */
export const KeyAttribute = Context.Reference<boolean>("@troupe/core/Telemetry/KeyAttribute", {
  defaultValue: () => true
})

/**
 * In the `annotations` of every span that core begins: its attributes. `Tracer.span` takes none, but samplers want to see
 * them. Core sets them again on a span that has none after it was begun.
 */
export const StartAttributes = Context.Reference<Readonly<Record<string, unknown>>>(
  "@troupe/core/Telemetry/StartAttributes",
  { defaultValue: () => ({}) }
)

/**
 * In the `annotations` of a span: its W3C `tracestate`. Core puts it there for spans that come with a job, and sends
 * what it finds there or at the nearest span above. Default: none, as an empty text.
 */
export const TraceState = Context.Reference<string>("@troupe/core/Telemetry/TraceState", {
  defaultValue: () => ""
})

/**
 * A span of a tracer that keeps a current span outside of fibers, too, as OpenTelemetry does. Core starts a handler inside
 * `enter` of the span of its attempt, so that the tracer need not enter it at each step of the fiber; what follows the end
 * of the handler runs inside `leave`. Both run what they are given once, at once, and do not throw.
 */
export interface SurroundingSpan extends Tracer.Span {
  /** Makes it the current span meanwhile. */
  readonly enter: <A>(run: () => A) => A
  /** Makes current meanwhile what was so at `enter`. */
  readonly leave: <A>(run: () => A) => A
}

/**
 * A span that core is about to begin. What only those need that somebody sees is made when it is asked for: a span that
 * is not sampled costs a fraction then.
 */
export interface SpanStart {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly parent: Tracer.AnySpan | undefined
  /** Whatever surrounds the call, the span begins a trace. */
  readonly root: boolean
  /** False below a span that is not sampled, and below `Tracer.MinimumTraceLevel`. */
  readonly sampled: boolean
  /** What core finds again at a span that is not sampled. */
  readonly annotations: Context.Context<never>
  /** All that it says at its start; shared, not to be written to. */
  readonly attributes: Readonly<Record<string, string | number | boolean>>
  readonly links: ReadonlyArray<Tracer.SpanLink>
  /** All of it, as `Tracer.span` takes it, and the time: call it once. */
  readonly options: () => Parameters<Tracer.Tracer["span"]>[0]
}

/** A tracer that may know that a span is not sampled before it knows what the span says. */
export interface LazyTracer extends Tracer.Tracer {
  /** Core calls it in place of `span`. */
  readonly spanLazily: (start: SpanStart) => Tracer.Span
}
