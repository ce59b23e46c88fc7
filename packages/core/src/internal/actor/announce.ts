/**
 * Publishes what happens to actors. They are rare: nobody asks whether somebody listens.
 */
import * as Effect from "effect/Effect"
import { type ActorEvent, actorTopic } from "../../ActorEvents.ts"
import type { Bus } from "../../Bus.ts"
import { encodeJson } from "../json.ts"

export const announce = (bus: Bus, event: ActorEvent): Effect.Effect<void> =>
  Effect.ignore(bus.publish(actorTopic(event.actor), encodeJson(event)))
