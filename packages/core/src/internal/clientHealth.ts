/**
 * A client asks its broker once a second whether it is there, from when somebody
 * wants to know: what it sends and awaits would tell only when it is used. Else
 * an idle client asks nothing.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Health } from "../Health.ts"
import type { Collection } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import * as Contact from "./contact.ts"

/** Where no row is: the answer alone counts. The clock of a transport need not ask. */
const nowhere: Collection = { name: "clients", queue: undefined, listable: false }

/** Until the scope closes. */
export const follow = (
  { store }: Transport["Service"],
  clock: Clock.Clock,
  health: Health,
  id: string
): Effect.Effect<void, never, Scope> => {
  const followed = Effect.suspend(() => {
    const contact = Contact.make<"connected">(
      clock,
      "connected",
      (away) => away === undefined ? { state: "connected" } : { state: "disconnected", reason: away }
    )
    const ask = Effect.ignore(contact.ask(store.get(nowhere, [id])))
    return Effect.andThen(
      health.registerClient(() => ({ id, ...contact.look() })),
      Effect.forever(Effect.delay(ask, Contact.askEvery))
    )
  })
  // at once: a process is not ready for a moment in which this one was not looked at yet
  return Effect.asVoid(Effect.forkScoped(Effect.andThen(health.watched, followed), { startImmediately: true }))
}
