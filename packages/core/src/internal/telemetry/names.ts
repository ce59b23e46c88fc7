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
  create: "create",
  process: "process",
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
