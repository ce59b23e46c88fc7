/**
 * Which ticks of a job are due, and which were missed.
 */
import type { Next } from "./schedule.ts"

export type Missed = "skip" | "latest" | "all"

/** ms that a tick may be late and still count as on time, for a job that skips what it missed. */
export const onTime = 60_000

export interface Bounds {
  readonly startAt?: number | undefined
  readonly endAt?: number | undefined
}

/** A schedule between its start and its end, both included. */
export const within = (next: Next, { endAt, startAt }: Bounds): Next => (after) => {
  const tick = next(startAt === undefined ? after : Math.max(after, startAt - 1))
  return tick === undefined || (endAt !== undefined && tick > endAt) ? undefined : tick
}

/** All ticks in `(after, until]`, at most `limit`. */
export const between = (next: Next, after: number, until: number, limit: number): ReadonlyArray<number> => {
  const ticks: Array<number> = []
  for (let tick = next(after); tick !== undefined && tick <= until && ticks.length < limit; tick = next(tick)) {
    ticks.push(tick)
  }
  return ticks
}

/** The last tick in `(after, until]`. Looks back in growing steps: there may be millions of others before it. */
export const last = (next: Next, after: number, until: number): number | undefined => {
  for (let step = 60_000;; step *= 2) {
    const from = Math.max(after, until - step)
    let found: number | undefined
    for (let tick = next(from); tick !== undefined && tick <= until; tick = next(tick)) found = tick
    if (found !== undefined || from === after) return found
  }
}

export interface Due {
  /** To be run now, oldest first. */
  readonly run: ReadonlyArray<number>
  /** Not run: too late, or replaced by the latest. Counted up to `countUpTo`. */
  readonly missed: { readonly count: number; readonly first: number; readonly last: number } | undefined
  /** Everything up to here is dealt with. */
  readonly cursor: number
}

/** Ticks that one look enqueues at most; the next look goes on. */
export const batch = 1_000
const countUpTo = 1_000

/** What to do about the ticks in `(cursor, now]`. `undefined` if there are none. */
export const due = (
  next: Next,
  options: { readonly missed: Missed; readonly window: number },
  cursor: number,
  now: number
): Due | undefined => {
  const first = next(cursor)
  if (first === undefined || first > now) return undefined
  // the usual case: one tick, on time
  const second = next(first)
  const oldest = now - options.window
  if ((second === undefined || second > now) && first >= oldest) {
    const runs = options.missed !== "skip" || now - first <= onTime
    return { run: runs ? [first] : [], missed: runs ? undefined : { count: 1, first, last: first }, cursor: first }
  }
  const newest = last(next, cursor, now)!
  const missedUpTo = (tick: number): Due["missed"] => {
    const ticks = between(next, cursor, tick, countUpTo)
    return ticks.length === 0 ? undefined : { count: ticks.length, first: ticks[0]!, last: last(next, cursor, tick)! }
  }
  if (options.missed === "all") {
    const run = between(next, Math.max(cursor, oldest - 1), now, batch)
    return { run, missed: missedUpTo(oldest - 1), cursor: run.at(-1) ?? newest }
  }
  const runs = newest >= oldest && (options.missed === "latest" || now - newest <= onTime)
  return runs
    ? { run: [newest], missed: missedUpTo(newest - 1), cursor: newest }
    : { run: [], missed: missedUpTo(newest), cursor: newest }
}

/** What was missed, without ticks that were sent after all. `looked`: the first of the missed ones. */
export const without = (
  missed: NonNullable<Due["missed"]>,
  looked: ReadonlyArray<number>,
  sent: ReadonlySet<number>
): Due["missed"] => {
  const left = looked.filter((tick) => !sent.has(tick))
  const count = missed.count - sent.size
  if (count <= 0) return undefined
  return {
    count,
    first: left[0] ?? missed.first,
    last: sent.has(missed.last) ? left.at(-1) ?? missed.last : missed.last
  }
}

/** ms that a tick is delayed by: the same in every process, spread evenly over ticks and names. */
export const jitter = (name: string, tick: number, most: number): number => {
  if (most === 0) return 0
  let hash = 0x811c9dc5
  for (const character of `${name} ${tick}`) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0
  // the low bits of this hash are the better ones
  return Math.floor((Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0) / 2 ** 32 * most)
}
