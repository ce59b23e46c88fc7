/**
 * Why a worker did not start.
 */
import * as Schema from "effect/Schema"

/** Two definitions share a tag: on the wire they could not be told apart. */
export class DuplicateTask extends Schema.TaggedError<DuplicateTask>()("DuplicateTask", {
  task: Schema.String,
  first: Schema.String,
  second: Schema.String
}) {
  override get message() {
    return `two tasks have the tag "${this.task}": ${this.first} and ${this.second}. Rename one of them`
  }
}

/** The handler in context was built from another definition with the same tag. */
export class ForeignHandler extends Schema.TaggedError<ForeignHandler>()("ForeignHandler", {
  task: Schema.String
}) {
  override get message() {
    return `the handler of task "${this.task}" was built from another definition: call toLayer on the task that the worker lists`
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

/** A live worker has the same id. */
export class IdInUse extends Schema.TaggedError<IdInUse>()("IdInUse", {
  worker: Schema.String
}) {
  override get message() {
    return `another live worker has the id "${this.worker}": give each worker its own id, or none`
  }
}

export class WorkerError extends Schema.TaggedError<WorkerError>()("WorkerError", {
  reason: Schema.Union([DuplicateTask, ForeignHandler, InvalidOption, IdInUse])
}) {
  override get message() {
    return `The worker did not start: ${this.reason.message}.`
  }
}
