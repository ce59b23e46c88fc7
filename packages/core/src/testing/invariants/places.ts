/**
 * A job has exactly one place or one record, for ever the same.
 */
import type { Life, Observation, RecordView } from "./history.ts"
import { type Report, type Settings, violation } from "./violation.ts"

const show = (record: RecordView): string =>
  `${record.state}${record.reason === undefined ? "" : ` (${record.reason})`} after ${record.attempts} attempts, ` +
  `finished at ${record.finishedAt}`

const same = (a: RecordView, b: RecordView): boolean =>
  a.state === b.state && a.reason === b.reason && a.attempts === b.attempts && a.finishedAt === b.finishedAt

export const checkPlaces = (life: Life, settings: Settings, report: Report): void => {
  const { job, observations } = life
  checkUnique(life, settings, report)
  let record: RecordView | undefined
  /** The record, if there is one, is not older than this. */
  let recordedSince = job.acceptedAt
  for (const seen of observations) {
    if (seen.record !== undefined && record !== undefined && !same(seen.record, record)) {
      const message = `its record was ${show(record)}; now it is ${show(seen.record)}`
      report(violation("RecordChanged", job, seen.at, message))
    }
    if (seen.places !== undefined) checkOne(life, seen, seen.places, settings, report, record, recordedSince)
    if (seen.record !== undefined) record = seen.record
    else if (record === undefined && (seen.places ?? []).length > 0) recordedSince = seen.at
  }
  const last = observations.findLast((seen) => seen.places !== undefined)
  if (!settings.finished || life.replaced || last === undefined || last.record !== undefined) return
  const waiting = last.places?.find((place) => place !== "dead")
  if (waiting !== undefined) {
    report(violation("Unfinished", job, last.at, `it is still ${waiting} although everything had the time to end`))
  }
}

/** An id is free again when the record of its job has expired, or by a replay. */
const checkUnique = ({ before, job }: Life, settings: Settings, report: Report): void => {
  if (before === undefined || job.replayed === true) return
  let aliveAt = before.job.acceptedAt
  let timeToLive = settings.leastTimeToLive
  for (const seen of before.observations) {
    if (seen.record !== undefined) timeToLive = seen.record.timeToLive
    else if ((seen.places ?? []).length > 0) aliveAt = seen.at
  }
  if (job.acceptedAt + settings.tolerance >= aliveAt + timeToLive) return
  const message =
    `its id was accepted again, although the job before it was alive at ${aliveAt} and its record had to ` +
    `live for ${timeToLive} ms`
  report(violation("AcceptedTwice", job, job.acceptedAt, message))
}

const checkOne = (
  { job }: Life,
  seen: Observation,
  places: ReadonlyArray<string>,
  settings: Settings,
  report: Report,
  record: RecordView | undefined,
  recordedSince: number
): void => {
  const alive = places.filter((place) => place !== "dead")
  if (alive.length > 1) report(violation("TwoPlaces", job, seen.at, `it is ${alive.join(" and ")} at once`))
  if (alive.length > 0 && seen.record !== undefined) {
    report(
      violation("TwoPlaces", job, seen.at, `it is ${alive.join(" and ")} although its record is ${seen.record.state}`)
    )
  }
  if (places.includes("dead") && seen.record !== undefined && seen.record.state !== "failed") {
    report(violation("TwoPlaces", job, seen.at, `it is a dead letter although its record is ${seen.record.state}`))
  }
  if (seen.record !== undefined) return
  if (record !== undefined) {
    // the broker counts from when it took the record, which was not before the last look that did not find one
    if (seen.at + settings.tolerance < recordedSince + record.timeToLive) {
      const message = `its record (${show(record)}) is gone before its time to live of ${record.timeToLive} ms is over`
      report(violation("RecordChanged", job, seen.at, message))
    }
    return
  }
  // a record that came and went since the last look
  const mayHaveExpired = seen.at + settings.tolerance >= recordedSince + settings.leastTimeToLive
  if (mayHaveExpired || job.accepted === false) return
  if (places.length === 0) {
    report(violation("Loss", job, seen.at, "it was accepted, and has neither a place nor a record"))
  } else if (alive.length === 0) {
    report(violation("Loss", job, seen.at, "it is a dead letter without a record"))
  }
}
