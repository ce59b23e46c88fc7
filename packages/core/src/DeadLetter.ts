/**
 * Failed jobs, kept with their reason: list, replay, drop.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Envelope from "./Envelope.ts"
import { headers } from "./internal/telemetry/names.ts"
import type { LocatedJob, Redrive, Redriven } from "./JobLog.ts"
import type { FailureReason } from "./JobRecord.ts"
import { Signing } from "./Signing.ts"
import type { Page, Paged } from "./Store.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export interface DeadLetter {
  readonly id: string
  readonly queue: string
  readonly task: string
  readonly reason: FailureReason
  readonly message: string
  readonly attempts: number
  /** ms since the epoch by the broker's clock. */
  readonly failedAt: number
  readonly enqueuedAt: number
  /** As it was last handed out, payload included. */
  readonly envelope: Envelope.Envelope
}

const fromLocated = ({ envelope, record }: LocatedJob): DeadLetter => ({
  id: envelope.id,
  queue: envelope.queue,
  task: envelope.task,
  reason: record?.reason ?? "Defect",
  message: record?.message ?? "",
  attempts: record?.attempts ?? envelope.attempt,
  failedAt: record?.finishedAt ?? envelope.writtenAt,
  enqueuedAt: envelope.enqueuedAt,
  envelope
})

/** One page of a queue's dead letters. */
export const list = (
  queue: string,
  page: Page = { limit: 100 }
): Effect.Effect<Paged<DeadLetter>, TransportError, Transport> =>
  Transport.use(({ log }) =>
    Effect.map(log.list(queue, "dead", page), ({ items, next }) => ({ items: items.map(fromLocated), next }))
  )

/**
 * `done`: enqueued again. `duplicate`: a job with this id is alive; a letter stays.
 * `missing`: no letter with this id. `refused`: the letter's signature is wrong, or
 * only another release knows the version of its envelope; it stays.
 */
export type Replayed = Redriven | "refused"

/**
 * Enqueues dead letters again, with all attempts before them: due now, never
 * expiring. One answer per id. Waiters of the old record have had their answer.
 */
export const replay = (
  queue: string,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Replayed>, TransportError, Transport> =>
  Effect.gen(function*() {
    const { clock, log } = yield* Transport
    const signing = yield* Signing
    const [firstId, ...otherIds] = ids
    if (firstId === undefined) return []
    const now = yield* clock
    const located = yield* log.locate(queue, [firstId, ...otherIds])
    const answers = located.map((job): Replayed | Redrive => {
      if (Option.isNone(job)) return "missing"
      // a live job hides a letter of the same id
      if (job.value.place !== "dead") return "duplicate"
      const { envelope } = job.value
      if (!Envelope.isKnown(envelope.version)) return "refused"
      // the letter may be old: that it is ours counts, not its age
      if (signing !== undefined && signing.verifyEnvelope(envelope, envelope.writtenAt) !== undefined) return "refused"
      const renewed: Envelope.Envelope = {
        ...Envelope.successor(envelope, {
          due: undefined,
          writtenAt: now,
          attempt: 1,
          deliveries: 0,
          unknownSince: undefined,
          lastError: envelope.lastError,
          prevTraceparent: undefined
        }),
        headers: { ...envelope.headers, [headers.trace]: "replay" },
        enqueuedAt: now,
        expiresAt: undefined
      }
      return { id: envelope.id, as: signing?.signEnvelope(renewed) ?? renewed }
    })
    const [first, ...others] = answers.filter((answer) => typeof answer === "object")
    const redriven = first === undefined ? [] : yield* log.redrive(queue, [first, ...others])
    let next = 0
    return answers.map((answer) => typeof answer === "object" ? redriven[next++]! : answer)
  })

/** Forgets dead letters. One answer per id. Their records stay for as long as they live. */
export const drop = (
  queue: string,
  ids: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Redriven>, TransportError, Transport> =>
  Transport.use(({ log }) => {
    const [first, ...others] = ids.map((id): Redrive => ({ id, as: "drop" }))
    if (first === undefined) return Effect.succeed([])
    const letters: NonEmptyReadonlyArray<Redrive> = [first, ...others]
    return log.redrive(queue, letters)
  })
