/**
 * What is measured: the definitions of all metrics.
 */

export interface MetricDefinition {
  readonly name: string
  /**
   * What the bound function of a `Recorder` takes: what to add for a `counter` (0 or more) and an `upDownCounter`, one
   * observation for a `histogram`, the value that now stands for a `gauge`.
   */
  readonly kind: "counter" | "upDownCounter" | "histogram" | "gauge"
  /** UCUM. Durations are seconds. */
  readonly unit: string
  readonly description: string
  /** Upper ends of the buckets. Histograms have them. */
  readonly boundaries?: ReadonlyArray<number> | undefined
}

// the semantic conventions advise these
const fast = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
// jobs may run for minutes
const long = [...fast, 30, 60, 300, 1_800]
const waiting = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600]

export const metrics = {
  operationDuration: {
    name: "messaging.client.operation.duration",
    kind: "histogram",
    unit: "s",
    description: "Duration of a call of the broker: one send of one or many jobs, or one cancel.",
    boundaries: fast
  },
  processDuration: {
    name: "messaging.process.duration",
    kind: "histogram",
    unit: "s",
    description: "Duration of an attempt, from the start of the handler to its end.",
    boundaries: long
  },
  sentMessages: {
    name: "messaging.client.sent.messages",
    kind: "counter",
    unit: "{message}",
    description: "Jobs that a client tried to send."
  },
  consumedMessages: {
    name: "messaging.client.consumed.messages",
    kind: "counter",
    unit: "{message}",
    description: "Jobs that were handed out to a worker, also those that it hands back."
  },
  waitDuration: {
    name: "job.wait.duration",
    kind: "histogram",
    unit: "s",
    description: "Time from when an attempt was due until its handler starts.",
    boundaries: waiting
  },
  retries: {
    name: "job.retries",
    kind: "counter",
    unit: "{attempt}",
    description: "Failed attempts that are tried again."
  },
  deadLettered: {
    name: "job.dead_lettered",
    kind: "counter",
    unit: "{job}",
    description: "Jobs that failed for good and are kept as dead letters."
  },
  active: {
    name: "job.active",
    kind: "upDownCounter",
    unit: "{job}",
    description: "Handlers that run now."
  },
  workerCapacity: {
    name: "job.worker.capacity",
    kind: "upDownCounter",
    unit: "{job}",
    description: "Handlers that may run at once."
  },
  workerReady: {
    name: "job.worker.ready",
    kind: "upDownCounter",
    unit: "{worker}",
    description: "Workers that hear from the broker, pull from the queue and do not stop."
  },
  queueDepth: {
    name: "job.queue.depth",
    kind: "gauge",
    unit: "{job}",
    description: "Jobs of the queue by state. Every worker of the queue reports the same number: do not add them up."
  },
  queueOldestAge: {
    name: "job.queue.oldest_age",
    kind: "gauge",
    unit: "s",
    description: "Time that the oldest queued job has been due, 0 without one. Every worker of the queue reports it."
  },
  leaseLost: {
    name: "job.lease.lost",
    kind: "counter",
    unit: "{job}",
    description: "Jobs in the hands of a worker that were not its own any more."
  },
  reclaimed: {
    name: "job.reclaimed",
    kind: "counter",
    unit: "{job}",
    description: "Jobs that were handed out again because their worker was gone or lost the lease."
  },
  cronLateness: {
    name: "job.cron.lateness",
    kind: "histogram",
    unit: "s",
    description: "Time from the tick of a cron job until its run starts, jitter excluded.",
    boundaries: waiting
  },
  signatureRejected: {
    name: "job.signature.rejected",
    kind: "counter",
    unit: "{job}",
    description: "Jobs whose signature is missing, unknown, wrong or too old. They are never run."
  },
  payloadDecodeErrors: {
    name: "job.payload.decode_errors",
    kind: "counter",
    unit: "{job}",
    description: "Jobs whose bytes or payload cannot be read. They are never run."
  }
} as const satisfies Record<string, MetricDefinition>
