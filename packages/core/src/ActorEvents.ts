/**
 * What happens to actors beside their messages, broadcast over the bus at most
 * once. What must not be missed is in the state: `Actor.state(key)`. The
 * lifecycle of the messages themselves is in `JobEvents`.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Topic } from "./Bus.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export const ActorEvent = Schema.Struct({
  /** `Stopped` holds the mailbox until `Resumed` or `Reset`. */
  _tag: Schema.Literals(["Restarted", "Stopped", "Resumed", "Reset"]),
  actor: Schema.String,
  key: Schema.String,
  /** ms since the epoch by the broker's clock. */
  at: Schema.Number,
  /** The tag of the message that failed, and the id of its job (`Restarted`, `Stopped`). */
  message: Schema.optionalKey(Schema.String),
  id: Schema.optionalKey(Schema.String),
  /** Why (`Restarted`, `Stopped`). */
  reason: Schema.optionalKey(Schema.String)
})

export type ActorEvent = typeof ActorEvent.Type

/** Where the events of an actor are published: JSON text, one event. */
export const actorTopic = (actor: string): Topic => ["actor-events", actor]

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(ActorEvent))

/** The events of one actor, or of all, from now on. A slow reader loses the oldest of more than 1,024. */
export const stream = (actor?: string): Stream.Stream<ActorEvent, TransportError, Transport> =>
  Stream.callback<ActorEvent, TransportError, Transport>(
    Effect.fnUntraced(function*(queue) {
      const { bus } = yield* Transport
      const text = new TextDecoder()
      yield* bus.subscribe(actor === undefined ? ["actor-events"] : actorTopic(actor), (message) => {
        const event = decode(text.decode(message.bytes))
        if (event._tag === "Some") Queue.offerUnsafe(queue, event.value)
      })
    }),
    { bufferSize: 1_024, strategy: "sliding" }
  )
