/**
 * When a cron job runs, and what about runs that overlap or were missed.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Cron from "effect/Cron"
import type * as DateTime from "effect/DateTime"
import type * as Duration from "effect/Duration"

/** ms since the epoch when a number. */
export type Time = DateTime.DateTime | Date | number

/**
 * Five fields, or six with seconds in front: lists, ranges, steps, names of
 * months and weekdays; `@yearly`, `@monthly`, `@weekly`, `@daily`, `@hourly`,
 * `@minutely`. With a day of the month and a weekday, one of them is enough
 * unless one of the two fields starts with `*`. Several expressions make one
 * schedule.
 */
export type Expression = string | Cron.Cron

interface Common {
  /** Where the fields are read. A `Cron` with a zone of its own keeps it. Default: `"UTC"`. */
  readonly timezone?: string | undefined
  /**
   * Which of two equal wall times counts when the clock is set back. Default:
   * `"both"` for expressions with more than one hour a day, else `"earlier"`;
   * what a `Cron` says itself. A time that is skipped when the clock is set
   * forward is due as much later as the clock jumps, under every policy.
   */
  readonly onDstOverlap?: Cron.DstOverlapPolicy | undefined
  /** No tick before, none after. */
  readonly startAt?: Time | undefined
  readonly endAt?: Time | undefined
  /** Ticks in all. Default: no limit. */
  readonly limit?: number | undefined
  /** Each tick is run up to this much later, always the same for a tick. Default: none. */
  readonly jitter?: Duration.Input | undefined
  /** Default: true. What was due while a job was not enabled is not caught up. */
  readonly enabled?: boolean | undefined
  /**
   * What a tick does while another run of the job is at work, on any worker:
   * `skip` records it as SKIPPED, `queue` runs it afterwards, in order, `allow`
   * runs it beside the other. Default: `"skip"`.
   */
  readonly overlap?: "skip" | "allow" | "queue" | undefined
  /**
   * How long the lock of a run outlives a process that died. It is renewed, so
   * it need not fit the duration of a run. Default: 300 seconds.
   */
  readonly lockTtl?: Duration.Input | undefined
  /**
   * What to do about ticks that came while no scheduler was alive: `skip` runs
   * none that is more than a minute late, `latest` the last one, `all` each.
   * What is not run is recorded as SKIPPED. Default: `"latest"`.
   */
  readonly missed?: "skip" | "latest" | "all" | undefined
  /** A tick older than this is never run, also if it waits that long for a worker. Default: 1 hour. */
  readonly missedWindow?: Duration.Input | undefined
  /** How many ticks the history keeps, at most 1,000, and for how long. Default: 100 ticks, 14 days. */
  readonly history?: { readonly count?: number | undefined; readonly age?: Duration.Input | undefined } | undefined
}

/** `every` counts from `startAt`, else from 1970: all processes agree. */
export type CronOptions =
  & Common
  & (
    | { readonly cron: Expression | NonEmptyReadonlyArray<Expression>; readonly every?: undefined }
    | { readonly every: Duration.Input; readonly cron?: undefined }
  )
