/**
 * What a settlement must agree on with its delivery, whatever became of the job.
 */
import type { Settlement } from "@troupe/core/JobLog"

/** What is wrong with it; `undefined` if nothing is. */
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
