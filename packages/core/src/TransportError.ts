/**
 * What a broker can answer instead of doing its work.
 */
import * as Schema from "effect/Schema"

/** The broker cannot be reached or did not answer. Passes; every operation is safe to repeat. */
export class Unavailable extends Schema.TaggedError<Unavailable>()("Unavailable", {
  operation: Schema.String,
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return `The broker did not answer ${this.operation}: ${this.description}. The operation is safe to repeat.`
  }
}

/** This broker cannot do what was asked, whatever the load. See `Transport.capabilities`. */
export class Unsupported extends Schema.TaggedError<Unsupported>()("Unsupported", {
  operation: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `This transport does not support ${this.operation}: ${this.description}.`
  }
}

/** The broker refuses new work because a limit is reached. Work under way can still finish. */
export class QueueFull extends Schema.TaggedError<QueueFull>()("QueueFull", {
  queue: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Queue "${this.queue}" is full: ${this.description}. Add workers, raise the limit or enqueue later.`
  }
}

/** The broker refused the operation: permissions, configuration, a foreign data type under our key. */
export class Refused extends Schema.TaggedError<Refused>()("Refused", {
  operation: Schema.String,
  description: Schema.String,
  cause: Schema.optional(Schema.Defect())
}) {
  override get message() {
    return `The broker refused ${this.operation}: ${this.description}.`
  }
}

export type TransportErrorReason = Unavailable | Unsupported | QueueFull | Refused

const TransportErrorReason = Schema.Union([Unavailable, Unsupported, QueueFull, Refused])

/** Every failure of a transport, with a tagged `reason`. Only `Unavailable` passes by itself. */
export class TransportError extends Schema.TaggedError<TransportError>()("TransportError", {
  reason: TransportErrorReason
}) {
  override get message() {
    return this.reason.message
  }
}
