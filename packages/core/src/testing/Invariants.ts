/**
 * Says which promises of section 2 of the architecture a history breaks, on any
 * transport: which jobs were lost, ended twice, ran out of order, too early or
 * with a wrong attempt count.
 *
 * A harness writes down what it sent and what its handlers did, breaks what it
 * likes, and calls `verify` after every fault:
 *
 * ```ts
 * const history = Invariants.empty()
 * history.sent.push({ queue, id, task, key, acceptedAt, dueAt, order, maxAttempts, expiresAt })
 * history.runs.push({ queue, id, worker, attempt, deliveries, startedAt, endedAt, outcome })
 * yield* Invariants.verify(history)
 * ```
 *
 * What is not written down is not judged, and times that a harness cannot know
 * exactly are given as the bounds that it knows: every violation is a real one.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Place } from "../JobLog.ts"
import * as JobRecord from "../JobRecord.ts"
import { records as recordsOf } from "../Store.ts"
import { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"
import * as Check from "./Check.ts"
import { checkEnds } from "./invariants/ends.ts"
import * as Histories from "./invariants/history.ts"
import { checkKeys } from "./invariants/keys.ts"
import { checkPlaces } from "./invariants/places.ts"
import { checkStarts } from "./invariants/starts.ts"
import { type Options, resolve, type Violation, violation } from "./invariants/violation.ts"

export type {
  Cancel,
  History,
  Identity,
  Move,
  Observation,
  Outcome,
  RecordView,
  Run,
  Sent
} from "./invariants/history.ts"
export type { Kind, Options, Violation } from "./invariants/violation.ts"

/** A history that a harness appends to. */
export interface Draft extends Histories.History {
  readonly sent: Array<Histories.Sent>
  readonly runs: Array<Histories.Run>
  readonly cancels: Array<Histories.Cancel>
  readonly observations: Array<Histories.Observation>
  readonly moves: Array<Histories.Move>
}

export const empty = (): Draft => ({ sent: [], runs: [], cancels: [], observations: [], moves: [] })

/** All violations, in the order of time. Needs no broker: `verify` asks it first. */
export const check = (history: Histories.History, options: Options = {}): ReadonlyArray<Violation> => {
  const settings = resolve(options)
  const found: Array<Violation> = []
  const report = (one: Violation) => {
    found.push(one)
  }
  const lives = Histories.lives(history, settings.workerTolerance)
  for (const stranger of lives.strangers) {
    const [what, at] = "worker" in stranger
      ? [`worker "${stranger.worker}" ran it`, stranger.startedAt]
      : "movedAt" in stranger
      ? ["it was rescheduled", stranger.movedAt]
      : ["it was cancelled", stranger.returnedAt]
    report(violation("UnknownJob", stranger, at, `${what}, but nobody sent it`))
  }
  for (const life of lives.all) {
    checkPlaces(life, settings, report)
    checkStarts(life, settings, report)
    checkEnds(life, settings, report)
  }
  checkKeys(lives.all, settings, report)
  return found.sort((a, b) => (a.at ?? Infinity) - (b.at ?? Infinity))
}

/** One line per violation, for a report. */
export const format = (violations: ReadonlyArray<Violation>): string =>
  violations.length === 0
    ? "No violations."
    : violations.map(({ at, id, kind, message, queue }) =>
      `${kind}: job "${id}" of queue "${queue}"${at === undefined ? "" : ` at ${at}`}: ${message}.`
    ).join("\n")

/** Jobs per call of the transport. */
const batch = 256

/** Looks at a job that changes while it is looked at. */
const maxLooks = 5

/** What a record says, for observations that come with a push or from a waiter. */
export const view = (record: JobRecord.JobRecord): Histories.RecordView => ({
  state: record.state,
  reason: record.reason,
  attempts: record.attempts,
  finishedAt: record.finishedAt,
  timeToLive: record.timeToLive
})

const readRecords = (queue: string, ids: ReadonlyArray<string>) =>
  Transport.use(({ store }) =>
    Effect.map(
      store.get(recordsOf(queue), ids),
      (rows) => rows.map((row) => Option.isNone(row) ? undefined : view(JobRecord.fromBytes(row.value.value)))
    )
  )

/** A record that comes or goes between the looks makes the place worthless: such a job is looked at again. */
const look = Effect.fnUntraced(function*(queue: string, ids: ReadonlyArray<string>) {
  const { clock, log } = yield* Transport
  const seen: Array<Histories.Observation> = []
  let open = ids
  for (let looks = 0; looks < maxLooks; looks++) {
    const [first, ...others] = open
    if (first === undefined) break
    const before = yield* readRecords(queue, open)
    const located = yield* log.locate(queue, [first, ...others])
    const after = yield* readRecords(queue, open)
    const at = yield* clock
    open = open.filter((id, i) => {
      const record = after[i]
      if ((before[i] === undefined) !== (record === undefined)) return true
      const place = Option.getOrUndefined(located[i]!)?.place
      seen.push({ queue, id, at, places: place === undefined ? [] : [place], record })
      return false
    })
  }
  return seen
})

type Jobs = Iterable<{ readonly queue: string; readonly id: string }>

/** Looks for the places and records of jobs, at any time. A job that never stands still is left out. */
export const observe = Effect.fnUntraced(function*(
  jobs: Jobs
): Effect.fn.Return<ReadonlyArray<Histories.Observation>, TransportError, Transport> {
  const idsOf = new Map<string, Set<string>>()
  for (const { id, queue } of jobs) {
    const ids = idsOf.get(queue)
    if (ids === undefined) idsOf.set(queue, new Set([id]))
    else ids.add(id)
  }
  const seen: Array<Histories.Observation> = []
  for (const [queue, set] of idsOf) {
    const ids = [...set]
    for (let start = 0; start < ids.length; start += batch) {
      for (const one of yield* look(queue, ids.slice(start, start + batch))) seen.push(one)
    }
  }
  return seen
})

const nameOf = (job: { readonly queue: string; readonly id: string }) => JSON.stringify([job.queue, job.id])

const allPlaces: ReadonlyArray<Place> = ["scheduled", "queued", "running", "dead"]

/**
 * Like `observe`, but from the listings of every place: finds a job in two of
 * them. Only for queues in which nothing moves: a listing is no snapshot.
 */
export const observeListings = Effect.fnUntraced(function*(
  jobs: Jobs
): Effect.fn.Return<ReadonlyArray<Histories.Observation>, TransportError, Transport> {
  const { log } = yield* Transport
  const places = new Map<string, Array<Place>>()
  const wanted = [...jobs]
  for (const queue of new Set(wanted.map((job) => job.queue))) {
    for (const place of allPlaces) {
      let cursor: string | undefined
      do {
        const page = yield* log.list(queue, place, { limit: batch, cursor })
        for (const { envelope } of page.items) {
          const name = nameOf(envelope)
          places.set(name, [...places.get(name) ?? [], place])
        }
        cursor = page.next
      } while (cursor !== undefined)
    }
  }
  const seen = yield* observe(wanted)
  return seen.map((one) => ({ ...one, places: places.get(nameOf(one)) ?? [] }))
})

/**
 * Looks where every job is that was sent, adds that to the history and checks
 * all of it. Dies with a `CheckFailed` that lists the violations.
 *
 * With `finished`, nothing may move any more: the listings are compared, too.
 */
export const verify = (
  history: Draft,
  options: Options = {}
): Effect.Effect<void, TransportError, Transport> =>
  Effect.gen(function*() {
    const looks = options.finished === true ? [observe, observeListings] : [observe]
    for (const look of looks) {
      for (const one of yield* look(history.sent)) history.observations.push(one)
    }
    const violations = check(history, options)
    if (violations.length > 0) Check.fail(`${violations.length} broken promises:\n${format(violations)}`)
  })
