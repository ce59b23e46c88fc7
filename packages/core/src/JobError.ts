/**
 * How a job can end, seen from the one who waits, beside the errors of its own task.
 */
import * as Schema from "effect/Schema"
import { InvalidOption } from "./EnqueueError.ts"
import type { FailureReason } from "./JobRecord.ts"

const identity = { id: Schema.String, queue: Schema.String }

const name = (self: { readonly id: string; readonly queue: string }) => `Job "${self.id}" of queue "${self.queue}"`

/** Every reason of a failed record but `Error`, which is the task's own typed error. */
export type JobFailedReason = Exclude<FailureReason, "Error">

/** The job failed without an error of its own type. It is kept as a dead letter and can be replayed. */
export class JobFailed extends Schema.TaggedError<JobFailed>()("JobFailed", {
  ...identity,
  task: Schema.String,
  attempts: Schema.Number,
  reason: Schema.Literals([
    "Defect",
    "TimedOut",
    "Discarded",
    "Exhausted",
    "Poison",
    "Undecodable",
    "Unencodable",
    "UnknownTask",
    "UnknownVersion",
    "Signature"
  ]),
  description: Schema.String
}) {
  override get message() {
    return `${
      name(this)
    } (task "${this.task}") failed after ${this.attempts} attempt(s), ${this.reason}: ${this.description}`
  }
}

export class JobCancelled extends Schema.TaggedError<JobCancelled>()("JobCancelled", identity) {
  override get message() {
    return `${name(this)} was cancelled.`
  }
}

export class JobExpired extends Schema.TaggedError<JobExpired>()("JobExpired", identity) {
  override get message() {
    return `${name(this)} was not started before its expiry: raise expiresIn or add workers.`
  }
}

/** The job has neither a place nor a record: it never existed, or its record has expired. */
export class JobNotFound extends Schema.TaggedError<JobNotFound>()("JobNotFound", identity) {
  override get message() {
    return `${name(this)} does not exist: the id is wrong, or its record has expired (raise resultTimeToLive).`
  }
}

/** Its signature is missing or wrong, or only another release knows the version of its envelope. */
export class NotOurs extends Schema.TaggedError<NotOurs>()("NotOurs", {
  description: Schema.String
}) {
  override get message() {
    return this.description
  }
}

/** The job cannot get another due time, with a tagged `reason`. Nothing was changed. */
export class RescheduleError extends Schema.TaggedError<RescheduleError>()("RescheduleError", {
  ...identity,
  reason: Schema.Union([InvalidOption, NotOurs])
}) {
  override get message() {
    return `${name(this)} was not rescheduled: ${this.reason.message}.`
  }
}

/** The job is over and its state is known, but its value is no longer kept. */
export class ResultExpired extends Schema.TaggedError<ResultExpired>()("ResultExpired", {
  ...identity,
  state: Schema.Literals(["succeeded", "failed"])
}) {
  override get message() {
    return `${name(this)} ${this.state}, but its value is no longer kept: raise resultTimeToLive or await it earlier.`
  }
}

/** The record is there, but its bytes cannot be trusted or decoded. */
export class ResultUnreadable extends Schema.TaggedError<ResultUnreadable>()("ResultUnreadable", {
  ...identity,
  description: Schema.String
}) {
  override get message() {
    return `The result of ${name(this)} cannot be read: ${this.description}`
  }
}

/** The job was not over in time. It goes on. */
export class AwaitTimeout extends Schema.TaggedError<AwaitTimeout>()("AwaitTimeout", {
  ...identity,
  timeoutMillis: Schema.Number,
  state: Schema.Literals(["scheduled", "queued", "running", "succeeded", "failed", "cancelled", "expired", "unknown"])
}) {
  override get message() {
    return `${name(this)} was not over after ${this.timeoutMillis} ms: it is ${this.state}. The job goes on.`
  }
}
