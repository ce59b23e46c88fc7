/**
 * Changes jobs that wait for their time, and only those: the row decides. A row
 * that waits is written anew before its job is handed out, so of a revision and
 * a hand-out one is first.
 */
import * as Envelope from "@troupe/core/Envelope"
import { checkRevision, type Revised, type Revision } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Noted } from "./agenda.ts"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import * as Row from "./row.ts"
import * as Token from "./token.ts"
import { removeLive } from "./withdraw.ts"

/** Rows and tokens that are lost again and again: somebody changes them all the time. */
const maxTries = 50

const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

/** Whether a job without a row is there: it is due, or runs. */
const isFree = Effect.fnUntraced(function*(
  { levels, streams }: Context,
  names: Names.QueueNames,
  id: string
): Effect.fn.Return<boolean, TransportError> {
  const subjects = (yield* levels.read(names)).map((level) => Names.job(names, level, id, 0))
  return (yield* streams.last(names.work, subjects)).some((message) => message !== undefined)
})

/** The head of a key waits with its token, which may have to wake earlier. One that is too early waits on. */
const wakeHead = Effect.fnUntraced(function*(
  { clock, streams }: Context,
  names: Names.QueueNames,
  key: string,
  dueAt: number
): Effect.fn.Return<void, TransportError> {
  const subject = Names.token(names, key)
  for (let tries = 0; tries < maxTries; tries++) {
    const [token] = yield* streams.last(names.work, [subject])
    const current = token === undefined ? undefined : Token.decode(token)
    if (current !== undefined && (current.dueAt === undefined || current.dueAt <= dueAt)) return
    const wait = dueAt > clock.now() ? dueAt : undefined
    const message = token === undefined
      ? Token.wake(names, key)
      : Token.turn(subject, token.sequence, { ...current!, dueAt: wait })
    const [answer] = yield* streams.publish([message])
    if (answer?._tag === "Failed") return yield* answer.error
    if (answer?._tag === "Full") return yield* Errors.queueFull(names.queue, answer.description)
    if (answer?._tag === "Stored" || answer?._tag === "Duplicate") return
  }
  return yield* Errors.unavailable("revise", `the turn of key "${key}" changes all the time`)
})

/** What a row says, wherever the job was before. */
export const goOn = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  job: Publications.Publication
): Effect.fn.Return<void, TransportError> {
  const { levels, publisher } = context
  const { dueAt, envelope: { key, priority }, isFirst } = job
  if (key !== undefined && !isFirst) return yield* wakeHead(context, names, Names.encode(key), dueAt)
  yield* levels.ensure(names, [priority])
  const [error] = yield* publisher.publish(names, [job])
  if (error === undefined) return
  if (error.reason._tag !== "QueueFull") return yield* error
  yield* publisher.publishAll(names, [{ ...job, hasNoRoom: true }])
})

const reschedule = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  successor: Envelope.Envelope
): Effect.fn.Return<Revised, TransportError> {
  const { agenda, clock, levels, rows } = context
  const id = Names.encode(successor.id)
  const nonce = context.nonce()
  const envelope = Envelope.toBytes(successor)
  const start = clock.now()
  const dueAt = Math.ceil(Envelope.dueAt(successor, start))
  const waits = dueAt > start
  let noted: Noted | undefined
  /** The row is not ours: neither is the due time. */
  const inVain = (answer: Revised) =>
    noted === undefined ? Effect.succeed(answer) : Effect.as(agenda.forget(names, [noted]), answer)
  for (let tries = 0; tries < maxTries; tries++) {
    const { row } = yield* rows.readOne(names, id)
    if (row === undefined) {
      if (yield* isFree(context, names, id)) return yield* inVain("superseded")
      // it may have gone on between the two looks
      if ((yield* rows.readOne(names, id)).row === undefined) return yield* inVain("missing")
      continue
    }
    if (row._tag === "Ended") return yield* inVain("missing")
    // a repeat: whoever wrote the row may not have come further
    if (isSame(row.bytes, envelope)) {
      yield* goOn(context, names, Publications.ofRow(row))
      return row.nonce === nonce ? "done" : yield* inVain("done")
    }
    if (!row.waits || row.dueAt <= clock.now() || row.envelope.revision + 1 !== successor.revision) {
      return yield* inVain("superseded")
    }
    const { isFirst } = row
    if (waits && isFirst && noted === undefined) {
      yield* levels.ensure(names, [successor.priority])
      const [answer] = yield* agenda.note(names, [{ dueAt, id, nonce }])
      if (answer instanceof TransportError) return yield* answer
      noted = answer
    }
    const place = isFirst ? undefined : row.place
    const bytes = Row.live({ nonce, dueAt, envelope, waits, entry: noted?.sequence, place })
    const [auth] = yield* rows.write(names, [{ id, bytes, expected: row.sequence }])
    if (auth === undefined) continue
    if (noted === undefined) {
      yield* goOn(context, names, {
        id,
        envelope: successor,
        bytes: envelope,
        auth,
        dueAt,
        nonce,
        isFirst,
        isRepeat: false
      })
    } else if (agenda.isLate(noted)) {
      const [answer] = yield* agenda.note(names, [{ dueAt, id, nonce }])
      if (answer instanceof TransportError) return yield* answer
    }
    // whoever finds it before finds the row, too
    yield* agenda.remove(names, row)
    return "done"
  }
  return yield* Errors.unavailable("revise", `the row of job "${successor.id}" changes all the time`)
})

const unschedule = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  revision: number,
  record: JobRecord.JobRecord
): Effect.fn.Return<Revised, TransportError> {
  const { clock, rows } = context
  const id = Names.encode(record.id)
  const encoded = JobRecord.toBytes(record)
  const { timeToLive, valueTimeToLive } = record
  const bytes = Row.ended({ nonce: context.nonce(), timeToLive, valueTimeToLive, record: encoded })
  let before: Row.Live | undefined
  for (let tries = 0; tries < maxTries; tries++) {
    const { row } = yield* rows.readOne(names, id)
    if (row === undefined) {
      if (yield* isFree(context, names, id)) return "superseded"
      if ((yield* rows.readOne(names, id)).row === undefined) return "missing"
      continue
    }
    if (row._tag === "Ended") {
      if (!isSame(row.record, encoded)) return "missing"
    } else {
      if (!row.waits || row.dueAt <= clock.now() || row.envelope.revision !== revision) return "superseded"
      before = row
      const [written] = yield* rows.write(names, [{ id, bytes, expected: row.sequence }])
      if (written === undefined) continue
    }
    yield* context.bus.announce([{ record, bytes: encoded }])
    if (before !== undefined) yield* removeLive(context, names, id, before)
    return "done"
  }
  return yield* Errors.unavailable("revise", `the row of job "${record.id}" changes all the time`)
})

/** One answer per revision. */
export const revise = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  revisions: ReadonlyArray<Revision>
): Effect.fn.Return<ReadonlyArray<Revised>, TransportError> {
  for (const revision of revisions) {
    const mismatch = checkRevision(queue, revision)
    if (mismatch !== undefined) return yield* Errors.refused(`revise in "${queue}"`, mismatch)
  }
  const names = yield* context.queues.find(queue)
  if (names === undefined) return revisions.map(() => "missing")
  // one after the other: two of them may concern one job
  return yield* Effect.forEach(revisions, (revision) =>
    revision._tag === "Reschedule"
      ? reschedule(context, names, revision.successor)
      : unschedule(context, names, revision.revision, revision.record))
})
