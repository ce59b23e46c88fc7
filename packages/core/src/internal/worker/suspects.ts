/**
 * Jobs that have probably ended workers: a worker holds one of them at a time.
 *
 * The broker counts hand-outs, also those to a worker that is just dying of
 * another job. Whoever starts a suspect therefore writes that down first, and
 * only a job that was itself started too often is poison.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Delivery } from "../../JobLog.ts"
import type { Collection } from "../../Store.ts"
import type { TransportError } from "../../TransportError.ts"
import { encodeJson } from "../json.ts"
import type { Settings } from "./settings.ts"

/** Shared by the queues of one worker. */
export interface Suspects {
  count: number
  /** When this worker took the one that it holds or held last, ms on the monotonic clock. */
  since: number
  /** Handed back, and the broker has not answered yet. */
  leaving: number
  /** What starts the next jobs of each queue. */
  readonly starts: Array<() => void>
}

/** A job handed out for the third time has probably ended two workers. */
const first = 3

export const isSuspect = (delivery: Delivery): boolean => delivery.deliveries >= first

/** `now`: ms on the monotonic clock, here and below. */
export const take = (suspects: Suspects, now: number): void => {
  suspects.count++
  suspects.since = now
}

/**
 * ms after which a suspect that was handed back is due again, at most: as long as the one that is in its way has been held,
 * from the first up to the second. One that runs for hours would have all the others handed out and back all the time.
 */
const delay = { first: 1_000, longest: 10_000 }

export const delayOf = ({ since }: Suspects, now: number): number =>
  Math.min(delay.longest, Math.max(delay.first, now - since))

/** The broker has one back: the one that waits, maybe of another queue, may start. */
export const left = (suspects: Suspects): void => {
  suspects.leaving--
  if (suspects.leaving === 0) { for (const start of suspects.starts) start() }
}

/** Poison that is nobody's suspect before: every hand-out counts. */
export const isPoison = ({ maxDeliveries }: Settings, { deliveries }: Delivery): boolean =>
  deliveries > maxDeliveries && maxDeliveries < first

const collection = (queue: string): Collection => ({ name: "suspects", queue, listable: false })

/** Long enough for a fleet that restarts again and again, with pauses in between. */
const timeToLive = 86_400_000

/** The last start as a suspect: of which hand-out, and the how manyth it was. */
const Start = Schema.Struct({
  enqueuedAt: Schema.Number,
  revision: Schema.Number,
  deliveries: Schema.Number,
  count: Schema.Number
})

const decodeStart = Schema.decodeUnknownOption(Schema.fromJsonString(Start))
const text = new TextDecoder()

/** Whether a later hand-out was started: a worker that stood still is late with this one, or the broker counts anew. */
const isOver = (start: typeof Start.Type, { deliveries, envelope }: Delivery): boolean =>
  start.enqueuedAt === envelope.enqueuedAt &&
  (start.revision > envelope.revision || (start.revision === envelope.revision && start.deliveries > deliveries))

/** How many starts came before this one. */
const before = (start: typeof Start.Type, { deliveries, envelope }: Delivery): number => {
  // another job with this id, or a replay of its letter
  if (start.enqueuedAt !== envelope.enqueuedAt) return 0
  // the count of hand-outs began anew since
  if (start.deliveries > deliveries) return 0
  // the same hand-out again: it was handed back unstarted
  return start.deliveries === deliveries ? start.count - 1 : start.count
}

/** Poison, or the revision of the row that says that it is started; 0 if none was written. */
export type Verdict = "poison" | number

/** Whether the job is poison. With `starts`, one that is not counts as started now. */
export const judge = (
  settings: Pick<Settings, "transport" | "maxDeliveries">,
  queue: string,
  delivery: Delivery,
  starts: boolean
): Effect.Effect<Verdict, TransportError> => {
  const { store } = settings.transport
  const { enqueuedAt, id, revision } = delivery.envelope
  const { deliveries } = delivery
  // where no start is written, every hand-out counts
  const uncounted: Verdict = deliveries > settings.maxDeliveries ? "poison" : 0
  return Effect.flatMap(store.get(collection(queue), [id]), ([found]): Effect.Effect<Verdict, TransportError> => {
    const row = found === undefined ? undefined : Option.getOrUndefined(found)
    const start = row === undefined ? undefined : Option.getOrUndefined(decodeStart(text.decode(row.value)))
    // written already: the answer was lost
    if (start?.enqueuedAt === enqueuedAt && start.revision === revision && start.deliveries === deliveries) {
      return Effect.succeed(row?.revision ?? 0)
    }
    // the row of that one stays: starts before it would be forgotten
    if (start !== undefined && isOver(start, delivery)) return Effect.succeed(uncounted)
    const count = start === undefined ? 0 : before(start, delivery)
    // the first hand-outs were no suspect's
    if (count > settings.maxDeliveries - first) return Effect.succeed("poison")
    if (!starts) return Effect.succeed(0)
    const value = encodeJson({ enqueuedAt, revision, deliveries, count: count + 1 })
    return store.put(collection(queue), id, value, { ifRevision: row?.revision ?? 0, timeToLive }).pipe(
      Effect.catchTag("RevisionConflict", () => judge(settings, queue, delivery, starts)),
      // a full broker takes no row, and its jobs must run all the same
      Effect.catchIf((error) => error.reason._tag !== "Unavailable", () => Effect.succeed(uncounted))
    )
  })
}

/** It ended, well or not, and its worker did not: nothing that it did before counts any more. */
export const acquit = (
  { transport }: Settings,
  queue: string,
  delivery: Delivery,
  verdict: Verdict | "asked"
): Effect.Effect<void> =>
  typeof verdict === "number" && verdict > 0
    ? Effect.ignore(transport.store.remove(collection(queue), delivery.envelope.id, { ifRevision: verdict }))
    : Effect.void
