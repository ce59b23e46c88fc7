/**
 * A broken promise, and how one is told.
 */
import type { Identity } from "./history.ts"

export type Kind =
  /** An accepted job has neither a place nor a record. */
  | "Loss"
  /** A job was found in two places, or in a place although it has a record. */
  | "TwoPlaces"
  /** An id was accepted again while its job was alive or had its record. */
  | "AcceptedTwice"
  /** The record of a job is another one than before, or was gone before its time. */
  | "RecordChanged"
  /** The record says what no run did. */
  | "WrongRecord"
  /** A job was not over although everything had been given time to end. */
  | "Unfinished"
  /** Two runs of one key at once. */
  | "KeyOverlap"
  /** Two runs of one job at once. */
  | "JobOverlap"
  /** A job of a key started before an earlier one of it was over. */
  | "KeyOrder"
  /** A start before the due time. */
  | "EarlyStart"
  | "WrongAttempt"
  | "TooManyDeliveries"
  | "StartAfterCancel"
  | "StartAfterExpiry"
  /** A start although the job had its record. */
  | "StartAfterEnd"
  /** `cancel` answered another state than the record has. */
  | "WrongCancelAnswer"
  /** A healthy worker lost the lease of a job that nobody cancelled. */
  | "LostLease"
  /** A run that had lost its lease was settled. */
  | "StaleSettle"
  /** A fencing token is not greater than one taken before, or was given to who did not own the job. */
  | "FencingOrder"
  /** A run of a job that nobody sent. */
  | "UnknownJob"

export interface Violation {
  readonly kind: Kind
  readonly queue: string
  readonly id: string
  /** When it showed, ms since the epoch by the broker's clock. */
  readonly at: number | undefined
  readonly message: string
}

export const violation = (kind: Kind, job: Identity, at: number | undefined, message: string): Violation => ({
  kind,
  queue: job.queue,
  id: job.id,
  at,
  message
})

export interface Options {
  /** ms that every record is kept, at least. Default: 1 minute, the least of any task. */
  readonly leastTimeToLive?: number | undefined
  /** ms by which times of different clocks may differ. Default: 0. */
  readonly tolerance?: number | undefined
  /** ms by which a worker may be wrong about the broker's clock: it ends records and decides on expiry by it. Default: `tolerance`. */
  readonly workerTolerance?: number | undefined
  /** ms after a cancel in which a job that a worker had in hand may still start. Default: for ever. */
  readonly cancelGrace?: number | undefined
  /** The greatest `maxDeliveries` of any worker. Default: 5. */
  readonly maxDeliveries?: number | undefined
  /** False for brokers that can lose delivery counts (`capabilities.durableDeliveryCount`). Default: true. */
  readonly exactDeliveries?: boolean | undefined
  /** Everything had the time to end: a job that is not over counts as `Unfinished`. Default: false. */
  readonly finished?: boolean | undefined
}

/** Options with their defaults. */
export interface Settings {
  readonly leastTimeToLive: number
  readonly tolerance: number
  readonly workerTolerance: number
  readonly cancelGrace: number
  readonly maxDeliveries: number
  readonly exactDeliveries: boolean
  readonly finished: boolean
}

export const resolve = (options: Options): Settings => ({
  leastTimeToLive: options.leastTimeToLive ?? 60_000,
  tolerance: options.tolerance ?? 0,
  workerTolerance: options.workerTolerance ?? options.tolerance ?? 0,
  cancelGrace: options.cancelGrace ?? Infinity,
  maxDeliveries: options.maxDeliveries ?? 5,
  exactDeliveries: options.exactDeliveries ?? true,
  finished: options.finished ?? false
})

/** One rule: what it finds wrong with one job. */
export type Report = (violation: Violation) => void
