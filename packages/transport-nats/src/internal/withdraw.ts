/**
 * Ends jobs from outside: the record is created if absent, then the job is taken
 * from wherever it is.
 */
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Key from "./key.ts"
import * as Names from "./names.ts"
import { recordOf } from "./record.ts"
import * as Row from "./row.ts"
import type { Streams } from "./streams.ts"

/** Rows that are lost again and again: the job goes on all the time. */
const maxTries = 50

const remove = Effect.fnUntraced(function*(
  streams: Streams,
  stream: string,
  subjects: ReadonlyArray<string>
): Effect.fn.Return<void, TransportError> {
  const found = yield* streams.last(stream, subjects)
  yield* streams.remove(stream, found.flatMap((message) => message === undefined ? [] : [message.sequence]))
})

/** `auth`: 0 for a job without a row. It is under one of the priorities that were used. */
const removeAnywhere = Effect.fnUntraced(function*(
  { levels, streams }: Context,
  names: Names.QueueNames,
  id: string,
  auth: number
): Effect.fn.Return<void, TransportError> {
  const subjects = (yield* levels.read(names)).map((level) => Names.job(names, level, id, auth))
  yield* remove(streams, names.work, subjects)
})

/** What it had published, wherever that is. Whoever got it already is told by the row. */
export const removeLive = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  id: string,
  row: Row.Live
): Effect.fn.Return<void, TransportError> {
  const { streams } = context
  const { key, priority } = row.envelope
  yield* context.agenda.remove(names, row)
  if (key === undefined) yield* remove(streams, names.work, [Names.job(names, priority, id, row.auth)])
  else yield* Key.endHead(context, names, Names.encode(key), row.envelope.id)
})

const withdrawOne = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  record: JobRecord.JobRecord
): Effect.fn.Return<JobRecord.JobRecord, TransportError> {
  const { clock, rows } = context
  const id = Names.encode(record.id)
  const nonce = context.nonce()
  const encoded = JobRecord.toBytes(record)
  const { timeToLive, valueTimeToLive } = record
  let before: Row.Live | undefined
  for (let tries = 0; tries < maxTries; tries++) {
    const found = yield* rows.readOne(names, id)
    if (found.row?._tag === "Ended") {
      const { withdrew } = found.row
      if (found.row.nonce !== nonce) {
        // whoever wrote it may not have come to take the job away: nobody who hears of the cancel sees it start
        if (withdrew !== undefined) yield* removeAnywhere(context, names, id, withdrew)
        return JobRecord.fromBytes(recordOf(found.row, clock.now()))
      }
    } else {
      before = found.row
      const withdrew = before?.auth ?? 0
      const bytes = Row.ended({ nonce, timeToLive, valueTimeToLive, record: encoded, withdrew })
      const [written] = yield* rows.write(names, [{ id, bytes, expected: found.sequence }])
      if (written === undefined) continue
    }
    yield* context.bus.announce([{ record, bytes: encoded }])
    if (before === undefined) yield* removeAnywhere(context, names, id, 0)
    else yield* removeLive(context, names, id, before)
    return record
  }
  return yield* Errors.unavailable("withdraw", `the row of job "${record.id}" changes all the time`)
})

/** Answers the records that stand. */
export const withdraw = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  records: ReadonlyArray<JobRecord.JobRecord>
): Effect.fn.Return<ReadonlyArray<JobRecord.JobRecord>, TransportError> {
  const stray = records.find((record) => record.queue !== queue)
  if (stray !== undefined) {
    const description = `the record of job "${stray.id}" is of queue "${stray.queue}"`
    return yield* Errors.refused(`withdraw from "${queue}"`, description)
  }
  const names = yield* context.queues.ensure(queue)
  return yield* Effect.forEach(records, (record) => withdrawOne(context, names, record), { concurrency: 32 })
})
