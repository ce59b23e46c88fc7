/**
 * Changes jobs that wait for their time, from any process.
 */
import * as Effect from "effect/Effect"
import { InvalidOption } from "../EnqueueError.ts"
import type { DueOptions } from "../EnqueueOptions.ts"
import * as Envelope from "../Envelope.ts"
import { type JobNotFound, NotOurs, RescheduleError } from "../JobError.ts"
import type { LocatedJob, Revision } from "../JobLog.ts"
import * as JobRecord from "../JobRecord.ts"
import type { NotScheduled } from "../JobRef.ts"
import type { Signing } from "../Signing.ts"
import type { Transport } from "../Transport.ts"
import { TransportError, Unavailable } from "../TransportError.ts"
import { dueOf } from "./due.ts"

/** What a look at a job finds: one that waits until `dueAt`, or another state. */
export type Waiting = Pick<LocatedJob, "envelope" | "dueAt"> | NotScheduled

/** Others that change the same job, between our looks and our writes. */
const maxTries = 10

interface Options {
  readonly transport: Transport["Service"]
  readonly signing: Signing | undefined
  readonly look: (queue: string, id: string) => Effect.Effect<Waiting, JobNotFound | TransportError>
}

/** Looks, writes, and looks again while somebody else was first. */
const revise = Effect.fnUntraced(function*<E>(
  { look, transport: { clock, log } }: Options,
  queue: string,
  id: string,
  revisionOf: (envelope: Envelope.Envelope, now: number) => Effect.Effect<Revision, E>
): Effect.fn.Return<Envelope.Envelope | NotScheduled, E | JobNotFound | TransportError> {
  for (let tries = 0; tries < maxTries; tries++) {
    const found = yield* look(queue, id)
    if (typeof found === "string") return found
    const { dueAt, envelope } = found
    const now = yield* clock
    // due is due, whether the broker has come to it or not
    if (dueAt <= now) return "queued"
    const [answer] = yield* log.revise(queue, [yield* revisionOf(envelope, now)])
    if (answer === "done") return envelope
  }
  const description = `job "${id}" of queue "${queue}" is changed by others all the time`
  return yield* new TransportError({ reason: new Unavailable({ operation: "revise", description }) })
})

const readDue = (due: DueOptions): Effect.Effect<Envelope.Due | undefined, InvalidOption> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(dueOf(due))
    } catch (error) {
      if (!(error instanceof InvalidOption)) throw error
      return Effect.fail(error)
    }
  })

export const reschedule = Effect.fnUntraced(function*(options: Options, queue: string, id: string, input: DueOptions) {
  const { signing } = options
  const refuse = (reason: InvalidOption | NotOurs) => new RescheduleError({ id, queue, reason })
  const due = yield* Effect.mapError(readDue(input), refuse)
  const found = yield* revise(options, queue, id, (envelope, now) => {
    if (!Envelope.isKnown(envelope.version)) {
      const description = `this release does not know version ${envelope.version} of its envelope`
      return Effect.fail(refuse(new NotOurs({ description })))
    }
    // what we write is signed: it must not make somebody else's envelope ours, nor an old one young
    const wrong = signing?.verifyEnvelope(envelope, now)
    if (wrong !== undefined) return Effect.fail(refuse(new NotOurs({ description: wrong.message })))
    const successor = Envelope.successor(envelope, { due, writtenAt: now })
    return Effect.succeed<Revision>({ _tag: "Reschedule", successor: signing?.signEnvelope(successor) ?? successor })
  })
  return typeof found === "string" ? found : "rescheduled" as const
})

/** Answers the envelope of a job that was taken back. */
export const unschedule = (
  options: Options,
  queue: string,
  id: string
): Effect.Effect<Envelope.Envelope | NotScheduled, JobNotFound | TransportError> =>
  revise(options, queue, id, (envelope, now) => {
    const record = JobRecord.cancelled(envelope, now)
    const signed = options.signing?.signRecord(record) ?? record
    return Effect.succeed<Revision>({ _tag: "Unschedule", revision: envelope.revision, record: signed })
  })
