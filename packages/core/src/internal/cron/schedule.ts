/**
 * When a job is due, as it is written into the broker and as it is computed.
 */
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Instants from "./instants.ts"
import type { Fields } from "./wall.ts"

const Expression = Schema.Struct({
  text: Schema.String,
  timezone: Schema.String,
  onDstOverlap: Schema.Literals(["earlier", "later", "both"]),
  /** Set for a `Cron` value that its text does not tell whole. */
  and: Schema.optionalKey(Schema.Boolean)
})

export const Schedule = Schema.Union([
  Schema.Struct({ _tag: Schema.Literal("Cron"), expressions: Schema.NonEmptyArray(Expression) }),
  /** ms. */
  Schema.Struct({ _tag: Schema.Literal("Every"), every: Schema.Number, anchor: Schema.Number })
])

export type Expression = typeof Expression.Type
export type Schedule = typeof Schedule.Type

/** The first moment after the given one, ms since the epoch; `undefined` after the last. */
export type Next = (after: number) => number | undefined

const names: Readonly<Record<string, string>> = {
  "@yearly": "0 0 1 1 *",
  "@annually": "0 0 1 1 *",
  "@monthly": "0 0 1 * *",
  "@weekly": "0 0 * * 0",
  "@daily": "0 0 * * *",
  "@midnight": "0 0 * * *",
  "@hourly": "0 * * * *",
  "@minutely": "* * * * *"
}

/** Why a text is no schedule. */
export class BadSchedule extends Error {}

const parse = (text: string, timezone: string): Cron.Cron => {
  const known = names[text.trim().toLowerCase()]
  if (known === undefined && text.trim().startsWith("@")) {
    throw new BadSchedule(`"${text}" is not known: use ${Object.keys(names).join(", ")}, or the option every`)
  }
  const parsed = Cron.parse(known ?? text, timezone)
  if (Result.isSuccess(parsed)) return parsed.success
  const { input, message } = parsed.failure
  throw new BadSchedule(
    `"${text}"${input === undefined || input === text ? "" : ` ("${input}")`}: ${message}`
  )
}

// both are not in Cron's types, but part of what it says of itself
const requiresBothDays = (cron: Cron.Cron): boolean => (cron.toJSON() as { readonly and: boolean }).and

const all = (count: number, from = 0) => Array.from({ length: count }, (_, index) => index + from)

const fieldsOf = (cron: Cron.Cron, and: boolean): Fields => {
  const allowed = (values: ReadonlySet<number>, count: number) => values.size === 0 ? all(count) : [...values]
  return {
    seconds: allowed(cron.seconds, 60),
    minutes: allowed(cron.minutes, 60),
    hours: allowed(cron.hours, 24),
    months: new Set(cron.months.size === 0 ? all(12, 1) : cron.months),
    days: cron.days.size === 0 ? undefined : cron.days,
    weekdays: cron.weekdays.size === 0 ? undefined : cron.weekdays,
    and
  }
}

/**
 * Sub-daily schedules go on by the hour when the clock is set back: leaving out
 * the repeated hour would lose their runs. A daily one runs once a day.
 */
const defaultOverlap = (cron: Cron.Cron): Cron.DstOverlapPolicy => cron.hours.size === 1 ? "earlier" : "both"

const checkZone = (timezone: string) => {
  if (Option.isNone(DateTime.zoneFromString(timezone))) throw new BadSchedule(`time zone "${timezone}" is not known`)
}

/** What is written for an expression. Throws `BadSchedule`. */
export const expression = (
  input: string | Cron.Cron,
  timezone: string,
  onDstOverlap: Cron.DstOverlapPolicy | undefined
): Expression => {
  checkZone(timezone)
  if (typeof input === "string") {
    return { text: input.trim(), timezone, onDstOverlap: onDstOverlap ?? defaultOverlap(parse(input, timezone)) }
  }
  const text = Cron.format(input, { includeSeconds: true })
  const and = requiresBothDays(input)
  return {
    text,
    // its own zone and policy are part of the value
    timezone: Option.match(input.tz, { onNone: () => timezone, onSome: DateTime.zoneToString }),
    onDstOverlap: onDstOverlap ?? input.onDstOverlap,
    ...(and ? { and } : {})
  }
}

const nextOf = ({ and, onDstOverlap, text, timezone }: Expression): Next => {
  const cron = parse(text, timezone)
  const calendar: Instants.Calendar = {
    fields: fieldsOf(cron, and ?? requiresBothDays(cron)),
    zone: Option.getOrThrow(DateTime.zoneFromString(timezone)),
    onDstOverlap
  }
  return (after) => Instants.next(calendar, after)
}

/** Throws `BadSchedule` for what another release may have written. */
export const compile = (schedule: Schedule): Next => {
  if (schedule._tag === "Every") {
    const { anchor, every } = schedule
    return (after) => anchor + (Math.floor((after - anchor) / every) + 1) * every
  }
  const nexts = schedule.expressions.map(nextOf)
  return (after) => {
    let first: number | undefined
    for (const next of nexts) {
      const at = next(after)
      if (at !== undefined && (first === undefined || at < first)) first = at
    }
    return first
  }
}

/** For humans. */
export const describe = (schedule: Schedule): string =>
  schedule._tag === "Every"
    ? `every ${schedule.every} ms`
    : schedule.expressions.map(({ text, timezone }) => `${text} ${timezone}`).join("; ")
