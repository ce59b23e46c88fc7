/**
 * Ends deliveries: the row decides, then the job goes on as the row says, then
 * the delivery is acknowledged. A repeat after a crash or an error at any point
 * finds what was done.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Settled, Settlement } from "@troupe/core/JobLog"
import * as JobRecord from "@troupe/core/JobRecord"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Noted } from "./agenda.ts"
import type { Announced } from "./bus.ts"
import type { Context } from "./context.ts"
import type { Due } from "./due.ts"
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
  /** What it writes to the row, `head` first; nothing for a `Drop`. */
  row: Uint8Array | undefined
  readonly head: string | undefined
  /** The bytes of its record, if they are whole. */
  readonly record: Uint8Array | undefined
  readonly dueAt: number
  /** A successor that is not due yet. */
  readonly waits: boolean
  answer: Settled = "settled"
  /** Of a successor: the sequence of its row. */
  written = 0
  /** Of one that waits on its own, before its row is written. */
  noted: Noted | undefined = undefined
  /** A later revision that stands, or ours that was written before: it may not be on its way yet. */
  passed: Row.Live | undefined = undefined

  /** `isAwaited`: somebody may want to be told of the record. */
  constructor(settlement: Settlement, handOut: HandOut, now: number, isAwaited: boolean) {
    this.settlement = settlement
    this.handOut = handOut
    const { nonce } = handOut
    switch (settlement._tag) {
      case "Ack": {
        const { timeToLive, valueTimeToLive } = settlement.record
        const before = Row.beforeRecord(nonce, timeToLive, valueTimeToLive)
        const parts = isAwaited ? undefined : JobRecord.toParts(settlement.record)
        if (parts === undefined) {
          this.record = this.row = JobRecord.toBytes(settlement.record)
          this.head = before
        } else {
          this.record = undefined
          this.row = parts.body
          this.head = before + parts.head
        }
        this.dueAt = now
        break
      }
      case "Bury": {
        const { timeToLive, valueTimeToLive } = settlement.record
        const record = JobRecord.toBytes(settlement.record)
        const letter = Letter.encode({
          expiresAt: now + settlement.timeToLive,
          dueAt: now,
          record,
          envelope: Envelope.toBytes(settlement.delivery.envelope)
        })
        this.record = record
        this.row = Row.ended({ nonce, timeToLive, valueTimeToLive, record, letter })
        this.head = undefined
        this.dueAt = now
        break
      }
      case "Forward":
        this.record = undefined
        this.head = undefined
        this.dueAt = Math.ceil(Envelope.dueAt(settlement.successor, now))
        this.row = this.live(settlement.successor, this.dueAt > now, undefined)
        break
      case "Drop":
        this.record = undefined
        this.row = undefined
        this.head = undefined
        this.dueAt = now
    }
    this.waits = this.dueAt > now
  }

  private live(successor: Envelope.Envelope, waits: boolean, entry: number | undefined): Uint8Array {
    const { dueAt, handOut: { nonce, place } } = this
    return Row.live({ nonce, dueAt, envelope: Envelope.toBytes(successor), waits, entry, place })
  }

  /** What has to be stored before the row. A key keeps its turn: its token waits. */
  get due(): Due | undefined {
    const { dueAt, handOut: { id, nonce, turn }, settlement, waits } = this
    return settlement._tag === "Forward" && waits && turn === undefined ? { dueAt, id, nonce } : undefined
  }

  onNoted(noted: Noted): void {
    this.noted = noted
    if (this.settlement._tag === "Forward") this.row = this.live(this.settlement.successor, this.waits, noted.sequence)
  }

  /** The row as somebody else left it. Answers whether to write again. */
  onConflict(found: Row.Found): boolean {
    const { handOut } = this
    const { row } = found
    if (row?.nonce === handOut.nonce) {
      // ours: the answer was lost
      this.written = row._tag === "Live" ? row.auth : row.sequence
      if (this.noted !== undefined && row._tag === "Live") this.passed = row
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

/** Stores due times of successors. */
const note = Effect.fnUntraced(function*(
  { agenda }: Context,
  names: Names.QueueNames,
  all: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  const waiting: Array<Outgoing> = []
  const dues: Array<Due> = []
  for (const one of all) {
    const { due } = one
    if (due === undefined) continue
    waiting.push(one)
    dues.push(due)
  }
  const noted = yield* agenda.note(names, dues)
  for (const [index, one] of waiting.entries()) {
    const answer = noted[index]!
    if (answer instanceof TransportError) return yield* answer
    one.onNoted(answer)
  }
})

/** Due times whose rows were not written, or so late that they may be gone. */
const review = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  all: ReadonlyArray<Outgoing>
): Effect.fn.Return<void, TransportError> {
  const vain: Array<Noted> = []
  const late: Array<Outgoing> = []
  for (const one of all) {
    const { noted, passed } = one
    if (noted === undefined) continue
    if (one.answer === "superseded" || (passed !== undefined && passed.entry !== noted.sequence)) vain.push(noted)
    else if (context.agenda.isLate(noted)) late.push(one)
  }
  if (vain.length > 0) yield* context.agenda.forget(names, vain)
  yield* note(context, names, late)
})

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
      open.map(({ handOut: { id, nonce, rowSequence }, head, row, settlement }) => ({
        id,
        head,
        bytes: row!,
        expected: rowSequence,
        // successors are published under the sequence of their row
        runId: settlement._tag === "Forward" ? undefined : nonce
      }))
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
    if (row.auth === one.handOut.auth) yield* rows.giveUp(names, one.handOut.id, row.sequence)
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
  const priorities: Array<string> = []
  for (const one of all) {
    const { answer, dueAt, handOut, settlement, waits } = one
    const { id, turn } = handOut
    if (one.passed !== undefined) jobs.push(Publications.ofRow(one.passed))
    if (answer === "settled" && settlement._tag === "Bury") {
      const letter = Row.letterOf(one.row!)
      if (letter !== undefined) letters.push({ id, letter })
    }
    const isForward = answer === "settled" && settlement._tag === "Forward"
    if (isForward) priorities.push(settlement.successor.priority)
    if (turn !== undefined) {
      // a later revision has the same place in its mailbox
      const next = isForward ? settlement.successor : one.passed?.envelope
      messages.push(nextTurn(handOut, turn, next?.revision, isForward && waits ? dueAt : undefined))
    } else if (isForward && one.noted === undefined) {
      const { successor } = settlement
      const bytes = Envelope.toBytes(successor)
      const { nonce } = handOut
      jobs.push({ id, envelope: successor, bytes, auth: one.written, dueAt, nonce, isFirst: true, isRepeat: false })
    }
  }
  yield* levels.ensure(names, [...priorities, ...jobs.map(({ envelope }) => envelope.priority)])
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
  const { isAwaited } = context.bus
  const open = new Map<HandOut, Outgoing>()
  for (const { handOut, settlement } of settlements) {
    if (handOut === undefined || handOut.isSettled || open.has(handOut)) continue
    open.set(handOut, new Outgoing(settlement, handOut, now, isAwaited))
  }
  const all = [...open.values()]
  if (all.length > 0) {
    const hasDelays = all.some(({ waits }) => waits)
    if (hasDelays) yield* note(context, names, all)
    yield* decide(context, names, all)
    if (hasDelays) yield* review(context, names, all)
    yield* drop(context, names, all)
    const records: Array<Announced> = []
    // a job without a row is there until its message is gone; for all others the row says that it is not
    const drops: Array<string> = []
    const others: Array<string> = []
    let isPlain = true
    for (const { answer, handOut, passed, record, settlement } of all) {
      const isEnd = settlement._tag === "Ack" || settlement._tag === "Bury"
      if (isEnd && answer === "settled" && context.bus.isAwaited) {
        records.push({ record: settlement.record, bytes: record ?? JobRecord.toBytes(settlement.record) })
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
