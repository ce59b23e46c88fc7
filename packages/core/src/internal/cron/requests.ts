/**
 * Runs that somebody asked for and that only a process with the code can run.
 */
import * as Schema from "effect/Schema"
import { Trigger } from "../../CronRun.ts"
import * as Rows from "../rows.ts"

const Request = Schema.Struct({
  name: Schema.String,
  key: Schema.String,
  tick: Schema.Number,
  trigger: Trigger,
  overlap: Schema.Literals(["skip", "allow", "queue"])
})

/** ms that a request waits for a process with the code. */
export const requestTimeToLive = 86_400_000

/** By `Runs.rowKey`. Who removes a row runs it. */
export const requests = Rows.make(
  { name: "cron-requests", queue: undefined, listable: true },
  Request,
  () => requestTimeToLive
)
