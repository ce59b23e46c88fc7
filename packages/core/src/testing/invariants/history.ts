/**
 * What happened, as plain data: it can be written by many processes and put
 * together later.
 */
import type { Place } from "../../JobLog.ts"
import type { FailureReason, TerminalState } from "../../JobRecord.ts"

/** Names one job for as long as its record lives. */
export interface Identity {
  readonly queue: string
  readonly id: string
  /** 0, or one more for every later job with this id: after a replay, or accepted again after its record expired. */
  readonly generation?: number | undefined
}

/** A job that was enqueued. Times are ms since the epoch by the broker's clock. */
export interface Sent extends Identity {
  readonly task: string
  readonly key: string | undefined
  /** False if the answer never came: the job may exist and need not. Default: true. */
  readonly accepted?: boolean | undefined
  /** A dead letter that was replayed: it may follow an earlier job of its id at once. Default: false. */
  readonly replayed?: boolean | undefined
  /** When it was accepted, or the earliest time at which it can have been. */
  readonly acceptedAt: number
  /** The latest time at which it can have been accepted. Default: `acceptedAt`. */
  readonly acceptedBy?: number | undefined
  /**
   * When it became due, never before it was accepted; the earliest time possible. Of a job that was rescheduled before
   * its first hand-out, by the last of its due times.
   */
  readonly dueAt: number
  /** The latest time at which it can have become due. Default: `dueAt`. */
  readonly dueBy?: number | undefined
  /** Its place in the order in which jobs were accepted: counts among jobs that became due at the same time. */
  readonly order: number
  /** Counted failures after which the job has failed; `undefined` if its retries may end earlier. */
  readonly maxAttempts: number | undefined
  readonly expiresAt: number | undefined
}

/**
 * How a run ended. `failed` counts: a typed error, a defect, a timeout,
 * `RetryAfter`. `interrupted` and `killed` (with the whole process) do not.
 */
export type Outcome = "succeeded" | "failed" | "discarded" | "snoozed" | "interrupted" | "killed"

/** One run of a handler. Times are ms since the epoch by the broker's clock. */
export interface Run extends Identity {
  readonly worker: string
  readonly attempt: number
  readonly deliveries: number
  readonly startedAt: number
  /** When it had its last effect; `undefined` if nobody knows, or if it still runs. */
  readonly endedAt: number | undefined
  /** `undefined` if nobody knows, or if it still runs. */
  readonly outcome: Outcome | undefined
  /** The least delay (ms) that the worker must have put before the next run, after `failed` and `snoozed`. */
  readonly delay?: number | undefined
  /** Since when the run did not own its lease; `undefined` if it owned it until its end. */
  readonly leaseLostAt?: number | undefined
  /** True if nothing kept the worker from renewing the lease as long as it ran. Default: false. */
  readonly healthy?: boolean | undefined
  /** Whether the broker answered `settled` to its settlement, if it is known. */
  readonly settled?: boolean | undefined
  readonly token?: { readonly value: number; readonly takenAt: number } | undefined
}

/** A job that waited for its next run was rescheduled. Times are ms since the epoch by the broker's clock. */
export interface Move extends Identity {
  readonly movedAt: number
  /** The earliest time at which it can have become due. */
  readonly dueAt: number
}

/** A call of `cancel` that was answered. */
export interface Cancel extends Identity {
  /** ms since the epoch by the broker's clock. */
  readonly returnedAt: number
  readonly answer: TerminalState
  /** Whether some worker may have had the job in hand at the time. Default: true. */
  readonly inHands?: boolean | undefined
}

/** What a record says, its value left out. */
export interface RecordView {
  readonly state: TerminalState
  readonly reason: FailureReason | undefined
  readonly attempts: number
  readonly finishedAt: number
  /** ms. */
  readonly timeToLive: number
}

/** What was seen of a job at one moment. */
export interface Observation {
  readonly queue: string
  readonly id: string
  /** Not before the look, ms since the epoch by the broker's clock. */
  readonly at: number
  /** Everywhere it was found; `undefined` if nobody looked: the record came with a push. */
  readonly places: ReadonlyArray<Place> | undefined
  readonly record: RecordView | undefined
}

export interface History {
  readonly sent: ReadonlyArray<Sent>
  readonly runs: ReadonlyArray<Run>
  readonly cancels: ReadonlyArray<Cancel>
  readonly observations: ReadonlyArray<Observation>
  /** Of jobs that had been handed out before. */
  readonly moves?: ReadonlyArray<Move> | undefined
}

/** One job with all that happened to it, each list in the order of time. */
export interface Life {
  readonly job: Sent
  /** The job before it with the same id. */
  before: Life | undefined
  /** Whether a later job has its id. */
  replaced: boolean
  readonly runs: Array<Run>
  readonly cancels: Array<Cancel>
  readonly observations: Array<Observation>
  readonly moves: Array<Move>
}

export interface Lives {
  readonly all: ReadonlyArray<Life>
  /** What happened to jobs that nobody sent. */
  readonly strangers: ReadonlyArray<Run | Cancel | Move>
}

const nameOf = ({ id, queue }: { readonly queue: string; readonly id: string }): string =>
  `${queue.length}:${queue}${id}`

/** The job that was there at the time; `undefined` if that is not sure. */
const findSeen = (
  generations: ReadonlyMap<number, Life> | undefined,
  { at, places, record }: Observation,
  workerTolerance: number
): Life | undefined => {
  if (generations === undefined) return undefined
  const pushed = places === undefined && record !== undefined
  // a push may come late: it belongs to the job that was there when its record was written
  const time = pushed ? record.finishedAt : at
  const tolerance = pushed ? workerTolerance : 0
  let seen = generations.get(0)
  if (!pushed && seen !== undefined && time < seen.job.acceptedAt) return undefined
  for (const [generation, life] of generations) {
    const { acceptedAt, acceptedBy = acceptedAt } = life.job
    if (generation === 0 || time < acceptedAt - tolerance) continue
    if (time <= acceptedBy + tolerance) return undefined
    if (seen === undefined || acceptedAt >= seen.job.acceptedAt) seen = life
  }
  return seen
}

/** Puts together what belongs to one job. */
export const lives = (history: History, workerTolerance: number): Lives => {
  const byName = new Map<string, Map<number, Life>>()
  const all: Array<Life> = []
  for (const job of history.sent) {
    const life: Life = { job, before: undefined, replaced: false, runs: [], cancels: [], observations: [], moves: [] }
    const generations = byName.get(nameOf(job))
    if (generations === undefined) byName.set(nameOf(job), new Map([[job.generation ?? 0, life]]))
    else generations.set(job.generation ?? 0, life)
    all.push(life)
  }
  const strangers: Array<Run | Cancel | Move> = []
  const find = (one: Run | Cancel | Move): Life | undefined => {
    const life = byName.get(nameOf(one))?.get(one.generation ?? 0)
    if (life === undefined) strangers.push(one)
    return life
  }
  for (const run of history.runs) find(run)?.runs.push(run)
  for (const cancel of history.cancels) find(cancel)?.cancels.push(cancel)
  for (const move of history.moves ?? []) find(move)?.moves.push(move)
  for (const observation of history.observations) {
    findSeen(byName.get(nameOf(observation)), observation, workerTolerance)?.observations.push(observation)
  }
  for (const life of all) {
    life.before = byName.get(nameOf(life.job))?.get((life.job.generation ?? 0) - 1)
    if (life.before !== undefined) life.before.replaced = true
    life.runs.sort((a, b) => a.startedAt - b.startedAt)
    life.cancels.sort((a, b) => a.returnedAt - b.returnedAt)
    life.moves.sort((a, b) => a.movedAt - b.movedAt)
    life.observations.sort((a, b) => a.at - b.at)
  }
  return { all, strangers }
}

/** Whether the run owned its lease at this time, for all that is known. */
export const ownedLease = (run: Run, at: number): boolean => run.leaseLostAt === undefined || run.leaseLostAt > at

export const mayBe = (run: Run, outcome: Outcome): boolean => run.outcome === undefined || run.outcome === outcome

/** The record as it was seen last. */
export const lastRecord = (life: Life): RecordView | undefined =>
  life.observations.findLast((observation) => observation.record !== undefined)?.record
