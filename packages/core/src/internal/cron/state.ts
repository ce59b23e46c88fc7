/**
 * How far a job has come: the cursor, the number of its ticks, and the keys of
 * the runs that the history keeps.
 */
import * as Schema from "effect/Schema"
import * as Rows from "../rows.ts"

export const State = Schema.Struct({
  /** All ticks up to here are dealt with, ms since the epoch. */
  cursor: Schema.Number,
  /** Ticks that were run. */
  count: Schema.Number,
  /** The schedule that the cursor belongs to. */
  spec: Schema.String,
  /** Keys of runs, the newest first. */
  runs: Schema.Array(Schema.String)
})

export type State = typeof State.Type

/** By the name of the job. */
export const states = Rows.make({ name: "cron-states", queue: undefined, listable: false }, State)

/** The state of a job whose schedule is new or was changed: what was due before is not caught up. */
export const begin = (state: State | undefined, spec: string, now: number): State =>
  state === undefined
    ? { cursor: now, count: 0, spec, runs: [] }
    : { ...state, cursor: Math.max(state.cursor, now), spec }

/** Adds runs to the history. Answers also the keys that it no longer keeps. */
export const record = (
  state: State,
  keys: ReadonlyArray<string>,
  most: number
): { readonly state: State; readonly dropped: ReadonlyArray<string> } => {
  const known = new Set(state.runs)
  const runs = [...keys.filter((key) => !known.has(key)).reverse(), ...state.runs]
  return { state: { ...state, runs: runs.slice(0, most) }, dropped: runs.slice(most) }
}
