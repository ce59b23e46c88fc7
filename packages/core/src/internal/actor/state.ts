/**
 * The state of a key between the store and a handler.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import { StateUnreadable } from "../../ActorError.ts"
import type { ActorState } from "../../ActorState.ts"
import * as Codec from "../../Codec.ts"
import { TransportError } from "../../TransportError.ts"
import * as Sequence from "../sequence.ts"
import * as Row from "./row.ts"
import type { Runtime } from "./runtime.ts"
import type { Slot } from "./slots.ts"
import { states } from "./wire.ts"

const backoff = Schedule.jittered(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]))

/** Waits while the broker is away: the message is interrupted when its lease ends. */
export const patiently = <A, E extends { readonly _tag: string }>(
  call: Effect.Effect<A, E | TransportError>
): Effect.Effect<A, E | TransportError> =>
  // the schedule is not even built while the broker is there
  Effect.catch(call, (error) => isAway(error) ? again(call) : Effect.fail(error))

/** For a call that failed because the broker is away. */
export const again = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  Effect.retry(Effect.delay(call, 50), { while: isAway, schedule: backoff })

export const isAway = (error: unknown) => error instanceof TransportError && error.reason._tag === "Unavailable"

/** The state as one message sees and changes it. */
export class Draft implements ActorState<unknown> {
  readonly key: string
  value: unknown
  isChanged = false

  constructor(key: string, value: unknown) {
    this.key = key
    this.value = value
  }

  get get() {
    return Effect.sync(() => this.value)
  }

  get set() {
    return (state: unknown): Effect.Effect<void> =>
      Effect.sync(() => {
        this.value = state
        this.isChanged = true
      })
  }

  get update() {
    return (f: (state: unknown) => unknown): Effect.Effect<void> =>
      Effect.sync(() => {
        this.value = f(this.value)
        this.isChanged = true
      })
  }
}

/** The state of a row; whatever is wrong with its bytes or with `initialState` is `StateUnreadable`. */
export const decode = (
  { accepted, address, initialState, stateSchema }: Pick<
    Runtime,
    "accepted" | "address" | "initialState" | "stateSchema"
  >,
  key: string,
  row: Row.Row
): Effect.Effect<unknown, StateUnreadable> => {
  if (row.state === undefined) return Effect.sync(() => initialState(key))
  const unreadable = (description: string) => new StateUnreadable({ actor: address.name, key, description })
  const codec = accepted.get(row.contentType)
  if (codec === undefined) {
    return Effect.fail(unreadable(`content type "${row.contentType}" is not in Codec.Accepted`))
  }
  // the services of the schema are among those that `toLayer` captured
  const decoded = Codec.compiled(codec, stateSchema).decode(row.state) as Effect.Effect<unknown, Schema.SchemaError>
  return Effect.catchCause(decoded, (cause) => {
    if (Cause.hasInterrupts(cause)) return Effect.interrupt
    const error = Cause.squash(cause)
    return Effect.fail(unreadable(error instanceof Error ? error.message : String(error)))
  })
}

export interface Seen {
  /** 0 without a row. */
  readonly revision: number
  readonly row: Row.Row
}

type Place = Pick<Runtime, "address" | "transport" | "vault">

/** The row of a key as it lies in the store. */
export const fetch = ({ address, transport }: Place, key: string) =>
  Effect.map(
    transport.store.get(states(address), [key]),
    ([found]) => found === undefined || found._tag === "None" ? undefined : found.value
  )

/** The row of a key now. */
export const read = (place: Place, key: string): Effect.Effect<Seen, StateUnreadable | TransportError> =>
  Effect.flatMap(fetch(place, key), (found) => {
    if (found === undefined) return Effect.succeed({ revision: 0, row: Row.empty })
    const { revision, value } = found
    try {
      return Effect.succeed({ revision, row: place.vault.open(key, value) })
    } catch (error) {
      const description = error instanceof Error ? error.message : String(error)
      return Effect.fail(new StateUnreadable({ actor: place.address.name, key, description }))
    }
  })

/** The slot knows this state from now on. The bytes of the row may be parts of larger ones: they are not kept. */
export const remember = (slot: Slot<unknown>, { revision, row }: Seen, state: unknown): void => {
  slot.revision = revision
  slot.state = state
  slot.row = { ...Row.empty, applied: row.applied, restarts: row.restarts }
  slot.knownAt = Sequence.next()
}
