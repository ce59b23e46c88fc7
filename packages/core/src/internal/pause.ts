/**
 * The pause flag of a queue: a row that stands while the queue is paused.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Collection } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"

export const pauses = (queue: string): Collection => ({ name: "pauses", queue, listable: false })

export const pauseKey = "paused"

export const isPaused = (transport: Transport["Service"], queue: string): Effect.Effect<boolean, TransportError> =>
  Effect.map(transport.store.get(pauses(queue), [pauseKey]), ([row]) => row !== undefined && Option.isSome(row))
