/**
 * How a message ended that is about to end as poison or expired: an owner that
 * died between the write of the state and the record may have decided it.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Envelope } from "../../Envelope.ts"
import type { Encoding } from "../handler.ts"
import type { Message, Runtime } from "./runtime.ts"
import * as State from "./state.ts"
import { isDecided, repeat } from "./turn.ts"
import { actorKey, states } from "./wire.ts"

/** `undefined`: it was not decided. Then the row is written as it is: an owner that does not know yet loses its write. */
export const recall = (
  runtime: Runtime,
  message: Message,
  envelope: Envelope,
  encoding: Encoding
): Effect.Effect<Exit.Exit<Uint8Array, unknown> | undefined> => {
  const { address, transport, vault } = runtime
  const key = actorKey(address, envelope.key)
  if (key === undefined) return Effect.undefined
  const look: Effect.Effect<Exit.Exit<Uint8Array, unknown> | undefined, unknown> = Effect.flatMap(
    State.patiently(State.read(runtime, key)),
    ({ revision, row }) => {
      if (isDecided(row, envelope)) {
        return Effect.exit(repeat({ encoding, message, runtime }, row.last!.outcome))
      }
      const put = transport.store.put(states(address), key, vault.seal(key, row), { ifRevision: revision })
      return State.patiently(put).pipe(
        Effect.as(undefined),
        Effect.catchIf((error) => error._tag === "RevisionConflict", () => look)
      )
    }
  )
  return Effect.catch(look, (error) =>
    Effect.as(
      Effect.logError(
        `Cannot tell whether job "${envelope.id}" of actor "${address.name}", key "${key}", ended`,
        error
      ),
      undefined
    ))
}
