/**
 * Every name of a span, an attribute, an event, a metric and a header that telemetry writes.
 *
 * The semantic conventions for messaging (OpenTelemetry 1.44) are still in development: when they change, this file does.
 */

/** The value of `attributes.system`. The broker is `attributes.transport`. */
export const system = "troupe"

/** The first word of a span's name; the second one is the queue. */
export const operations = {
  send: "send",
  create: "create",
  process: "process",
  cancel: "cancel"
} as const

/** What `attributes.operationType` says, by operation. */
export const operationTypes = {
  send: "send",
  cancel: "settle"
} as const

export const attributes = {
  system: "messaging.system",
  transport: "troupe.transport",
  queue: "messaging.destination.name",
  operationName: "messaging.operation.name",
  operationType: "messaging.operation.type",
  batchCount: "messaging.batch.message_count",
  bodySize: "messaging.message.body.size",
  jobId: "messaging.message.id",
  /** The id of the job at the root: the one that was not enqueued by a handler. */
  rootJobId: "messaging.message.conversation_id",
  errorType: "error.type",
  task: "job.task",
  key: "job.key",
  attempt: "job.attempt",
  maxAttempts: "job.max_attempts",
  waitMillis: "job.wait_ms",
  delayMillis: "job.delay_ms",
  trigger: "job.trigger",
  outcome: "job.outcome",
  redelivered: "job.redelivered",
  deduplicated: "job.deduplicated",
  /** Of a queue's depth: `scheduled`, `queued`, `running` or `dead`. */
  state: "job.state",
  cronName: "job.cron.name",
  /** Of a link: `creation` or `previous_attempt`. */
  link: "job.link"
} as const

/** Attributes of events. */
export const details = {
  delayMillis: "delay_ms",
  nextAttempt: "next_attempt",
  reason: "reason"
} as const

export const events = {
  retryScheduled: "job.retry_scheduled",
  deadLettered: "job.dead_lettered",
  snoozed: "job.snoozed",
  released: "job.released"
} as const

/** What a log line of a handler says of its job. */
export const logAnnotations = {
  jobId: "job.id",
  task: "job.task",
  attempt: "job.attempt"
} as const

// names as literals: computed ones cost a hundred ns per object, and these are made per job
export const annotationsOf = (jobId: string, task: string, attempt: number) => ({
  "job.id": jobId,
  "job.task": task,
  "job.attempt": attempt
} satisfies Record<typeof logAnnotations[keyof typeof logAnnotations], unknown>)

export type Attributes = Record<string, string | number | boolean>

export const processAttributes = (options: {
  readonly transport: string
  readonly queue: string
  readonly task: string
  readonly jobId: string
  readonly rootJobId: string
  readonly attempt: number
  readonly maxAttempts: number
  readonly waitMillis: number
  readonly trigger: string
  readonly redelivered: boolean
}): Attributes => ({
  "messaging.system": system,
  "troupe.transport": options.transport,
  "messaging.destination.name": options.queue,
  "messaging.operation.name": "process",
  "messaging.operation.type": "process",
  "messaging.message.id": options.jobId,
  "messaging.message.conversation_id": options.rootJobId,
  "job.task": options.task,
  "job.attempt": options.attempt,
  "job.max_attempts": options.maxAttempts,
  "job.wait_ms": options.waitMillis,
  "job.trigger": options.trigger,
  "job.redelivered": options.redelivered
})

export const creationLink = { "job.link": "creation" } satisfies Attributes
export const previousLink = { "job.link": "previous_attempt" } satisfies Attributes

export const sendAttributes = (
  operation: "send" | "create",
  transport: string,
  queue: string,
  task: string,
  bodySize: number
): Attributes => ({
  "messaging.system": system,
  "troupe.transport": transport,
  "messaging.operation.name": operation,
  "messaging.operation.type": operation,
  "messaging.destination.name": queue,
  "messaging.message.body.size": bodySize,
  "job.task": task
})

export const headers = {
  /** W3C. The span that created the job. */
  traceparent: "traceparent",
  /** W3C. */
  tracestate: "tracestate",
  /** `link` or `replay`: attempts of the job begin traces of their own. Missing: they are children of `traceparent`. */
  trace: "troupe-trace",
  /** The id of the root job. Only jobs that a handler enqueued have it. */
  root: "troupe-root"
} as const

/** In place of a value that would make too many time series, or that nobody may vouch for. */
export const other = "_OTHER"
