/**
 * Mistakes that an actor can make with its state: the simulation is worth what it
 * catches of them.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Row from "../../src/internal/actor/row.ts"
import type { Collection, PutOptions } from "../../src/Store.ts"
import type { Bug } from "./actors.ts"

const isState = ({ name }: Collection) => name.startsWith("actor/")

/** Every third write of a state is under way for 2.5 s, also when nobody waits for it any more. */
export const late = (change: (options: PutOptions) => PutOptions): Bug => (transport) => {
  let count = 0
  return {
    ...transport,
    store: {
      ...transport.store,
      put: (collection, key, value, options = {}) => {
        if (!isState(collection)) return transport.store.put(collection, key, value, options)
        const put = transport.store.put(collection, key, value, change(options))
        const slow = Effect.suspend(() => Effect.delay(put, count++ % 3 === 0 ? 2_500 : 0))
        return Effect.flatMap(Effect.forkDetach(slow), Fiber.join)
      }
    }
  }
}

/** The bugs, by name. */
export const bugs: Readonly<Record<string, Bug>> = {
  "states written whatever stands": late(({ ifRevision: _, ...others }) => others),
  "outcomes of messages forgotten": (transport) => ({
    ...transport,
    store: {
      ...transport.store,
      get: (collection, keys) =>
        Effect.map(transport.store.get(collection, keys), (rows) =>
          isState(collection)
            ? rows.map((row) =>
              Option.map(row, ({ revision, value }) => ({
                revision,
                value: Row.toBytes({ ...Row.fromBytes(value), last: undefined })
              }))
            )
            : rows)
    }
  })
}
