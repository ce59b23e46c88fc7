/**
 * What can be wrong with the definition of an actor, and with its stored state.
 */
import * as Schema from "effect/Schema"

/** A definition that cannot work. Thrown where the actor is defined. */
export class InvalidActor extends Schema.TaggedError<InvalidActor>()("InvalidActor", {
  actor: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Actor.make("${this.actor}"): ${this.description}.`
  }
}

/**
 * What is stored for a key cannot be trusted or does not fit the state's schema. Its messages wait for a worker that
 * can read it: deploy one, or `reset` the key.
 */
export class StateUnreadable extends Schema.TaggedError<StateUnreadable>()("StateUnreadable", {
  actor: Schema.String,
  key: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `The state of actor "${this.actor}", key "${this.key}", cannot be read: ${this.description}`
  }
}
