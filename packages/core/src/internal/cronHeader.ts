/**
 * What the envelope of a scheduled run says to the worker that runs it.
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Envelope } from "../Envelope.ts"

/** The header that makes a job a run of a cron job. */
export const cronHeader = "troupe-cron"

const Ticket = Schema.Struct({
  name: Schema.String,
  /** Names the run among those of its job. */
  key: Schema.String,
  /** ms since the epoch. */
  tick: Schema.Number,
  trigger: Schema.Literals(["schedule", "manual", "backfill"]),
  overlap: Schema.Literals(["skip", "allow", "queue"]),
  /** ms. */
  lockTtl: Schema.Number,
  /** ms that the history of the run is kept. */
  age: Schema.Number
})

/** One run of a cron job, and how it is to be run. */
export type Ticket = typeof Ticket.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Ticket))

export const toHeaders = (ticket: Ticket): Readonly<Record<string, string>> => ({
  [cronHeader]: JSON.stringify(ticket)
})

/** `undefined` for jobs that are no runs, and for what a newer release wrote. */
export const fromHeaders = (headers: Readonly<Record<string, string>>): Ticket | undefined => {
  const text = headers[cronHeader]
  return text === undefined ? undefined : Option.getOrUndefined(decode(text))
}

const minute = 60_000

/**
 * ms that the record of a run must stand at least: a scheduler that stood still
 * may send the run once more until it expires. 0 for other jobs.
 */
export const recordTimeToLive = ({ expiresAt, headers }: Envelope, now: number): number =>
  expiresAt === undefined || headers[cronHeader] === undefined ? 0 : expiresAt - now + minute
