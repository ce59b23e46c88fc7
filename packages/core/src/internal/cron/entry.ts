/**
 * A job as one scheduler knows it.
 */
import type * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"
import type { EnqueueError } from "../../EnqueueError.ts"
import type { NewJob } from "../../EnqueueOptions.ts"
import { type Ticket, toHeaders } from "../cronHeader.ts"
import { type Definition, specOf } from "./definition.ts"
import * as Runs from "./runs.ts"
import * as Schedule from "./schedule.ts"
import * as Ticks from "./ticks.ts"

/** What only code can say of a job. */
export interface Code {
  /** Makes the job of a tick, where the payload is a function. */
  readonly toJob?: ((tick: number) => Effect.Effect<NewJob, EnqueueError>) | undefined
  readonly execute?: Effect.Effect<unknown, unknown> | undefined
}

export interface Entry {
  readonly definition: Definition
  readonly spec: string
  readonly next: Schedule.Next
  /** The next tick to look at, ms since the epoch; `undefined` if there is none. */
  at: number | undefined
}

/** Throws `BadSchedule`. */
export const make = (definition: Definition): Entry => ({
  definition,
  spec: specOf(definition),
  next: Ticks.within(Schedule.compile(definition.schedule), definition),
  at: undefined
})

/** Whether this process can run the job. */
export const isOurs = ({ what }: Definition, code: Code | undefined): boolean =>
  what._tag === "Execute" ? code?.execute !== undefined : what.payload !== undefined || code?.toJob !== undefined

export const isActive = ({ enabled, paused }: Definition): boolean => enabled && !paused

export const keyOf = (tick: number): string => new Date(tick).toISOString()

export const ticketOf = (
  { keep, lockTtl, name, overlap }: Definition,
  run: Pick<Ticket, "key" | "tick" | "trigger"> & { readonly overlap?: Ticket["overlap"] | undefined }
): Ticket => ({
  name,
  key: run.key,
  tick: run.tick,
  trigger: run.trigger,
  overlap: run.overlap ?? overlap,
  lockTtl,
  age: keep.age
})

/** The job of a run, from what is written in the broker. `undefined` where only code can make it. */
export const storedJob = ({ what }: Definition): NewJob | undefined => {
  if (what._tag !== "Task" || what.payload === undefined) return undefined
  const { headers, key, payload, priority, queue, task } = what
  const body = Base64.decode(payload.base64)
  // what is no base64 was not written by us
  if (Result.isFailure(body)) return undefined
  return { task, queue, body: body.success, contentType: payload.contentType, priority, headers, key }
}

/** Makes a job a run: its id says which, so that it is enqueued once however many schedulers there are. */
export const runOf = (job: NewJob, ticket: Ticket, due: Pick<NewJob, "at" | "expiresAt">): NewJob => ({
  ...job,
  id: Runs.idOf(ticket.name, ticket.key),
  headers: { ...job.headers, ...toHeaders(ticket) },
  // those that wait for their turn wait at the broker, not in a worker's slot; a mailbox of the task's own comes first
  key: job.key ?? (ticket.overlap === "queue" ? `cron/${ticket.name}` : undefined),
  delay: undefined,
  expiresIn: undefined,
  ...due
})
