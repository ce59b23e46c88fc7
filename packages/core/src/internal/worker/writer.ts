/**
 * Writes what a settlement carries: records and successors, signed.
 */
import * as Envelope from "../../Envelope.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import * as JobRecord from "../../JobRecord.ts"
import type { Policy } from "../../Task.ts"
import { recordTimeToLive } from "../cronHeader.ts"
import type { Settings } from "./settings.ts"

/** For jobs whose task this worker does not know. */
const unknownPolicy = { resultTimeToLive: 3_600_000, deadLetterTimeToLive: 14 * 86_400_000 }

/** Error texts travel in every successor: keep them short. */
const maxMessage = 1_024

const empty = new Uint8Array(0)

export interface Writer {
  readonly succeeded: (delivery: Delivery, value: Uint8Array, policy: Policy) => Settlement
  readonly cancelled: (delivery: Delivery) => Settlement
  readonly expired: (delivery: Delivery, policy: Policy | undefined) => Settlement
  readonly failed: (delivery: Delivery, failure: Failure, policy: Policy | undefined) => Settlement
  /** Like `failed`, but the failure is the answer: nobody wants it back, so it is no dead letter. */
  readonly answered: (delivery: Delivery, failure: Failure, policy: Policy | undefined) => Settlement
  /** A failed attempt that is tried again after `delay` ms. */
  readonly retry: (
    delivery: Delivery,
    delay: number,
    error: string,
    traceparent: string | undefined
  ) => Settlement
  /** The same attempt again after `delay` ms, not counted: a snooze, or 0 for a release at shutdown. */
  readonly again: (delivery: Delivery, delay: number) => Settlement
  /** Gives back a job that was not started: nothing is counted. */
  readonly handBack: (delivery: Delivery, delay: number, unknownSince?: number | undefined) => Settlement
}

export interface Failure {
  readonly reason: JobRecord.FailureReason
  readonly message: string
  /** The encoded typed error, for the reason `Error`. */
  readonly value?: Uint8Array | undefined
  /** Whether this attempt counts: it does once the handler ran. */
  readonly counted: boolean
}

export const make = (settings: Settings, queue: string): Writer => {
  const { encoding, now, signing } = settings

  const record = (
    { envelope }: Delivery,
    policy: Pick<Policy, "resultTimeToLive"> | undefined,
    parts: Pick<JobRecord.JobRecord, "state" | "reason" | "message" | "value" | "attempts">
  ): JobRecord.JobRecord => {
    const { resultTimeToLive } = policy ?? unknownPolicy
    const finishedAt = now()
    const written: JobRecord.JobRecord = {
      version: JobRecord.version,
      id: envelope.id,
      queue,
      task: envelope.task,
      state: parts.state,
      attempts: parts.attempts,
      finishedAt,
      reason: parts.reason,
      message: parts.message?.slice(0, maxMessage),
      contentType: encoding.codec.contentType,
      value: parts.value,
      timeToLive: Math.max(
        JobRecord.stateTimeToLive(resultTimeToLive, settings.idleTimeout),
        recordTimeToLive(envelope, finishedAt)
      ),
      valueTimeToLive: resultTimeToLive,
      replyTo: envelope.replyTo,
      signature: undefined
    }
    return signing === undefined ? written : signing.signRecord(written)
  }

  const cancelled = (delivery: Delivery): JobRecord.JobRecord => {
    const record = JobRecord.cancelled(delivery.envelope, now())
    return signing === undefined ? record : signing.signRecord(record)
  }
  const failedRecord = (delivery: Delivery, failure: Failure, policy: Policy | undefined) =>
    record(delivery, policy, {
      state: "failed",
      attempts: delivery.envelope.attempt - (failure.counted ? 0 : 1),
      reason: failure.reason,
      message: failure.message,
      value: failure.value ?? empty
    })

  const forward = (delivery: Delivery, changes: Omit<Envelope.Changes, "writtenAt">): Settlement => {
    const successor = Envelope.successor(delivery.envelope, { ...changes, writtenAt: now() })
    return {
      _tag: "Forward",
      delivery,
      successor: signing === undefined ? successor : signing.signEnvelope(successor)
    }
  }

  const after = (delay: number): Envelope.Due | undefined =>
    delay > 0 ? { _tag: "After", after: Math.ceil(delay) } : undefined

  return {
    succeeded: (delivery, value, policy) => ({
      _tag: "Ack",
      delivery,
      record: record(delivery, policy, {
        state: "succeeded",
        attempts: delivery.envelope.attempt,
        reason: undefined,
        message: undefined,
        value
      })
    }),
    cancelled: (delivery) => ({ _tag: "Ack", delivery, record: cancelled(delivery) }),
    expired: (delivery, policy) => ({
      _tag: "Ack",
      delivery,
      record: record(delivery, policy, {
        state: "expired",
        attempts: delivery.envelope.attempt - 1,
        reason: undefined,
        message: delivery.envelope.lastError,
        value: empty
      })
    }),
    failed: (delivery, failure, policy) => ({
      _tag: "Bury",
      delivery,
      record: failedRecord(delivery, failure, policy),
      timeToLive: (policy ?? unknownPolicy).deadLetterTimeToLive
    }),
    answered: (delivery, failure, policy) => ({
      _tag: "Ack",
      delivery,
      record: failedRecord(delivery, failure, policy)
    }),
    retry: (delivery, delay, error, prevTraceparent) =>
      forward(delivery, {
        due: after(delay),
        attempt: delivery.envelope.attempt + 1,
        deliveries: 0,
        lastError: error.slice(0, maxMessage),
        prevTraceparent
      }),
    again: (delivery, delay) => forward(delivery, { due: after(delay), deliveries: 0 }),
    handBack: (delivery, delay, unknownSince) =>
      forward(delivery, {
        due: after(delay),
        deliveries: delivery.deliveries - 1,
        unknownSince: unknownSince ?? delivery.envelope.unknownSince
      })
  }
}
