/**
 * When a caller wants a job to be due.
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { InvalidOption } from "../EnqueueError.ts"
import type { DueOptions } from "../EnqueueOptions.ts"
import type { Due } from "../Envelope.ts"

export const invalid = (option: string, description: string): InvalidOption =>
  new InvalidOption({ option, description })

/** Throws an `InvalidOption`. */
export const millis = (option: string, input: Duration.Input): number => {
  const duration = Duration.fromInput(input)
  const ms = Option.isSome(duration) ? Duration.toMillis(duration.value) : Number.NaN
  if (!(ms >= 0 && ms <= Number.MAX_SAFE_INTEGER)) {
    throw invalid(option, `must be a finite duration of at least 0, got ${String(input)}`)
  }
  return Math.ceil(ms)
}

/** `undefined`: now. Throws an `InvalidOption`. */
export const dueOf = ({ at, delay }: DueOptions): Due | undefined => {
  if (at !== undefined) {
    if (delay !== undefined) throw invalid("at", "excludes delay: give one of the two")
    const time = typeof at === "number" ? at : at instanceof Date ? at.getTime() : DateTime.toEpochMillis(at)
    if (!Number.isFinite(time)) throw invalid("at", `must be a valid time, got ${String(at)}`)
    return { _tag: "At", at: Math.ceil(time) }
  }
  if (delay === undefined) return undefined
  const after = millis("delay", delay)
  return after === 0 ? undefined : { _tag: "After", after }
}
