/**
 * A leased log of envelopes, one per queue and priority.
 *
 * A transport moves bytes and keeps leases. It never decodes, retries, buries
 * or expires a job by itself: core decides and says so with a settlement.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type { Scope } from "effect/Scope"
import type { Envelope } from "./Envelope.ts"
import type { JobRecord } from "./JobRecord.ts"
import type { Page, Paged } from "./Store.ts"
import type { TransportError } from "./TransportError.ts"

/** Where a job is. A job in none of these places is over, or was never there. */
export type Place = "scheduled" | "queued" | "running" | "dead"

/** One hand-out of a job. The object itself is the identity: keep it, do not copy it. */
export interface Delivery {
  readonly envelope: Envelope
  /** Hand-outs since the job last started anew, this one included: at least 1. */
  readonly deliveries: number
  /** The transport asks core to look for a record before it runs the job. */
  readonly suspectRecord: boolean
  /** Unique to this hand-out, if the subscription asked for `turns`. */
  readonly turnId?: string | undefined
  /**
   * The `turnId` of the delivery that held the key before, if that was of this subscription: nobody else has had a job
   * of the key since. A transport may leave it out at any time.
   */
  readonly follows?: string | undefined
}

/** What becomes of a delivery. */
export type Settlement =
  /** The job is over: create the record, remove the job. */
  | { readonly _tag: "Ack"; readonly delivery: Delivery; readonly record: JobRecord }
  /** The successor replaces the delivery. A key keeps its turn. At most one successor per revision, for ever. */
  | { readonly _tag: "Forward"; readonly delivery: Delivery; readonly successor: Envelope }
  /** Like `Ack`, and the envelope is kept as a dead letter for `timeToLive` ms. */
  | { readonly _tag: "Bury"; readonly delivery: Delivery; readonly record: JobRecord; readonly timeToLive: number }
  /** Remove the delivery: the job has a record already. */
  | { readonly _tag: "Drop"; readonly delivery: Delivery }

/** `superseded`: somebody else was first; only the delivery was removed, if it still was ours. */
export type Settled = "settled" | "superseded"

export interface SubscribeOptions {
  readonly queue: string
  /** From the lowest to the highest. */
  readonly priorities: NonEmptyReadonlyArray<string>
  /** The worker's id. */
  readonly consumer: string
  /** ms that a delivery stays ours without `extend`. The largest of the live consumers counts for the queue. */
  readonly lease: number
  /** Wants to know which delivery follows which in the turn of a key. */
  readonly turns?: boolean | undefined
}

export interface Subscription {
  /** Waits for at least one job, answers at most `max`. Interruptible: an interrupted pull loses nothing. */
  readonly pull: (max: number) => Effect.Effect<NonEmptyReadonlyArray<Delivery>, TransportError>
  /** Renews leases. Answers those that are still ours and have no record. */
  readonly extend: (
    deliveries: NonEmptyReadonlyArray<Delivery>
  ) => Effect.Effect<ReadonlyArray<Delivery>, TransportError>
  /** One answer per settlement. Safe to repeat: the same answer. */
  readonly settle: (
    settlements: NonEmptyReadonlyArray<Settlement>
  ) => Effect.Effect<ReadonlyArray<Settled>, TransportError>
}

/**
 * For transports: what a settlement must agree on with its delivery, whatever became of the job. Answers what is wrong
 * with it, `undefined` if nothing is.
 */
export const checkSettlement = (settlement: Settlement): string | undefined => {
  const envelope = settlement.delivery.envelope
  if (settlement._tag === "Drop") return undefined
  const target = settlement._tag === "Forward" ? settlement.successor : settlement.record
  if (target.id !== envelope.id || target.queue !== envelope.queue) {
    return `it names job "${target.id}" of queue "${target.queue}"`
  }
  if (settlement._tag !== "Forward") return undefined
  if (settlement.successor.revision !== envelope.revision + 1) {
    return `revision ${settlement.successor.revision} does not follow revision ${envelope.revision}`
  }
  return settlement.successor.key === envelope.key ? undefined : "a successor cannot change the key"
}

/** What becomes of a job that waits for its time. */
export type Revision =
  /** The successor takes its place, with a due time of its own. At most one successor per revision, for ever. */
  | { readonly _tag: "Reschedule"; readonly successor: Envelope }
  /** The job is over before it starts: create the record. `revision`: the one that it must have. */
  | { readonly _tag: "Unschedule"; readonly revision: number; readonly record: JobRecord }

/** `superseded`: the job is due already, or has another revision. `missing`: it is over, or was never there. */
export type Revised = "done" | "superseded" | "missing"

/** For transports: what is wrong with a revision of a job of this queue, `undefined` if nothing is. */
export const checkRevision = (queue: string, revision: Revision): string | undefined => {
  const target = revision._tag === "Reschedule" ? revision.successor : revision.record
  return target.queue === queue ? undefined : `it names job "${target.id}" of queue "${target.queue}"`
}

export interface QueueStats {
  readonly scheduled: number
  /** Due and not handed out, followers of a busy key included. */
  readonly queued: number
  readonly running: number
  readonly dead: number
  /** ms that the oldest queued job has been due; `undefined` without one. */
  readonly oldestAge: number | undefined
  /** Live consumers. */
  readonly consumers: number
}

export interface LocatedJob {
  readonly place: Place
  readonly envelope: Envelope
  /** ms since the epoch by the broker's clock. */
  readonly dueAt: number
  /** Set if and only if the place is `dead`. */
  readonly record: JobRecord | undefined
}

export interface Redrive {
  readonly id: string
  /** A new envelope with the same id replaces letter and record; `drop` removes the letter only. */
  readonly as: Envelope | "drop"
}

export type Redriven = "done" | "duplicate" | "missing"

/** Ids that nobody else can have. */
export type Generated = Pick<ReadonlySet<string>, "has">

export interface JobLog {
  /**
   * Accepts envelopes, of any queues. One answer per envelope; safe to repeat.
   * `duplicate`: the queue has a live job or a record with this id.
   *
   * `generated`: those that nobody else can have. A transport may take such a job in without a look for another one; a
   * late repeat of it may then be a second job of the id, whose settlement is superseded.
   */
  readonly send: (
    envelopes: NonEmptyReadonlyArray<Envelope>,
    generated?: Generated
  ) => Effect.Effect<ReadonlyArray<"sent" | "duplicate" | TransportError>, TransportError>
  /** Leases jobs of one queue. Closing the scope stops pulling; nothing is lost. */
  readonly subscribe: (options: SubscribeOptions) => Effect.Effect<Subscription, TransportError, Scope>
  /** Creates these records if absent and removes the jobs; a key goes on. Answers the record that stands. */
  readonly withdraw: (
    queue: string,
    records: NonEmptyReadonlyArray<JobRecord>
  ) => Effect.Effect<ReadonlyArray<JobRecord>, TransportError>
  /**
   * Changes jobs that wait for their time, and only those: a compare-and-set on id and revision in the place
   * `scheduled`. One answer per revision; safe to repeat: `done` for as long as the job is what the revision made it.
   * A key keeps the turn of a job that had it.
   */
  readonly revise: (
    queue: string,
    revisions: NonEmptyReadonlyArray<Revision>
  ) => Effect.Effect<ReadonlyArray<Revised>, TransportError>
  /** Where each job is now. May be slow. */
  readonly locate: (
    queue: string,
    ids: NonEmptyReadonlyArray<string>
  ) => Effect.Effect<ReadonlyArray<Option.Option<LocatedJob>>, TransportError>
  readonly stats: (queue: string) => Effect.Effect<QueueStats, TransportError>
  /** A page of one place, in no promised order. */
  readonly list: (queue: string, place: Place, page: Page) => Effect.Effect<Paged<LocatedJob>, TransportError>
  /** Replays or drops dead letters. One answer per letter. */
  readonly redrive: (
    queue: string,
    letters: NonEmptyReadonlyArray<Redrive>
  ) => Effect.Effect<ReadonlyArray<Redriven>, TransportError>
}
