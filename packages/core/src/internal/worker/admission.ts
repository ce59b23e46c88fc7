/**
 * Decides what becomes of a delivery before its payload is touched.
 */
import * as Envelope from "../../Envelope.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import type { RegisteredTask, Settings } from "./settings.ts"
import { isPoison } from "./suspects.ts"
import type { Writer } from "./writer.ts"

export type Admission =
  | { readonly _tag: "Run"; readonly task: RegisteredTask }
  | {
    readonly _tag: "Settle"
    readonly settlement: Settlement
    readonly why: string
    /** The handler may know another end of the job. */
    readonly recall?: RegisteredTask | undefined
  }

/**
 * ms that a job waits for a worker that knows its task: doubles from the first, up to the second. Nobody can tell whom it
 * goes to then, so it takes many hand-outs until it has surely met the one among several that knows it.
 */
const unknownDelay = { first: 1_000, longest: 5_000 }

/**
 * True if the job may have a record already. The first hand-out of a job that
 * never waited cannot: asking the store for it would cost a round trip per job.
 */
export const mayHaveRecord = ({ deliveries, envelope, suspectRecord }: Delivery): boolean =>
  suspectRecord || deliveries > 1 || envelope.revision > 0 || envelope.due !== undefined

/** No attempt starts after the expiry, by the broker's clock as far as this worker knows it. */
export const isExpired = ({ now }: Settings, { envelope }: Delivery): boolean =>
  envelope.expiresAt !== undefined && envelope.expiresAt <= now()

/** It probably ends the workers that run it. */
export const poison = (writer: Writer, delivery: Delivery, task: RegisteredTask | undefined) => {
  const message = `handed out ${delivery.deliveries - 1} times without an end: it probably ends the workers that run it`
  const failure = { reason: "Poison" as const, message, counted: false }
  const settlement = writer.failed(delivery, failure, task?.policy)
  return { _tag: "Settle" as const, settlement, why: message, recall: task }
}

/** `now`: by the broker's clock, when the job came. */
export const decide = (
  settings: Settings,
  tasks: ReadonlyMap<string, RegisteredTask>,
  writer: Writer,
  delivery: Delivery,
  now: number
): Admission => {
  const { envelope } = delivery
  const task = tasks.get(envelope.task)
  const bury = (
    reason: "UnknownVersion" | "Signature" | "UnknownTask" | "Undecodable",
    message: string
  ) => ({
    _tag: "Settle" as const,
    settlement: writer.failed(delivery, { reason, message, counted: false }, task?.policy),
    why: message
  })
  if (Envelope.isUnreadable(envelope)) return bury("Undecodable", "its bytes are no envelope of a job")
  if (!Envelope.isKnown(envelope.version)) {
    return bury("UnknownVersion", `envelope version ${envelope.version} is not known here: upgrade the workers`)
  }
  const refused = settings.signing?.verifyEnvelope(envelope, now)
  if (refused !== undefined) return bury("Signature", refused.message)
  if (isExpired(settings, delivery)) {
    return { _tag: "Settle", settlement: writer.expired(delivery, task?.policy), why: "expired", recall: task }
  }
  if (isPoison(settings, delivery)) return poison(writer, delivery, task)
  if (task === undefined) return unknownTask(settings, writer, delivery, bury)
  if (!settings.accepted.has(envelope.contentType)) {
    return bury("Undecodable", `content type "${envelope.contentType}" is not in Codec.Accepted`)
  }
  return { _tag: "Run", task }
}

/** During a rolling deploy the task may be known elsewhere: wait, longer each time, before giving up. */
const unknownTask = (
  settings: Settings,
  writer: Writer,
  delivery: Delivery,
  bury: (reason: "UnknownTask", message: string) => Admission
): Admission => {
  const { envelope } = delivery
  const now = settings.now()
  const since = envelope.unknownSince ?? now
  const waited = now - since
  if (waited >= settings.unknownTaskTimeout) {
    return bury("UnknownTask", `no worker of queue "${envelope.queue}" knew task "${envelope.task}" for ${waited} ms`)
  }
  const delay = Math.min(
    settings.jittered(Math.min(unknownDelay.longest, Math.max(unknownDelay.first, waited))),
    settings.unknownTaskTimeout - waited
  )
  return {
    _tag: "Settle",
    settlement: writer.handBack(delivery, delay, since),
    why: `task "${envelope.task}" is not known here, waiting ${delay} ms for a worker that knows it`
  }
}
