/**
 * The moments at which a calendar schedule is due, across changes of the offset.
 *
 * A wall time that does not exist (the clock jumps forward) is due as much
 * later as the clock jumps: 02:30 at 03:30. One that exists twice (the clock is
 * set back) is due as the policy says. `effect/Cron` says the same, but misses
 * moments near a jump that is not a whole hour, and takes ten times as long.
 */
import type * as Cron from "effect/Cron"
import type * as DateTime from "effect/DateTime"
import * as Wall from "./wall.ts"
import * as Zone from "./zone.ts"

export interface Calendar {
  readonly fields: Wall.Fields
  readonly zone: DateTime.TimeZone
  readonly onDstOverlap: Cron.DstOverlapPolicy
}

const { day } = Wall
const second = 1_000

const earliest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b)

/** The first due moment in `(after, until]`, within a piece of time that has one offset. */
const inPiece = (
  { fields, onDstOverlap }: Calendar,
  piece: {
    readonly after: number
    readonly until: number
    readonly offset: number
    readonly entered: Zone.Transition | undefined
    readonly left: Zone.Transition | undefined
  }
): number | undefined => {
  const { entered, left, offset } = piece
  let { after, until } = piece
  let moved: number | undefined
  if (entered !== undefined) {
    const jump = entered.after - entered.before
    if (jump > 0 && after < entered.at + jump) {
      // the wall times that were skipped, by the offset before
      const from = Math.max(after, entered.at - second)
      const wall = Wall.next(fields, from + entered.before)
      if (wall !== undefined && wall - entered.before < entered.at + jump) moved = wall - entered.before
    }
    // the second time that these wall times come
    if (jump < 0 && onDstOverlap === "earlier") after = Math.max(after, entered.at - jump - second)
  }
  // the first time that these wall times come
  if (left !== undefined && onDstOverlap === "later" && left.after < left.before) {
    until = Math.min(until, left.at - (left.before - left.after) - second)
  }
  const wall = Wall.next(fields, after + offset)
  const found = earliest(moved, wall === undefined || wall - offset > until ? undefined : wall - offset)
  return found === undefined || found > piece.until ? undefined : found
}

/** The first due moment after the given one, ms since the epoch; `undefined` if there is none in 41 years. */
export const next = (calendar: Calendar, after: number): number | undefined => {
  const { fields, zone } = calendar
  let from = Math.floor(after / second) * second
  while (true) {
    const until = from + 2 * day
    // a jump reaches a day at most into the time after it
    const changes = Zone.transitions(zone, from - day - second, until + day)
    let entered = changes.findLast(({ at }) => at <= from)
    let offset = entered?.after ?? changes[0]?.before ?? Zone.offsetAt(zone, from)
    let start = from
    for (const left of [...changes.filter(({ at }) => at > from), undefined]) {
      const end = Math.min(until, left === undefined ? until : left.at - second)
      const found = inPiece(calendar, { after: start, until: end, offset, entered, left })
      if (found !== undefined) return found
      if (left === undefined || left.at > until) break
      start = left.at - second
      entered = left
      offset = left.after
    }
    // nothing for days: go where the calendar goes on, and a day less, whatever the offset is there
    const wall = Wall.next(fields, until + offset - day)
    if (wall === undefined) return undefined
    from = Math.max(until, wall - offset - day - second)
  }
}
