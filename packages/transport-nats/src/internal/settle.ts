/**
 * Ends deliveries: the row decides, then the job goes on as the row says, then
 * the delivery is acknowledged. A repeat after a crash or an error at any point
 * finds what was done.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Settled, Settlement } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Announced } from "./bus.ts"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import { type HandOut, nextTurn } from "./handOut.ts"
import * as Letter from "./letter.ts"
import type * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import * as Row from "./row.ts"
import { standing } from "./rows.ts"
import type { Publish, Published } from "./streams.ts"

/** Rows that are lost again and again: somebody copies them all the time. */
const maxTries = 20

/** One delivery on its way out. */
class Outgoing {
  readonly settlement: Settlement
  readonly handOut: HandOut
  /** What it writes to the row; nothing for a `Drop`. */
  readonly row: Uint8Array | undefined
  readonly record: Uint8Array | undefined
  readonly dueAt: number
  /** A successor that is not due yet. */
  readonly waits: boolean
  answer: Settled = "settled"
  /** Of a successor: the sequence of its row. */
  written = 0
  /** A later revision that stands: it may not be on its way yet. */
  passed: Row.Live | undefined = undefined

  constructor(settlement: Settlement, handOut: HandOut, now: number) {
    this.settlement = settlement
    this.handOut = handOut
    const { nonce, place } = handOut
    switch (settlement._tag) {
      case "Ack":
      case "Bury": {
        const { timeToLive, valueTimeToLive } = settlement.record
        const record = JobRecord.toBytes(settlement.record)
        const letter = settlement._tag === "Ack" ? undefined : Letter.encode({
          expiresAt: now + settlement.timeToLive,
          dueAt: now,
          record,
          envelope: Envelope.toBytes(settlement.delivery.envelope)
        })
        this.record = record
        this.row = Row.ended({ nonce, timeToLive, valueTimeToLive, record, letter })
        this.dueAt = now
        break
      }
      case "Forward":
        this.record = undefined
        this.dueAt = Math.ceil(Envelope.dueAt(settlement.successor, now))
        this.row = Row.live({
          nonce,
          dueAt: this.dueAt,
          envelope: Envelope.toBytes(settlement.successor),
          waits: this.dueAt > now,
          place
        })
        break
      case "Drop":
        this.record = undefined
        this.row = undefined
        this.dueAt = now
    }
    this.waits = this.dueAt > now
  }

  /** The row as somebody else left it. Answers whether to write again. */
  onConflict(found: Row.Found): boolean {
    const { handOut } = this
    const { row } = found
    if (row?.nonce === handOut.nonce) {
      // ours: the answer was lost
      this.written = row._tag === "Live" ? row.auth : row.sequence
      return false
    }
    const state = standing(found, handOut.auth)
    if (state._tag === "current") {
      handOut.rowSequence = state.sequence
      return true
    }
    this.answer = "superseded"
    if (state._tag === "passed") this.passed = state.row
    return false
  }
}

/** Writes the rows; of two that want the same one, one gets it. */
const decide = Effect.fnUntraced(function*(
  { rows }: Context,
  names: Names.QueueNames,
  all: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  let open: ReadonlyArray<Outgoing> = all.filter(({ row }) => row !== undefined)
  for (let tries = 0; open.length > 0; tries++) {
    if (tries === maxTries) return yield* Errors.unavailable("settle", "the row of a job changes all the time")
    const written = yield* rows.write(
      names,
      open.map(({ handOut, row }) => ({ id: handOut.id, bytes: row!, expected: handOut.rowSequence }))
    )
    const lost = open.filter((one, index) => {
      one.written = written[index] ?? 0
      return written[index] === undefined
    })
    if (lost.length === 0) return
    const found = yield* rows.read(names, lost.map(({ handOut }) => handOut.id))
    open = lost.filter((one, index) => one.onConflict(found[index]!))
  }
})

/** A dropped job leaves no row, unless it has ended. */
const drop = Effect.fnUntraced(function*(
  { rows }: Context,
  names: Names.QueueNames,
  all: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  const drops = all.filter(({ settlement }) => settlement._tag === "Drop")
  if (drops.length === 0) return
  const found = yield* rows.read(names, drops.map(({ handOut }) => handOut.id))
  for (const [index, one] of drops.entries()) {
    const { row } = found[index]!
    if (row?._tag !== "Live") continue
    if (row.auth === one.handOut.auth) yield* rows.remove(names, one.handOut.id, row.sequence)
    else one.passed = row
  }
})

const check = (answers: ReadonlyArray<Published>, queue: string): Effect.Effect<void, TransportError> => {
  for (const answer of answers) {
    if (answer._tag === "Failed") return Effect.fail(answer.error)
    if (answer._tag === "Full") return Effect.fail(Errors.queueFull(queue, answer.description))
  }
  return Effect.void
}

/** What comes after the row: letters, successors, the next turn of a key. */
const goOn = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  all: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  const { levels, publisher, streams } = context
  const messages: Array<Publish> = []
  const letters: Array<Letter.Outgoing> = []
  const jobs: Array<Publications.Publication> = []
  for (const one of all) {
    const { answer, dueAt, handOut, settlement, waits } = one
    const { id, turn } = handOut
    if (one.passed !== undefined) jobs.push(Publications.ofRow(one.passed))
    if (answer === "settled" && settlement._tag === "Bury") {
      const letter = Row.letterOf(one.row!)
      if (letter !== undefined) letters.push({ id, letter })
    }
    const isForward = answer === "settled" && settlement._tag === "Forward"
    if (turn !== undefined) {
      // a later revision has the same place in its mailbox
      const isOver = !isForward && one.passed === undefined
      messages.push(nextTurn(handOut, turn, isOver, isForward && waits ? dueAt : undefined))
    } else if (isForward) {
      const { successor } = settlement
      const bytes = Envelope.toBytes(successor)
      jobs.push({ id, envelope: successor, bytes, auth: one.written, dueAt, waits, isFirst: true, isRepeat: false })
    }
  }
  yield* levels.ensure(names, jobs.map(({ envelope }) => envelope.priority))
  const errors = yield* publisher.publish(names, jobs)
  const refused = errors.find((error) => error !== undefined && error.reason._tag !== "QueueFull")
  if (refused !== undefined) return yield* refused
  // the old message makes room only when the new one is safe
  yield* publisher.publishAll(
    names,
    jobs.flatMap((job, i) => errors[i] === undefined ? [] : [{ ...job, hasNoRoom: true }])
  )
  yield* Letter.write(context, names, letters)
  if (messages.length > 0) yield* check(yield* streams.publish(messages), names.queue)
})

/**
 * One answer per settlement. Fails as a whole: a repeat goes on where it stopped.
 *
 * `acknowledge` need not have come to its end: what is delivered again is found to be over.
 */
export const settle = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  settlements: ReadonlyArray<{ readonly settlement: Settlement; readonly handOut: HandOut | undefined }>,
  acknowledge: (replies: ReadonlyArray<string>) => void
): Effect.fn.Return<ReadonlyArray<Settled>, TransportError> {
  const now = context.clock.now()
  const open = new Map<HandOut, Outgoing>()
  for (const { handOut, settlement } of settlements) {
    if (handOut === undefined || handOut.isSettled || open.has(handOut)) continue
    open.set(handOut, new Outgoing(settlement, handOut, now))
  }
  const all = [...open.values()]
  if (all.length > 0) {
    yield* decide(context, names, all)
    yield* drop(context, names, all)
    const records: Array<Announced> = []
    // a job without a row is there until its message is gone; for all others the row says that it is not
    const drops: Array<string> = []
    const others: Array<string> = []
    let isPlain = true
    for (const { answer, handOut, passed, record, settlement } of all) {
      const isEnd = settlement._tag === "Ack" || settlement._tag === "Bury"
      if (isEnd && record !== undefined && answer === "settled") {
        records.push({ record: settlement.record, bytes: record })
      }
      if (settlement._tag !== "Ack" || handOut.turn !== undefined || passed !== undefined) isPlain = false
      // the token of a key is replaced, not acknowledged
      if (handOut.turn === undefined) (settlement._tag === "Drop" ? drops : others).push(handOut.message.reply)
    }
    if (records.length > 0) yield* context.bus.announce(records)
    // nothing comes after a record
    if (!isPlain) yield* goOn(context, names, all)
    if (drops.length > 0) yield* context.streams.acknowledge(drops, { _tag: "Done" })
    if (others.length > 0) acknowledge(others)
    for (const { answer, handOut, settlement } of all) handOut.settled(settlement._tag, answer)
  }
  return settlements.map(({ handOut, settlement }) => handOut?.repeated(settlement._tag) ?? "superseded")
})
