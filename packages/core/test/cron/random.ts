/**
 * Schedules made at random: their text, and what it means, told apart. The same
 * seed makes the same schedules.
 */
import type { Fields } from "./oracle.ts"

export type Random = () => number

/** Mulberry32. */
export const seeded = (seed: number): Random => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export interface Field {
  readonly text: string
  readonly values: ReadonlySet<number>
  /** It allows everything, and starts with a star. */
  readonly star: boolean
}

interface Kind {
  readonly least: number
  readonly most: number
  readonly names?: ReadonlyArray<string>
  /** 7 is Sunday, too. */
  readonly sunday?: boolean
}

export const kinds = {
  second: { least: 0, most: 59 },
  minute: { least: 0, most: 59 },
  hour: { least: 0, most: 23 },
  day: { least: 1, most: 31 },
  month: {
    least: 1,
    most: 12,
    names: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
  },
  weekday: { least: 0, most: 6, names: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"], sunday: true }
} satisfies Record<string, Kind>

const whole = (random: Random, least: number, most: number) => least + Math.floor(random() * (most - least + 1))

const range = (from: number, to: number, step = 1) =>
  Array.from({ length: Math.floor((to - from) / step) + 1 }, (_, index) => from + index * step)

/** A number, or its name in some spelling. */
const spell = (random: Random, { least, names }: Kind, value: number): string => {
  const name = names?.[value - least]
  if (name === undefined || random() < 0.6) return random() < 0.1 && value < 10 ? `0${value}` : String(value)
  return [name, name.toUpperCase(), `${name[0]!.toUpperCase()}${name.slice(1)}`][whole(random, 0, 2)]!
}

const part = (random: Random, kind: Kind): { readonly text: string; readonly values: ReadonlyArray<number> } => {
  const { least, most } = kind
  const from = whole(random, least, most)
  const choice = random()
  if (choice < 0.5) return { text: spell(random, kind, from), values: [from] }
  const to = whole(random, from, most)
  const text = `${spell(random, kind, from)}-${spell(random, kind, to)}`
  if (choice < 0.75) return { text, values: range(from, to) }
  const step = whole(random, 1, Math.max(1, Math.floor(most / 2)))
  return { text: `${text}/${step}`, values: range(from, to, step) }
}

/** One field of an expression. */
export const field = (random: Random, kind: Kind): Field => {
  const { least, most } = kind
  const choice = random()
  if (choice < 0.25) return { text: "*", values: new Set(range(least, most)), star: true }
  if (choice < 0.5) {
    const step = whole(random, 1, Math.floor(most / 2))
    return { text: `*/${step}`, values: new Set(range(least, most, step)), star: true }
  }
  if (kind.sunday === true && choice < 0.55) return { text: "7", values: new Set([0]), star: false }
  const parts = range(1, whole(random, 1, 3)).map(() => part(random, kind))
  return {
    text: parts.map(({ text }) => text).join(","),
    values: new Set(parts.flatMap(({ values }) => values)),
    star: false
  }
}

export interface Sample {
  readonly text: string
  readonly fields: Fields
}

/** With a star in one of the days, both must match: then the star allows what the other one does not restrict. */
export const combine = (minute: Field, hour: Field, day: Field, month: Field, weekday: Field): Sample => ({
  text: [minute, hour, day, month, weekday].map(({ text }) => text).join(" "),
  fields: {
    minutes: minute.values,
    hours: hour.values,
    days: day.values,
    months: month.values,
    weekdays: weekday.values,
    both: day.star || weekday.star
  }
})

/** Any schedule; most of them do not come often. */
export const schedule = (random: Random): Sample =>
  combine(
    field(random, kinds.minute),
    field(random, kinds.hour),
    field(random, kinds.day),
    random() < 0.7 ? { text: "*", values: new Set(range(1, 12)), star: true } : field(random, kinds.month),
    field(random, kinds.weekday)
  )
