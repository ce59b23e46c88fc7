/**
 * What the API says of jobs.
 */
import { CronRun } from "@troupe/core/CronRun"
import { JobEvent } from "@troupe/core/JobEvents"
import * as Schema from "effect/Schema"

export const JobState = Schema.Literals([
  "scheduled",
  "queued",
  "running",
  "succeeded",
  "failed",
  "cancelled",
  "expired"
])

export const Submitted = Schema.Struct({
  id: Schema.String,
  /** This id was submitted before: nothing was added. */
  duplicate: Schema.Boolean
})

/** Times are ms since the epoch by the broker's clock. */
export const PageStatus = Schema.Struct({
  id: Schema.String,
  state: JobState,
  attempts: Schema.Number,
  enqueuedAt: Schema.optionalKey(Schema.Number),
  finishedAt: Schema.optionalKey(Schema.Number)
})

export const Standing = Schema.Struct({ id: Schema.String, state: JobState })

/** `Now` comes first, `Over` last; what is between them may be incomplete. */
export const PageEvent = Schema.Union([
  Schema.TaggedStruct("Now", Standing.fields),
  JobEvent,
  Schema.TaggedStruct("Over", Standing.fields)
])

/** `Listening` comes first, at once. */
export const AnyEvent = Schema.Union([Schema.TaggedStruct("Listening", {}), JobEvent])

export const Schedule = Schema.Struct({
  name: Schema.String,
  schedule: Schema.String,
  paused: Schema.Boolean,
  /** ms since the epoch by the broker's clock, as in a run. */
  next: Schema.optionalKey(Schema.Number),
  last: Schema.optionalKey(CronRun)
})

/** One page, the newest tick first. */
export const Runs = Schema.Struct({
  items: Schema.Array(CronRun),
  /** The `cursor` of the next page. */
  next: Schema.optionalKey(Schema.String)
})

/** `oldestAge` in ms. */
export const QueueStats = Schema.Struct({
  scheduled: Schema.Number,
  queued: Schema.Number,
  running: Schema.Number,
  dead: Schema.Number,
  oldestAge: Schema.optionalKey(Schema.Number),
  paused: Schema.Boolean
})
