/**
 * When a calendar schedule is due, found minute by minute: every minute of a
 * time zone is read from `Intl`, and compared with what the schedule allows.
 * Nothing here is shared with the implementation.
 */
export interface Fields {
  readonly minutes: ReadonlySet<number>
  readonly hours: ReadonlySet<number>
  readonly days: ReadonlySet<number>
  readonly months: ReadonlySet<number>
  readonly weekdays: ReadonlySet<number>
  /** How the two days combine. */
  readonly both: boolean
}

export interface Minute {
  readonly at: number
  /** Minutes since the epoch that a clock on the wall shows. */
  readonly wall: number
}

const minute = 60_000

/** Every minute of a zone, or every `step` minutes: then changes of the offset must fall on such a minute. */
export const minutesOf = (timezone: string, from: number, to: number, step = 1): ReadonlyArray<Minute> => {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: timezone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric"
  })
  const minutes: Array<Minute> = []
  for (let at = from; at < to; at += step * minute) {
    const [month, day, year, hour, min] = format.format(at).match(/\d+/g)!.map(Number)
    minutes.push({ at, wall: Date.UTC(year!, month! - 1, day!, hour!, min!) / minute })
  }
  return minutes
}

const matches = (fields: Fields, wall: number): boolean => {
  const date = new Date(wall * minute)
  if (!fields.minutes.has(date.getUTCMinutes())) return false
  if (!fields.hours.has(date.getUTCHours())) return false
  if (!fields.months.has(date.getUTCMonth() + 1)) return false
  const day = fields.days.has(date.getUTCDate())
  const weekday = fields.weekdays.has(date.getUTCDay())
  return fields.both ? day && weekday : day || weekday
}

/** Due moments. Start and end of `minutes` must be days away from a change of the offset. */
export const dueMoments = (
  minutes: ReadonlyArray<Minute>,
  fields: Fields,
  policy: "earlier" | "later" | "both",
  step = 1
): ReadonlyArray<number> => {
  const seen = new Map<number, number>()
  const due = new Set<number>()
  for (const [index, { at, wall }] of minutes.entries()) {
    const before = minutes[index - 1]
    // minutes that no clock shows come as late after the jump as they would have come without it
    for (let skipped = (before?.wall ?? wall) + step; skipped < wall; skipped += step) {
      if (matches(fields, skipped)) due.add(at + (skipped - before!.wall - step) * minute)
    }
    if (!matches(fields, wall)) continue
    const twin = seen.get(wall)
    seen.set(wall, at)
    if (twin !== undefined && policy === "earlier") continue
    // what was shown first does not count, unless a skipped minute comes at the same time
    if (twin !== undefined && policy === "later") due.delete(twin)
    due.add(at)
  }
  return [...due].sort((a, b) => a - b)
}
