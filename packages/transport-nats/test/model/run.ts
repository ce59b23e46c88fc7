/**
 * Messages that one answer confirms.
 */
import * as Effect from "effect/Effect"
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { Publish, Published } from "../../src/internal/streams.ts"
import { idOf, type Place } from "./headers.ts"

export const stored: Published = { _tag: "Stored", sequence: 0 }

/** Of a message that was in a run that broke. */
export const alone: Place = { after: undefined }

interface Road {
  /** Without an answer; then the next one may go. */
  readonly tell: (message: Publish, place: Place, then: () => void) => void
  readonly ask: (message: Publish, place: Place, then: (answer: Published | undefined) => void) => void
}

/** Whether all are stored, by the answer to the last one. */
export const send = (messages: ReadonlyArray<Publish>, road: Road): Effect.Effect<boolean> =>
  Effect.callback<boolean>((resume) => {
    const next = (index: number): void => {
      const message = messages[index]!
      const place: Place = { after: index === 0 ? undefined : idOf(messages[index - 1]!) }
      if (index < messages.length - 1) return road.tell(message, place, () => next(index + 1))
      road.ask(message, place, (answer) => resume(Effect.succeed(answer?._tag === "Stored")))
    }
    next(0)
  })

/** Messages with ids travel together, sometimes some of them, sometimes each by itself. */
export const split = (messages: ReadonlyArray<Publish>, random: Prng): ReadonlyArray<ReadonlyArray<Publish>> => {
  const longest = random.chance(0.2) ? 1 : random.int(2, 8)
  const all: Array<Array<Publish>> = []
  let open: Array<Publish> | undefined
  for (const message of messages) {
    const hasId = idOf(message) !== undefined
    if (hasId && open !== undefined && open.length < longest) open.push(message)
    else {
      const some = [message]
      all.push(some)
      open = hasId ? some : undefined
    }
  }
  return all
}
