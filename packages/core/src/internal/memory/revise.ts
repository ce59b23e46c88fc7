/**
 * Changes jobs that wait for their time.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Envelope from "../../Envelope.ts"
import { checkRevision, type Revised, type Revision } from "../../JobLog.ts"
import * as JobRecord from "../../JobRecord.ts"
import { Refused, TransportError } from "../../TransportError.ts"
import * as Bytes from "../bytes.ts"
import type { Broker } from "./broker.ts"
import type { Queue } from "./queue.ts"

const reviseOne = (queue: Queue, revision: Revision, now: number): Revised => {
  if (revision._tag === "Unschedule") {
    const { record } = revision
    const job = queue.jobs.get(record.id)
    if (job === undefined) {
      const standing = queue.archive.row(record.id, now)?.record
      const isRepeat = standing !== undefined && Bytes.equal(JobRecord.toBytes(standing), JobRecord.toBytes(record))
      return isRepeat ? "done" : "missing"
    }
    if (job.place !== "scheduled" || job.envelope.revision !== revision.revision) return "superseded"
    queue.finish(job, record, now)
    return "done"
  }
  const { successor } = revision
  const job = queue.jobs.get(successor.id)
  if (job === undefined) return "missing"
  if (job.place === "scheduled" && job.envelope.revision + 1 === successor.revision) {
    queue.reschedule(job, successor, now)
    return "done"
  }
  const isRepeat = Bytes.equal(Envelope.toBytes(job.envelope), Envelope.toBytes(successor))
  return isRepeat ? "done" : "superseded"
}

export const revise = (
  broker: Broker,
  name: string,
  revisions: NonEmptyReadonlyArray<Revision>
): Effect.Effect<ReadonlyArray<Revised>, TransportError> => {
  for (const revision of revisions) {
    const description = checkRevision(name, revision)
    if (description !== undefined) {
      return Effect.fail(new TransportError({ reason: new Refused({ operation: `revise in "${name}"`, description }) }))
    }
  }
  const now = broker.now()
  const queue = broker.queue(name)
  queue.promote(now)
  const created: Array<JobRecord.JobRecord> = []
  const answers = revisions.map((revision) => {
    const before = revision._tag === "Unschedule" && queue.jobs.has(revision.record.id)
    const answer = reviseOne(queue, revision, now)
    if (before && answer === "done") created.push(revision.record)
    return answer
  })
  queue.changed()
  broker.announce(created)
  return Effect.succeed(answers)
}
