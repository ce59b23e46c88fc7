/**
 * Why a job was not accepted. Nothing was enqueued.
 */
import * as Schema from "effect/Schema"

/** The payload does not fit the task's schema. */
export class InvalidPayload extends Schema.TaggedError<InvalidPayload>()("InvalidPayload", {
  description: Schema.String
}) {
  override get message() {
    return `the payload does not fit the schema of the task: ${this.description}`
  }
}

export class PayloadTooLarge extends Schema.TaggedError<PayloadTooLarge>()("PayloadTooLarge", {
  bytes: Schema.Number,
  limit: Schema.Number
}) {
  override get message() {
    return `the encoded payload has ${this.bytes} bytes, the limit is ${this.limit}: send a reference to the data, ` +
      `or raise Client.PayloadLimit`
  }
}

export class InvalidOption extends Schema.TaggedError<InvalidOption>()("InvalidOption", {
  option: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `option "${this.option}" ${this.description}`
  }
}

export type EnqueueErrorReason = InvalidPayload | PayloadTooLarge | InvalidOption

/** Bad input, with a tagged `reason`. */
export class EnqueueError extends Schema.TaggedError<EnqueueError>()("EnqueueError", {
  task: Schema.String,
  queue: Schema.String,
  reason: Schema.Union([InvalidPayload, PayloadTooLarge, InvalidOption])
}) {
  override get message() {
    return `Task "${this.task}" was not enqueued on "${this.queue}": ${this.reason.message}.`
  }
}
