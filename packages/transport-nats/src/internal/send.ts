/**
 * Accepts envelopes.
 *
 * A job with an id that nobody else can have chosen, without key and delay, is
 * one message. Every other one claims the row of its id first: the claim holds
 * the envelope, so that whoever finds it can finish what its writer began.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Generated } from "@troupe/core/JobLog"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Noted } from "./agenda.ts"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import type { Publication } from "./publications.ts"
import * as Publications from "./publications.ts"
import * as Row from "./row.ts"
import type { Publish } from "./streams.ts"

export type Answer = "sent" | "duplicate" | TransportError

/** Claims that are lost again and again: somebody writes and removes the row all the time. */
const maxTries = 20

/** A job on its way in. */
class Incoming {
  readonly envelope: Envelope.Envelope
  /** Encoded. */
  readonly id: string
  readonly dueAt: number
  readonly waits: boolean
  /** It needs no row. */
  readonly isFree: boolean
  /** Of a free one, if it has a usual form: nothing is copied twice. */
  readonly parts: ReturnType<typeof Envelope.toParts>
  private whole: Uint8Array | undefined = undefined
  /** Of the row that it claims. */
  nonce = ""
  answer: Answer | undefined = undefined
  /** Sequence of the row that it holds. */
  auth = 0
  /** Of one that waits, before its row is written. */
  noted: Noted | undefined = undefined
  expected = 0
  /** The record that its row had. */
  before: Row.Ended | undefined = undefined

  constructor(envelope: Envelope.Envelope, generated: Generated | undefined, now: number) {
    this.envelope = envelope
    this.id = Names.encode(envelope.id)
    // whole ms, never early
    this.dueAt = Math.ceil(Envelope.dueAt(envelope, now))
    this.waits = this.dueAt > now
    this.isFree = generated !== undefined && envelope.key === undefined && !this.waits && generated.has(envelope.id)
    this.parts = this.isFree ? Envelope.toParts(envelope) : undefined
  }

  get bytes(): Uint8Array {
    return this.whole ??= Envelope.toBytes(this.envelope)
  }

  get size(): number {
    const { parts } = this
    return parts === undefined ? this.bytes.length : parts.head.length + parts.body.length
  }

  /** Of a free one. */
  first(names: Names.QueueNames): Publish {
    const { envelope, id, parts } = this
    const { priority } = envelope
    return parts === undefined
      ? Publications.first(names, priority, id, undefined, this.bytes)
      : Publications.first(names, priority, id, parts.head, parts.body)
  }

  get row(): Uint8Array {
    const { bytes, dueAt, nonce, noted, waits } = this
    return Row.live({ nonce, dueAt, envelope: bytes, waits, entry: noted?.sequence })
  }

  get publication(): Publication {
    const { auth, bytes, dueAt, envelope, id, nonce } = this
    return { id, envelope, bytes, auth, dueAt, nonce, isFirst: true, isRepeat: false }
  }
}

/**
 * Whoever wrote a claim may give it up, until it is written anew: from then on the job is there for good. One answer per
 * row: whether it still is the one that was found.
 */
const takeOver = Effect.fnUntraced(function*(
  { clock, rows }: Context,
  names: Names.QueueNames,
  found: ReadonlyArray<Row.Live>
): Effect.fn.Return<ReadonlyArray<boolean>, TransportError> {
  // one with a due time is never given up
  const open = found.filter(({ auth, entry, sequence }) => auth === sequence && entry === 0)
  if (open.length === 0) return found.map(() => true)
  const written = yield* rows.write(
    names,
    open.map((row) => ({
      id: Names.encode(row.envelope.id),
      bytes: Row.copied(row, clock.now()),
      expected: row.sequence
    }))
  )
  const lost = new Set(open.filter((_, index) => written[index] === undefined))
  return found.map((row) => !lost.has(row))
})

/** Stores due times; without one there is no row. */
const note = Effect.fnUntraced(function*(
  { agenda }: Context,
  names: Names.QueueNames,
  jobs: ReadonlyArray<Incoming>
): Effect.fn.Return<void> {
  const noted = yield* agenda.note(names, jobs)
  jobs.forEach((one, index) => {
    const answer = noted[index]!
    if (answer instanceof TransportError) one.answer = answer
    else one.noted = answer
  })
})

/** `replaces`: whether a record gives way, as in a replay. */
const claim = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  jobs: ReadonlyArray<Incoming>,
  replaces: boolean
): Effect.fn.Return<void, TransportError> {
  const { agenda, publisher, rows } = context
  for (const one of jobs) one.nonce = context.nonce()
  yield* note(context, names, jobs.filter(({ waits }) => waits))
  let open = jobs.filter(({ answer }) => answer === undefined)
  for (let tries = 0; open.length > 0; tries++) {
    if (tries === maxTries) return yield* Errors.unavailable("send", "the row of an id changes all the time")
    const written = yield* rows.tryWrite(names, open.map(({ expected, id, row }) => ({ id, bytes: row, expected })))
    const lost = open.filter((one, index) => {
      const answer = written[index]
      if (answer === undefined) return true
      // it may be there or not: the others need not ask
      if (answer instanceof TransportError) one.answer = answer
      else one.auth = answer
      return false
    })
    const found = yield* rows.read(names, lost.map(({ id }) => id))
    const again: Array<Incoming> = []
    const unfinished: Array<{ readonly one: Incoming; readonly row: Row.Live }> = []
    lost.forEach((one, index) => {
      const { row, sequence } = found[index]!
      if (row === undefined || (row._tag === "Ended" && replaces)) {
        one.expected = sequence
        one.before = row
        again.push(one)
      } else if (row._tag === "Ended") {
        one.answer = "duplicate"
      } else if (row.nonce === one.nonce) {
        one.auth = row.auth
      } else {
        unfinished.push({ one, row })
      }
    })
    const isOurs = yield* takeOver(context, names, unfinished.map(({ row }) => row))
    const standing = unfinished.filter(({ one }, index) => {
      if (isOurs[index] === true) return true
      one.expected = 0
      one.before = undefined
      again.push(one)
      return false
    })
    // its writer may be gone: what it was told or not, the job that stands is there when we answer
    const errors = yield* publisher.publish(names, standing.map(({ row }) => Publications.ofRow(row)))
    for (const [index, { one }] of standing.entries()) one.answer = errors[index] ?? "duplicate"
    open = again
  }
  const noted = jobs.filter(isNoted)
  yield* agenda.forget(names, noted.flatMap(({ answer, noted }) => answer === "duplicate" ? [noted] : []))
  yield* note(context, names, noted.filter(({ answer, noted }) => answer === undefined && agenda.isLate(noted)))
})

const isNoted = (one: Incoming): one is Incoming & { readonly noted: Noted } => one.noted !== undefined

/** Whether somebody ended the job of a claim, which is none of ours any more. */
const isEnded = ({ before }: Incoming, { row }: Row.Found): boolean =>
  // or the answer of whoever gave it up was lost
  row?._tag === "Ended" && (before === undefined || Buffer.compare(row.record, before.record) !== 0)

/**
 * A claim without a job would answer `duplicate` to whoever tries again. One that somebody took over stays: that one may
 * have been told that the job is there. One that somebody cancelled was there.
 */
const giveUp = Effect.fnUntraced(function*(
  { clock, rows }: Context,
  names: Names.QueueNames,
  one: Incoming,
  error: TransportError
): Effect.fn.Return<void> {
  const { auth, before, id } = one
  one.answer = error
  // the job that was to be replayed has ended as it had
  const bytes = before === undefined ? Row.gone : Row.copied(before, clock.now())
  const [written] = yield* rows.tryWrite(names, [{ id, bytes, expected: auth }])
  if (written !== undefined) return
  const found = yield* Effect.option(rows.readOne(names, id))
  if (Option.isSome(found) && isEnded(one, found.value)) one.answer = "sent"
})

const publish = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  jobs: ReadonlyArray<Incoming>
): Effect.fn.Return<void, TransportError> {
  const open: Array<Incoming> = []
  for (const one of jobs) {
    if (one.waits) one.answer = "sent"
    else open.push(one)
  }
  const errors = yield* context.publisher.publish(names, open.map(({ publication }) => publication))
  for (const [index, one] of open.entries()) {
    const error = errors[index]
    one.answer = error ?? "sent"
    if (error !== undefined && one.auth > 0) yield* giveUp(context, names, one, error)
  }
})

/** Jobs that need no row: one message each. */
const publishFree = (
  { streams }: Context,
  names: Names.QueueNames,
  jobs: ReadonlyArray<Incoming>
): Effect.Effect<void> =>
  Effect.map(
    streams.publish(jobs.map((one) => one.first(names)), names.work),
    (answers) =>
      jobs.forEach((one, index) => {
        one.answer = Publications.errorOf(names, answers[index]!) ?? "sent"
      })
  )

const sendTo = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  jobs: ReadonlyArray<Incoming>,
  replaces: boolean
): Effect.fn.Return<void, TransportError> {
  const names = yield* context.queues.ensure(queue)
  const claiming: Array<Incoming> = []
  const free: Array<Incoming> = []
  for (const one of jobs) (one.isFree ? free : claiming).push(one)
  yield* context.levels.ensure(names, jobs.map(({ envelope }) => envelope.priority))
  if (free.length > 0) yield* publishFree(context, names, free)
  if (claiming.length === 0) return
  yield* claim(context, names, claiming, replaces)
  // in the order in which they came: keys
  yield* publish(context, names, claiming.filter(({ answer }) => answer === undefined))
})

/** One answer per envelope. `generated`: ids that nobody else can have. */
export const send = Effect.fnUntraced(function*(
  context: Context,
  envelopes: ReadonlyArray<Envelope.Envelope>,
  generated: Generated | undefined,
  replaces = false
): Effect.fn.Return<ReadonlyArray<Answer>, TransportError> {
  const now = context.clock.now()
  const byQueue = new Map<string, Array<Incoming>>()
  const jobs = envelopes.map((envelope) => new Incoming(envelope, generated, now))
  for (const one of jobs) {
    const { envelope, size } = one
    if (size > context.maxMessageBytes) {
      const description = `${size} bytes, this server takes ${context.maxMessageBytes}`
      one.answer = Errors.refused(`job "${envelope.id}"`, description)
      continue
    }
    const list = byQueue.get(envelope.queue)
    if (list === undefined) byQueue.set(envelope.queue, [one])
    else list.push(one)
  }
  // an error concerns the jobs of one queue
  const send = ([queue, list]: [string, Array<Incoming>]) =>
    Effect.catch(sendTo(context, queue, list, replaces), (error) =>
      Effect.suspend(() => {
        context.queues.doubt(queue)
        const claimed = list.filter(({ answer, auth }) => answer === undefined && auth > 0)
        for (const one of list) one.answer ??= error
        return Effect.forEach(
          claimed,
          (one) => {
            if (!isNoted(one)) return giveUp(context, context.queues.names(queue), one, error)
            // with its row and its due time it is there
            if (!context.agenda.isLate(one.noted)) one.answer = "sent"
            return Effect.void
          },
          { discard: true }
        )
      }))
  if (byQueue.size === 1) { for (const one of byQueue) yield* send(one) }
  else yield* Effect.forEach(byQueue, send, { concurrency: "unbounded", discard: true })
  return jobs.map(({ answer }) => answer!)
})
