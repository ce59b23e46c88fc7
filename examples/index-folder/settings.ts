/**
 * What a worker process is told by the process that starts it.
 */
import * as Schema from "effect/Schema"

export const Settings = Schema.fromJsonString(Schema.Struct({
  name: Schema.String,
  transport: Schema.String,
  concurrency: Schema.Number,
  /** Every so many files one fails once; 0 for none. */
  flaky: Schema.Number,
  /** Where it keeps its journal. */
  directory: Schema.String
}))
export type Settings = typeof Settings.Type

/** Sent to the process that started it when it takes jobs. */
export const ready = "ready"
