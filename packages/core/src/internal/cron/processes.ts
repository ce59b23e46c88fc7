/**
 * The rows that say which schedulers are alive.
 */
import * as Schema from "effect/Schema"
import * as Rows from "../rows.ts"

/** What a scheduler says of itself. Times are ms since the epoch by its own clock. */
export const SchedulerInfo = Schema.Struct({
  id: Schema.String,
  startedAt: Schema.Number,
  /** Cron jobs that it knows, and runs without a task that it is at. */
  jobs: Schema.Number,
  running: Schema.Number
})

export type SchedulerInfo = typeof SchedulerInfo.Type

/** ms between two signs of life, and how long one lasts. */
export const beatEvery = 5_000
const timeToLive = 15_000

/** By the id of the scheduler. */
export const schedulers = Rows.make(
  { name: "cron-schedulers", queue: undefined, listable: true },
  SchedulerInfo,
  () => timeToLive
)
