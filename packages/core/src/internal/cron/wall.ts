/**
 * Arithmetic on a wall clock that never jumps. A wall time is written as the ms
 * since the epoch of the same date and time in UTC.
 */

/** What a schedule allows, every list in order and not empty. */
export interface Fields {
  readonly seconds: ReadonlyArray<number>
  readonly minutes: ReadonlyArray<number>
  readonly hours: ReadonlyArray<number>
  /** 1 to 12. */
  readonly months: ReadonlySet<number>
  /** 1 to 31; `undefined` allows all. */
  readonly days: ReadonlySet<number> | undefined
  /** 0 (Sunday) to 6; `undefined` allows all. */
  readonly weekdays: ReadonlySet<number> | undefined
  /** Both days must match, not just one of them. */
  readonly and: boolean
}

const second = 1_000
export const day = 86_400_000

/** Years after which the 29th of February has fallen on every weekday, also across a century without one. */
const horizon = 41 * 366 * day

const matchesDay = ({ and, days, weekdays }: Fields, date: Date): boolean => {
  if (days === undefined) return weekdays === undefined || weekdays.has(date.getUTCDay())
  if (weekdays === undefined) return days.has(date.getUTCDate())
  const [left, right] = [days.has(date.getUTCDate()), weekdays.has(date.getUTCDay())]
  return and ? left && right : left || right
}

/** The first matching midnight at or after the given one. */
const nextDay = (fields: Fields, from: number): number | undefined => {
  const date = new Date(from)
  const end = from + horizon
  while (date.getTime() <= end) {
    if (!fields.months.has(date.getUTCMonth() + 1)) date.setUTCMonth(date.getUTCMonth() + 1, 1)
    else if (matchesDay(fields, date)) return date.getTime()
    else date.setUTCDate(date.getUTCDate() + 1)
  }
  return undefined
}

const firstFrom = (values: ReadonlyArray<number>, least: number): number | undefined =>
  values.find((value) => value >= least)

/** The first matching second of the day at or after the given one. */
const nextTime = ({ hours, minutes, seconds }: Fields, from: number): number | undefined => {
  const hour = Math.floor(from / 3_600)
  const minute = Math.floor(from / 60) % 60
  const at = (h: number, m: number, s: number) => h * 3_600 + m * 60 + s
  if (hours.includes(hour)) {
    if (minutes.includes(minute)) {
      const s = firstFrom(seconds, from % 60)
      if (s !== undefined) return at(hour, minute, s)
    }
    const m = firstFrom(minutes, minute + 1)
    if (m !== undefined) return at(hour, m, seconds[0]!)
  }
  const h = firstFrom(hours, hour + 1)
  return h === undefined ? undefined : at(h, minutes[0]!, seconds[0]!)
}

/** The first matching wall time after the given one; `undefined` if there is none in 41 years. */
export const next = (fields: Fields, after: number): number | undefined => {
  const from = (Math.floor(after / second) + 1) * second
  const midnight = Math.floor(from / day) * day
  const today = nextDay(fields, midnight)
  if (today === midnight) {
    const time = nextTime(fields, (from - midnight) / second)
    if (time !== undefined) return midnight + time * second
  }
  const later = today === midnight ? nextDay(fields, midnight + day) : today
  return later === undefined ? undefined : later + nextTime(fields, 0)! * second
}
