/**
 * One message of an actor: what is read, run and written, and in which order.
 *
 * The row of the key decides how a message ended; the record of its job only
 * repeats it. Three rules make that safe against owners that do not know yet
 * that they lost their lease:
 *
 * - A message whose outcome is in the row is answered from it.
 * - The row is written by compare-and-set on the revision that the handler saw. That revision was known before the
 *   message was handed out, or the lease is confirmed *after* the row was read: in both cases nobody else had the
 *   message, or one behind it, before that revision.
 * - A row need not be read that this worker wrote or read in the turn before: the write shows that it was still the
 *   same, and what writes nothing looks when it has run.
 * - An end is written to the row first, unless it changes nothing and nobody else can have had the message.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Codec from "../../Codec.ts"
import { Discard, type Execution, Snooze } from "../../Execution.ts"
import type { Store } from "../../Store.ts"
import { encodeWith, type Encoding, Ended, orElse, TimedOut, Undecodable, Unencodable } from "../handler.ts"
import { type Lease, leaseOf } from "../worker/execution.ts"
import type * as Row from "./row.ts"
import type { Handlers, Message, Runtime } from "./runtime.ts"
import type { Slot } from "./slots.ts"
import * as State from "./state.ts"
import { actorKey, states } from "./wire.ts"

export interface Turn {
  readonly runtime: Runtime
  readonly message: Message
  readonly execution: Execution
  readonly encoding: Encoding
  readonly lease: Lease
  readonly slot: Slot<Handlers>
  /** Without a write a settlement that is accepted proves that nobody else had the message. */
  readonly mayStayUnwritten: boolean
}

/** Somebody else wrote the row: the message begins anew. */
export const conflict = Symbol("conflict")
export type Conflict = typeof conflict

/** ms that the mailbox of a stopped actor sleeps: as long as it has been stopped, within these. */
const held = { shortest: 1_000, longest: 15_000 }

/** ms until a message whose state cannot be read is offered to another worker. */
const unreadableDelay = 5_000

/** ms until a write that the broker refused is tried again. */
const refusedDelay = 1_000

const snooze = (delay: number) => Effect.fail(new Snooze({ delay: Duration.millis(delay) }))

/** ms that a mailbox sleeps which was stopped that long ago. */
export const sleep = (age: number) => snooze(Math.min(held.longest, Math.max(held.shortest, age)))

const name = ({ message, runtime, slot }: Turn) =>
  `actor "${runtime.address.name}", key "${slot.key}" (message ${message.tag})`

/** Waits, uncounted, and keeps the turn of the key. */
const later = (turn: Turn, delay: number, what: string, error: { readonly message: string }) =>
  Effect.andThen(Effect.logError(`${what} ${name(turn)}: trying again in ${delay} ms. ${error.message}`), snooze(delay))

const load = (turn: Turn): Effect.Effect<State.Seen, Snooze> =>
  State.patiently(State.read(turn.runtime, turn.slot.key)).pipe(Effect.catch((error) =>
    error._tag === "StateUnreadable"
      ? later(turn, unreadableDelay, "Cannot run", error)
      : later(turn, refusedDelay, "Cannot read", error)
  ))

type Put = ReturnType<Store["put"]>

/** Writes the row, and then answers. The state that the slot knows is then `state`. */
export const write = <A>(
  turn: Turn,
  seen: State.Seen,
  row: Row.Row,
  state: unknown,
  onWritten: () => A
): Effect.Effect<A | Conflict, Snooze> => {
  const { lease, runtime, slot } = turn
  const { store } = runtime.transport
  const put = Effect.suspend(() =>
    store.put(states(runtime.address), slot.key, runtime.vault.seal(slot.key, row), { ifRevision: seen.revision })
  )
  const write = (put: Put): Effect.Effect<A | Conflict, Snooze> =>
    Effect.matchEffect(put, {
      onSuccess: (revision): Effect.Effect<A | Conflict, Snooze> => {
        State.remember(slot, { revision, row }, state)
        return Effect.succeed(onWritten())
      },
      onFailure: (error) =>
        error._tag === "RevisionConflict"
          // also after a write of our own whose answer was lost: the next look finds its outcome
          ? Effect.succeed(conflict)
          : State.isAway(error)
          ? write(State.again(put))
          : later(turn, refusedDelay, "Cannot write", error)
    })
  const written = write(put)
  return slot.knownAt < lease.order ? written : Effect.andThen(lease.confirm, written)
}

/** Bytes of a row beside state and value. */
const rowRoom = 4_096

interface Done {
  readonly value: Uint8Array
  /** `undefined` if it is as it was. */
  readonly state: Uint8Array | undefined
}

const encodeState = ({ encoding, runtime }: Turn, state: unknown, room: number) =>
  Effect.mapError(
    encodeWith({ codec: encoding.codec, limit: encoding.limit - rowRoom - room }, runtime.stateSchema, state),
    ({ message }) => new Unencodable(`the new state: ${message}`)
  )

/** In a scope of the message's own. */
const handled = (turn: Turn, draft: State.Draft, payload: unknown): Effect.Effect<unknown, unknown> => {
  const { execution, message, runtime, slot } = turn
  const handle = (handlers: Handlers) => Effect.scoped(handlers[message.tag]!(payload, draft, execution))
  const { active } = slot
  // suspended: what throws fails this message only
  return active === undefined
    ? Effect.flatMap(runtime.slots.activate(slot), handle)
    : Effect.suspend(() => handle(active.value))
}

/** Decodes, runs, encodes. */
const handle = (turn: Turn, draft: State.Draft, body: Uint8Array, decodeWith: Codec.Codec) => {
  const { encoding, message } = turn
  const { task, timeout } = message
  const decoded = orElse(Codec.compiled(decodeWith, task.payloadSchema).decode(body), (text) => new Undecodable(text))
  const run = Effect.flatMapEager(decoded, (payload) => handled(turn, draft, payload))
  const timed = timeout === undefined
    ? run
    : Effect.timeoutOrElse(run, { duration: timeout, orElse: () => Effect.fail(new TimedOut(timeout)) })
  const done = Effect.flatMap(
    timed,
    (success) =>
      Effect.flatMapEager(encodeWith(encoding, task.successSchema, success), (value) =>
        draft.isChanged
          ? Effect.mapEager(encodeState(turn, draft.value, value.length), (state): Done => ({ value, state }))
          : Effect.succeed<Done>({ value, state: undefined }))
  )
  // the services of the handlers and of the schemas are those that `toLayer` captured
  return done as Effect.Effect<Done, unknown>
}

const commit = (
  turn: Turn,
  seen: State.Seen,
  draft: State.Draft,
  done: Done
): Effect.Effect<Uint8Array | Conflict, Snooze> => {
  const { encoding, execution, lease, mayStayUnwritten, slot } = turn
  const end = () => {
    slot.last = lease.turnId
    return done.value
  }
  if (done.state === undefined && mayStayUnwritten) return Effect.sync(end)
  const { contentType } = encoding.codec
  const { enqueuedAt, id } = execution
  const row: Row.Row = {
    ...seen.row,
    applied: seen.row.applied + 1,
    contentType: done.state === undefined ? seen.row.contentType : contentType,
    state: done.state ?? seen.row.state,
    last: { id, enqueuedAt, outcome: { _tag: "Succeeded", contentType, value: done.value } }
  }
  return write(turn, seen, row, draft.value, end)
}

/** The answer of a message that was decided before: as it was, whatever codec wrote it. */
export const repeat = (
  turn: Pick<Turn, "encoding" | "message" | "runtime">,
  outcome: Row.Outcome
): Effect.Effect<Uint8Array, unknown> => {
  const { encoding, message, runtime } = turn
  const isAnswered = outcome._tag === "Succeeded"
  const end = (value: Uint8Array) =>
    isAnswered ? Effect.succeed(value) : Effect.fail(new Ended({ ...endOf(outcome), value }))
  if (outcome.contentType === encoding.codec.contentType || outcome.value.length === 0) return end(outcome.value)
  const schema = isAnswered ? message.task.successSchema : message.task.errorSchema
  const codec = runtime.accepted.get(outcome.contentType)
  const decoded = codec === undefined
    ? Effect.fail(new Unencodable(`content type "${outcome.contentType}" of its outcome is not in Codec.Accepted`))
    : Codec.compiled(codec, schema).decode(outcome.value)
  const encoded = Effect.flatMap(decoded, (value) => encodeWith(encoding, schema, value))
  return Effect.flatMap(encoded as Effect.Effect<Uint8Array, unknown>, end)
}

const endOf = (outcome: Row.Outcome) =>
  outcome._tag === "Failed"
    ? { reason: outcome.reason as Ended["reason"], message: outcome.message, isAnswer: outcome.isAnswer }
    : { reason: "Error" as const, message: "", isAnswer: true }

/** Whether the row says how this life of the job ended. */
export const isDecided = (
  { last }: Row.Row,
  { enqueuedAt, id }: { readonly id: string; readonly enqueuedAt: number }
) => last !== undefined && last.id === id && last.enqueuedAt === enqueuedAt

type OnFailure = (
  turn: Turn,
  seen: State.Seen,
  cause: Cause.Cause<unknown>
) => Effect.Effect<Conflict, unknown>

/** The row is as this worker left it: nobody had the key since, and nobody had this message before. */
const isKnown = ({ lease, slot }: Turn) =>
  lease.isFirst && lease.follows !== undefined && lease.follows === slot.last && slot.revision >= 0

/** What a message needs beside its turn. */
interface Work {
  readonly body: Uint8Array
  readonly decodeWith: Codec.Codec
  readonly onFailure: OnFailure
}

/** Runs the handler on what was seen, and writes how it ended. `assumed`: the row was not read for this message. */
const attempt = (
  turn: Turn,
  { body, decodeWith, onFailure }: Work,
  seen: State.Seen,
  assumed: boolean
): Effect.Effect<Uint8Array | Conflict, unknown> => {
  const { slot } = turn
  const draft = new State.Draft(slot.key, slot.state)
  /** What changes nothing looks whether the row is still the same. */
  const look = (end: (seen: State.Seen) => Effect.Effect<Uint8Array | Conflict, unknown>) =>
    assumed
      ? Effect.flatMap(
        load(turn),
        (now) => now.revision === slot.revision ? end(now) : Effect.succeed<Conflict>(conflict)
      )
      : end(seen)
  return Effect.matchCauseEffect(handle(turn, draft, body, decodeWith), {
    onSuccess: (done) => {
      const end = (seen: State.Seen) => commit(turn, seen, draft, done)
      return done.state === undefined ? look(end) : end(seen)
    },
    onFailure: (cause) => look((seen) => onFailure(turn, seen, cause))
  })
}

/** Reads the row first. */
const begin = Effect.fnUntraced(function*(
  turn: Turn,
  work: Work
): Effect.fn.Return<Uint8Array | Conflict, unknown> {
  const { execution, runtime, slot } = turn
  const seen = yield* load(turn)
  const { row } = seen
  if (isDecided(row, execution)) return yield* repeat(turn, row.last!.outcome)
  if (row.stopped !== undefined) {
    const { at } = row.stopped
    const now = yield* Effect.orElseSucceed(runtime.transport.clock, () => at)
    return yield* sleep(now - at)
  }
  if (seen.revision !== slot.revision) {
    const state = yield* Effect.catch(
      State.decode(runtime, slot.key, row),
      (error) => later(turn, unreadableDelay, "Cannot run", error)
    )
    State.remember(slot, seen, state)
  }
  return yield* attempt(turn, work, seen, false)
})

const perform = (turn: Turn, work: Work): Effect.Effect<Uint8Array, unknown> => {
  const { slot } = turn
  const known = isKnown(turn)
  slot.last = undefined
  const next = (ended: Uint8Array | Conflict): Effect.Effect<Uint8Array, unknown> => {
    if (ended !== conflict) return Effect.succeed(ended)
    slot.revision = -1
    return Effect.flatMap(begin(turn, work), next)
  }
  const first = known
    ? attempt(turn, work, { revision: slot.revision, row: slot.row }, true)
    : begin(turn, work)
  return Effect.flatMap(first, next)
}

/** Runs a message in the turn of its key. */
export const run = (
  runtime: Runtime,
  message: Message,
  body: Uint8Array,
  decodeWith: Codec.Codec,
  execution: Execution,
  encoding: Encoding,
  onFailure: OnFailure
): Effect.Effect<Uint8Array, unknown> =>
  Effect.suspend(() => {
    const key = actorKey(runtime.address, execution.key)
    if (key === undefined) {
      return Effect.fail(new Discard({ reason: `it was not sent to a key of actor "${runtime.address.name}"` }))
    }
    const place = runtime.slots.take(key)
    const lease = leaseOf(execution)
    const turn: Turn = {
      runtime,
      message,
      execution,
      encoding,
      lease,
      slot: place.slot,
      mayStayUnwritten: lease.isFirst && runtime.transport.capabilities.fencedSettle
    }
    let began = false
    const performed = Effect.suspend(() => {
      began = true
      return perform(turn, { body, decodeWith, onFailure })
    })
    return Effect.onExitPrimitive(place.isFree ? performed : Effect.andThen(place.wait, performed), (exit) => {
      if (began && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) {
        // what an interrupted handler left behind in memory, nobody knows
        return Effect.ensuring(runtime.slots.passivate(place.slot), Effect.sync(place.leave))
      }
      place.leave()
      return undefined
    })
  })
