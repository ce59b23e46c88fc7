/**
 * A record says what a run did, and nobody says otherwise.
 */
import type { FailureReason } from "../../JobRecord.ts"
import { lastRecord, type Life, mayBe, type Outcome, ownedLease, type RecordView } from "./history.ts"
import { type Report, type Settings, violation } from "./violation.ts"

/** Reasons that end a job once its attempts are used up, each of a run that failed. */
const countedReasons: ReadonlySet<FailureReason | undefined> = new Set(["Error", "Defect", "TimedOut", "Exhausted"])

export const checkEnds = (life: Life, settings: Settings, report: Report): void => {
  const { cancels, job, runs } = life
  const record = lastRecord(life)
  if (record !== undefined) {
    const wrong = findMistake(life, record, settings)
    if (wrong !== undefined) report(violation("WrongRecord", job, record.finishedAt, wrong))
    for (const cancel of cancels) {
      if (cancel.answer === record.state) continue
      const message = `cancel answered ${cancel.answer}, but its record is ${record.state}`
      report(violation("WrongCancelAnswer", job, cancel.returnedAt, message))
    }
  }
  for (const run of runs) {
    if (run.healthy === true && run.leaseLostAt !== undefined && record?.state !== "cancelled") {
      const message = `worker "${run.worker}" was healthy and lost its lease at ${run.leaseLostAt}`
      report(violation("LostLease", job, run.leaseLostAt, message))
    }
    if (run.settled !== true || run.leaseLostAt === undefined) continue
    const message =
      `worker "${run.worker}" lost its lease at ${run.leaseLostAt}, and its settlement was taken all the same`
    report(violation("StaleSettle", job, run.endedAt, message))
  }
  checkTokens(life, settings, report)
}

const checkTokens = ({ job, runs }: Life, settings: Settings, report: Report): void => {
  // an old token that reaches a run without a lease is what fencing is for
  const tokens = runs.flatMap((run) =>
    run.token === undefined || !ownedLease(run, run.token.takenAt) ? [] : [run.token]
  ).sort((a, b) => a.takenAt - b.takenAt)
  for (let i = 1; i < tokens.length; i++) {
    const [before, after] = [tokens[i - 1]!, tokens[i]!]
    if (after.value > before.value || after.takenAt <= before.takenAt + settings.tolerance) continue
    const message = `fencing token ${after.value} was taken after fencing token ${before.value}`
    report(violation("FencingOrder", job, after.takenAt, message))
  }
  for (const { leaseLostAt = Infinity, startedAt, token: old, worker } of runs) {
    if (old !== undefined && leaseLostAt < startedAt) {
      const message = `worker "${worker}" took fencing token ${old.value} in a run that never owned its lease`
      report(violation("FencingOrder", job, old.takenAt, message))
      continue
    }
    const owner = runs.find((other) =>
      old !== undefined && other.token !== undefined && leaseLostAt <= other.startedAt &&
      startedAt < other.startedAt && other.token.value < old.value
    )
    if (owner === undefined) continue
    const message =
      `worker "${worker}" had lost its lease at ${leaseLostAt}, and its fencing token ${old?.value} beats ` +
      `the ${owner.token?.value} of worker "${owner.worker}" that started after that`
    report(violation("FencingOrder", job, owner.token?.takenAt, message))
  }
}

const findMistake = ({ job, runs }: Life, record: RecordView, { workerTolerance }: Settings): string | undefined => {
  const { attempts, reason, state } = record
  const ran = (outcome: Outcome) => runs.some((run) => mayBe(run, outcome) && run.attempt === attempts)
  if (job.maxAttempts !== undefined && attempts > job.maxAttempts) {
    return `its record counts ${attempts} attempts, ${job.maxAttempts} are allowed`
  }
  if (state === "succeeded" && !ran("succeeded")) {
    return `its record says succeeded at attempt ${attempts}, but no run of that attempt succeeded`
  }
  if (state === "expired") {
    if (job.expiresAt === undefined) return "its record says expired, but it never expires"
    if (record.finishedAt + workerTolerance < job.expiresAt) {
      return `its record says expired at ${record.finishedAt}, but it expires at ${job.expiresAt}`
    }
  }
  if (state !== "failed") return undefined
  if (reason === "Discarded") {
    return ran("discarded") ? undefined : "its record says discarded, but no run discarded it"
  }
  if (!countedReasons.has(reason)) return undefined
  if (!ran("failed")) {
    return `its record says failed at attempt ${attempts} (${reason}), but no run of that attempt failed`
  }
  return job.maxAttempts !== undefined && attempts < job.maxAttempts
    ? `its record says failed after ${attempts} of ${job.maxAttempts} attempts`
    : undefined
}
