/**
 * Checks what a user says of a job, and applies the defaults.
 */
import * as Arr from "effect/Array"
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { InvalidCronJob } from "../../CronError.ts"
import type { CronOptions, Time } from "../../CronOptions.ts"
import type { Definition } from "./definition.ts"
import * as Schedule from "./schedule.ts"
import { within } from "./ticks.ts"

/** Longest name, in UTF-16 units: it is part of the ids of jobs. */
const longestName = 256

const mostHistory = 1_000

const leastEvery = 100

/** Everything but what is run, and who says so. */
export type Plan = Omit<Definition, "what" | "origin" | "paused">

const isMissing = (input: unknown): input is undefined => input === undefined

/** Throws `InvalidCronJob`. */
export const plan = (name: string, options: CronOptions): Plan => {
  const bad = (description: string) => new InvalidCronJob({ name: String(name), description })
  const millis = (option: string, input: Duration.Input, least: number): number => {
    const duration = Duration.fromInput(input)
    const ms = Option.isSome(duration) ? Math.ceil(Duration.toMillis(duration.value)) : Number.NaN
    if (ms >= least && ms <= Number.MAX_SAFE_INTEGER) return ms
    throw bad(`${option} must be a finite duration of at least ${least} ms, got ${String(input)}`)
  }
  const time = (option: string, input: Time): number => {
    const at = typeof input === "number"
      ? input
      : input instanceof Date
      ? input.getTime()
      : DateTime.toEpochMillis(input)
    if (Number.isFinite(at)) return Math.ceil(at)
    throw bad(`${option} must be a valid time, got ${String(input)}`)
  }
  const whole = (option: string, input: number, most: number): number => {
    if (Number.isInteger(input) && input >= 1 && input <= most) return input
    throw bad(`${option} must be a whole number from 1 to ${most}, got ${input}`)
  }
  const oneOf = <A extends string>(option: string, input: A, allowed: ReadonlyArray<A>): A => {
    if (allowed.includes(input)) return input
    throw bad(`${option} must be one of ${allowed.join(", ")}, got "${input}"`)
  }

  if (typeof name !== "string" || name.length === 0) throw bad("the name must be a text that is not empty")
  if (name.length > longestName) throw bad(`the name has ${name.length} characters, at most ${longestName} are allowed`)
  if (!name.isWellFormed()) throw bad("the name must be well-formed Unicode: it has half a surrogate pair")

  const startAt = isMissing(options.startAt) ? undefined : time("startAt", options.startAt)
  const endAt = isMissing(options.endAt) ? undefined : time("endAt", options.endAt)
  const timezone = options.timezone ?? "UTC"
  const scheduleOf = (): Schedule.Schedule => {
    if (isMissing(options.cron) === isMissing(options.every)) throw bad("give one of cron and every")
    if (!isMissing(options.every)) {
      return { _tag: "Every", every: millis("every", options.every, leastEvery), anchor: startAt ?? 0 }
    }
    const { cron } = options
    const inputs = Arr.isArray(cron) ? cron : [cron!]
    const expressions = inputs.map((input) => {
      if (typeof input !== "string" && !Cron.isCron(input)) throw bad("cron must be a text or a Cron")
      return Schedule.expression(input, timezone, options.onDstOverlap)
    })
    if (!Arr.isArrayNonEmpty(expressions)) throw bad("cron must not be an empty list")
    return { _tag: "Cron", expressions }
  }
  const guarded = (): Schedule.Schedule => {
    try {
      return scheduleOf()
    } catch (error) {
      throw error instanceof Schedule.BadSchedule ? bad(error.message) : error
    }
  }

  const schedule = guarded()
  const bounds = { ...(isMissing(startAt) ? {} : { startAt }), ...(isMissing(endAt) ? {} : { endAt }) }
  if (within(Schedule.compile(schedule), bounds)(startAt ?? 0) === undefined && schedule._tag === "Cron") {
    throw bad(`"${Schedule.describe(schedule)}" never comes`)
  }
  const missedWindow = millis("missedWindow", options.missedWindow ?? "1 hour", 1_000)
  const age = millis("history.age", options.history?.age ?? "14 days", 1_000)
  return {
    name,
    schedule,
    overlap: oneOf("overlap", options.overlap ?? "skip", ["skip", "allow", "queue"]),
    lockTtl: millis("lockTtl", options.lockTtl ?? "300 seconds", 100),
    missed: oneOf("missed", options.missed ?? "latest", ["skip", "latest", "all"]),
    missedWindow,
    jitter: millis("jitter", options.jitter ?? 0, 0),
    ...bounds,
    ...(isMissing(options.limit) ? {} : { limit: whole("limit", options.limit, Number.MAX_SAFE_INTEGER) }),
    enabled: options.enabled ?? true,
    // a run that may still come must find its row
    keep: {
      count: whole("history.count", options.history?.count ?? 100, mostHistory),
      age: Math.max(age, missedWindow)
    }
  }
}
