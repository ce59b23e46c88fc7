/**
 * When a run may start, and what its attempt and its delivery count must be.
 */
import { type Life, mayBe, ownedLease, type Run } from "./history.ts"
import { type Report, type Settings, violation } from "./violation.ts"

export const checkStarts = (life: Life, settings: Settings, report: Report): void => {
  const { cancels, job, moves, observations, runs } = life
  const { tolerance } = settings
  const end = observations.find((seen) => seen.record !== undefined)
  for (const run of runs) {
    const tell = (kind: Parameters<typeof violation>[0], message: string) =>
      report(violation(kind, job, run.startedAt, `worker "${run.worker}" ${message}`))
    checkAttempt(life, run, settings, tell)
    if (run.startedAt + tolerance < job.dueAt) {
      tell("EarlyStart", `started it ${job.dueAt - run.startedAt} ms before it was due`)
    }
    if (job.expiresAt !== undefined && run.startedAt > job.expiresAt + settings.workerTolerance) {
      tell("StartAfterExpiry", `started attempt ${run.attempt} ${run.startedAt - job.expiresAt} ms after it expired`)
    }
    // a hand-out from before it, that is stale since, is not bound by it
    const due = ownedLease(run, run.startedAt) ? movedTo(moves, run) : undefined
    if (due !== undefined && run.startedAt + tolerance < due) {
      tell("EarlyStart", `started it ${due - run.startedAt} ms before the time that it was rescheduled to`)
    }
    checkDeliveries(runs, run, settings, tell)
    if (end !== undefined && run.startedAt > end.at + tolerance && ownedLease(run, run.startedAt)) {
      tell("StartAfterEnd", `started it ${run.startedAt - end.at} ms after its record (${end.record?.state}) was seen`)
    }
    for (const cancel of cancels) {
      if (cancel.answer !== "cancelled") continue
      const grace = cancel.inHands === false ? 0 : settings.cancelGrace
      const late = run.startedAt - cancel.returnedAt
      if (late > grace + tolerance) tell("StartAfterCancel", `started it ${late} ms after a cancel of it had returned`)
    }
  }
}

/** The earliest time to which the job had been rescheduled. Within a ms nobody knows what came first. */
const movedTo = (moves: Life["moves"], { startedAt }: Run): number | undefined => {
  const last = moves.findLast(({ movedAt }) => movedAt < startedAt)
  if (last === undefined) return undefined
  return Math.min(last.dueAt, ...moves.filter(({ movedAt }) => movedAt === startedAt).map(({ dueAt }) => dueAt))
}

/** Hand-outs from which on only those count at which the job was started. */
const suspectFrom = 3

const checkDeliveries = (runs: ReadonlyArray<Run>, run: Run, { maxDeliveries }: Settings, tell: Tell): void => {
  if (run.deliveries <= maxDeliveries) return
  // the runs before it of the same count
  let [starts, last] = [1, run]
  for (const other of runs.slice(0, runs.indexOf(run)).reverse()) {
    if (other.deliveries >= last.deliveries || other.settled === true) break
    last = other
    if (other.deliveries >= suspectFrom) starts++
  }
  const allowed = Math.max(0, maxDeliveries - suspectFrom + 1)
  if (starts <= allowed) return
  tell("TooManyDeliveries", `started it at hand-out ${run.deliveries}, ${maxDeliveries} are allowed`)
}

type Tell = (kind: Parameters<typeof violation>[0], message: string) => void

const checkAttempt = (life: Life, run: Run, settings: Settings, tell: Tell): void => {
  const { job, runs } = life
  const { attempt, startedAt } = run
  const { tolerance } = settings
  if (attempt < 1 || (job.maxAttempts !== undefined && attempt > job.maxAttempts)) {
    tell("WrongAttempt", `started attempt ${attempt} of ${job.maxAttempts ?? "any number"}`)
  }
  // a hand-out from before the last successor: nothing that happened since binds it
  if (!ownedLease(run, startedAt)) return
  // runs that may have led to this one
  const before = runs.filter((other) => other !== run && (other.endedAt ?? other.startedAt) <= startedAt + tolerance)
  const failures = before.filter((other) => other.attempt === attempt - 1 && mayBe(other, "failed"))
  if (attempt > 1) {
    if (failures.length === 0) {
      tell("WrongAttempt", `started attempt ${attempt}, but no run of attempt ${attempt - 1} had failed`)
    } else checkDelay(life, run, failures, `attempt ${attempt - 1} failed`, tolerance, tell)
  }
  const newer = runs.find((other) => other.attempt > attempt && other.startedAt < startedAt)
  if (newer !== undefined) {
    tell(
      "WrongAttempt",
      `started attempt ${attempt} after worker "${newer.worker}" had started attempt ${newer.attempt}`
    )
  }
  // only a successor counts hand-outs anew: this run came from one, or is the first of its attempt
  if (!settings.exactDeliveries || run.deliveries > 1) return
  const ofAttempt = before.filter((other) => other.attempt === attempt && other.startedAt < startedAt)
  const snoozes = ofAttempt.filter((other) => other.outcome === "snoozed")
  // whatever may have been released was due at once
  const others = ofAttempt.filter((other) => other.outcome === "interrupted" || other.outcome === undefined)
  if (others.length > 0) return
  if (snoozes.length > 0) return checkDelay(life, run, snoozes, "it was snoozed", tolerance, tell)
  const failed = ofAttempt.find((other) => other.outcome === "failed")
  if (failed !== undefined) {
    tell("WrongAttempt", `started attempt ${attempt} again: its failure at ${failed.endedAt} was not counted`)
  }
}

/** The run must have waited as long as the shortest of the delays that may have led to it. */
const checkDelay = (
  { moves }: Life,
  run: Run,
  candidates: ReadonlyArray<Run>,
  what: string,
  tolerance: number,
  tell: Tell
): void => {
  // successors follow each other: it was the last one that the broker is known to have taken
  const taken = candidates.findLast((candidate) => candidate.settled === true)
  const causes = taken === undefined ? candidates : [taken]
  const since = Math.min(...causes.map((cause) => cause.endedAt ?? cause.startedAt))
  // it waits for another time since
  if (moves.some(({ movedAt }) => movedAt >= since && movedAt <= run.startedAt)) return
  const due = Math.min(...causes.map((cause) => (cause.endedAt ?? cause.startedAt) + (cause.delay ?? 0)))
  if (run.startedAt + tolerance >= due) return
  tell("EarlyStart", `started it ${due - run.startedAt} ms before it was due again after ${what}`)
}
