/**
 * What becomes of an actor whose message failed.
 *
 * The stored state is safe whatever happens: a message that fails leaves it as
 * it was. What is decided here is what becomes of the message, of the mailbox,
 * and of what the worker holds in memory for the key.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"

/**
 * - `answer`: the error is the answer, the actor goes on. Nothing is kept as a dead letter.
 * - `resume`: the message goes to the dead letters, the actor goes on with what it has in memory.
 * - `restart`: what the worker holds for the key is released and built anew from the stored state; the message is
 *   tried again in its turn, as its retry policy says, and goes to the dead letters after the last attempt.
 * - `stop`: what the worker holds is released and the mailbox is held, the message at its head, until `Actor.resume(key)`.
 *   Nothing is lost; messages that expire meanwhile do.
 */
export type Directive = "answer" | "resume" | "restart" | "stop"

/** How a message failed. */
export type Failure<E> =
  /** With an error that the message declares. */
  | { readonly _tag: "Error"; readonly error: E; readonly message: string }
  | { readonly _tag: "Defect"; readonly defect: unknown; readonly message: string }
  /** It took longer than its `timeout`. */
  | { readonly _tag: "TimedOut"; readonly message: string }

export interface Supervision<E> {
  /** Default: a declared error is the answer, everything else restarts. What it cannot decide, restarts. */
  readonly decide?: ((failure: Failure<E>) => Directive) | undefined
  /**
   * More than so many restarts of one key within this time stop it. Counted across workers and crashes of workers,
   * by the broker's clock. Default: no limit; the retry policy of each message is one.
   */
  readonly intensity?: { readonly restarts: number; readonly within: Duration.Input } | undefined
}

/** A declared error is the answer, everything else restarts. */
export const defaultDecide = (failure: Failure<unknown>): Directive => failure._tag === "Error" ? "answer" : "restart"

/** Defaults applied; `within` is ms. */
export interface Resolved {
  readonly decide: (failure: Failure<unknown>) => Directive
  readonly intensity: { readonly restarts: number; readonly within: number } | undefined
}

/** Throws an `Error` for an intensity that cannot work. */
export const resolve = (supervision: Supervision<never> | undefined): Resolved => {
  const { decide = defaultDecide, intensity } = supervision ?? {}
  // the failures that reach it are those of the messages that it was written for
  const erased = decide as Resolved["decide"]
  if (intensity === undefined) return { decide: erased, intensity }
  const within = Option.getOrUndefined(Duration.fromInput(intensity.within))
  const ms = within === undefined ? Number.NaN : Duration.toMillis(within)
  if (!(Number.isInteger(intensity.restarts) && intensity.restarts >= 0 && Number.isFinite(ms) && ms > 0)) {
    throw new Error(
      `an intensity is a whole number of restarts within a finite time, got ${intensity.restarts} within ` +
        String(intensity.within)
    )
  }
  return { decide: erased, intensity: { restarts: intensity.restarts, within: ms } }
}
