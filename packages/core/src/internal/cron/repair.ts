/**
 * Closes what nobody closed: runs whose process died, and jobs that ended
 * without having run. What the history says of a run follows the record of its
 * job, and the signs of life of its process.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { LocatedJob } from "../../JobLog.ts"
import type { JobRecord } from "../../JobRecord.ts"
import { records } from "../../Store.ts"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import * as RecordRow from "../recordRow.ts"
import { workers } from "../worker/presence.ts"
import { schedulers } from "./processes.ts"
import { requestTimeToLive } from "./requests.ts"
import * as Runs from "./runs.ts"

export interface Open {
  readonly row: Runs.RunRow
  readonly revision: number
}

/** ms that a run is left alone before its process counts as gone: a busy one misses a sign of life or two. */
const patience = 15_000

/** ms after which a job that is nowhere was lost, and not just sent. */
const lostAfter = 60_000

/** Where the job of a run is. */
type Place =
  | { readonly _tag: "Over"; readonly record: JobRecord }
  | { readonly _tag: "Somewhere"; readonly running: boolean }
  | { readonly _tag: "Nowhere" }

const placeOf = (located: Option.Option<LocatedJob>): Place =>
  Option.isNone(located)
    ? { _tag: "Nowhere" }
    : located.value.record !== undefined
    ? { _tag: "Over", record: located.value.record }
    : { _tag: "Somewhere", running: located.value.place === "running" }

const findPlaces = Effect.fnUntraced(function*(
  { log, store }: Transport["Service"],
  queue: string,
  ids: NonEmptyReadonlyArray<string>
): Effect.fn.Return<ReadonlyMap<string, Place>, TransportError> {
  const places = new Map<string, Place>()
  const look = Effect.fnUntraced(function*(wanted: ReadonlyArray<string>) {
    const rows = yield* store.get(records(queue), wanted)
    return wanted.filter((id, index) => {
      const row = rows[index]!
      if (Option.isNone(row)) return true
      const record = RecordRow.read(queue, id, row.value.value)
      if (Exit.isSuccess(record)) places.set(id, { _tag: "Over", record: record.value })
      return Exit.isFailure(record)
    })
  })
  const [first, ...others] = yield* look(ids)
  if (first === undefined) return places
  const pending: NonEmptyReadonlyArray<string> = [first, ...others]
  const located = yield* log.locate(queue, pending)
  pending.forEach((id, index) => places.set(id, placeOf(located[index]!)))
  // it may have ended between the two looks
  yield* look(pending.filter((id) => places.get(id)?._tag === "Nowhere"))
  return places
})

const closedBy = (row: Runs.RunRow, record: JobRecord): Runs.RunRow => {
  const { finishedAt: at, message, reason, state } = record
  const because = {
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message })
  }
  const last = row.executions.at(-1)
  if (last?.status === "RUNNING" && state !== "expired") {
    const status = state === "succeeded" ? "COMPLETED" : state === "failed" ? "FAILED" : "CANCELLED"
    return { ...row, executions: row.executions.with(-1, { ...last, ...because, status, completedAt: at }) }
  }
  const executions = row.executions.map((one) => Runs.lost(one, at))
  if (executions.length > 0) return { ...row, executions }
  const end = state === "succeeded"
    ? { status: "COMPLETED" as const }
    : state === "failed"
    ? { status: "FAILED" as const }
    : state === "cancelled"
    ? { status: "CANCELLED" as const }
    : { status: "SKIPPED" as const, reason: "Expired", message: "no worker was free to run it in time" }
  return { ...row, end: { at, ...because, ...end } }
}

const failed = (row: Runs.RunRow, at: number, reason: string, message: string): Runs.RunRow => ({
  ...row,
  executions: row.executions.map((one) => Runs.lost(one, at)),
  ...(row.executions.length > 0 ? {} : { end: { status: "FAILED", at, reason, message } })
})

const lastRunning = (row: Runs.RunRow): Runs.Execution | undefined => {
  const last = row.executions.at(-1)
  return last?.status === "RUNNING" ? last : undefined
}

/** What the row should say; `undefined` if it is right. */
const decide = (
  row: Runs.RunRow,
  place: Place | undefined,
  isAlive: (worker: string) => boolean,
  now: number
): Runs.RunRow | undefined => {
  const running = lastRunning(row)
  const isGone = running !== undefined && now - running.startedAt > patience && !isAlive(running.worker)
  if (row.queue === undefined) {
    if (isGone) return failed(row, now, "", "")
    if (running === undefined && row.trigger === "schedule" && now - row.since > lostAfter) {
      return failed(row, now, "WorkerLost", "the scheduler that took the tick did not start it")
    }
    return running === undefined && now - row.since > requestTimeToLive
      ? {
        ...row,
        end: { status: "SKIPPED", at: now, reason: "Expired", message: "no process that has its code ran it" }
      }
      : undefined
  }
  switch (place?._tag) {
    case "Over":
      return closedBy(row, place.record)
    case "Nowhere":
      return now - row.since > lostAfter
        ? failed(row, now, "Lost", "the broker knows neither the job nor its record")
        : undefined
    case "Somewhere":
      // waiting again though nobody said how the run ended: its worker lost it
      return isGone || (running !== undefined && !place.running) ? failed(row, now, "", "") : undefined
  }
  return undefined
}

/** Answers the rows as they are after the repair, in their order. */
export const repair = Effect.fnUntraced(function*(
  transport: Transport["Service"],
  rows: ReadonlyArray<Open>,
  now: number
): Effect.fn.Return<ReadonlyArray<Runs.RunRow>, TransportError> {
  const open = rows.filter(({ row }) => Runs.isOpen(row))
  if (open.length === 0) return rows.map(({ row }) => row)
  const places = new Map<string, ReadonlyMap<string, Place>>()
  const byQueue = Map.groupBy(open.filter(({ row }) => row.queue !== undefined), ({ row }) => row.queue!)
  for (const [queue, group] of byQueue) {
    const [first, ...others] = group.map(({ row }) => Runs.idOf(row.name, row.key))
    places.set(queue, yield* findPlaces(transport, queue, [first!, ...others]))
  }
  const doubtful = [
    ...new Set(open.flatMap(({ row }) => {
      const running = lastRunning(row)
      return running !== undefined && now - running.startedAt > patience ? running.worker : []
    }))
  ]
  const alive = new Set<string>()
  if (doubtful.length > 0) {
    const signs = yield* transport.store.get(workers, doubtful)
    const others = yield* schedulers.read(transport, doubtful)
    doubtful.forEach((id, index) => {
      if (Option.isSome(signs[index]!) || others[index]?.value !== undefined) alive.add(id)
    })
  }
  return yield* Effect.forEach(rows, ({ revision, row }) => {
    if (!Runs.isOpen(row)) return Effect.succeed(row)
    const place = row.queue === undefined ? undefined : places.get(row.queue)?.get(Runs.idOf(row.name, row.key))
    const right = decide(row, place, (worker) => alive.has(worker), now)
    return right === undefined
      ? Effect.succeed(row)
      : Effect.map(Runs.write(transport, right, revision), (written) => written === undefined ? row : right)
  }, { concurrency: 16 })
})
