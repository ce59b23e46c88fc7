/**
 * Where jobs are, seen from outside. The server says up to where a consumer has
 * delivered: of its messages, what is below and still there is in somebody's hands.
 */
import type { LocatedJob, Place } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Due from "./due.ts"
import * as HandOut from "./handOut.ts"
import * as Key from "./key.ts"
import * as Names from "./names.ts"
import type * as Row from "./row.ts"
import { standing } from "./rows.ts"
import type { ConsumerInfo, Stored } from "./streams.ts"
import * as Token from "./token.ts"

/** What the head of a key does. */
interface Turn {
  readonly place: "running" | "queued" | "scheduled"
  /** Of the head, encoded. */
  readonly id: string
}

/** One look at a queue: what was asked for once is remembered. */
export class View {
  readonly context: Context
  readonly names: Names.QueueNames
  /** ms since the epoch by the broker's clock. */
  readonly now: number
  private readonly consumers = new Map<string, ConsumerInfo | undefined>()
  private readonly turns = new Map<string, Turn | undefined>()

  constructor(context: Context, names: Names.QueueNames) {
    this.context = context
    this.names = names
    this.now = context.clock.now()
  }

  consumer(name: string): Effect.Effect<ConsumerInfo | undefined, TransportError> {
    if (this.consumers.has(name)) return Effect.succeed(this.consumers.get(name))
    return Effect.tap(
      this.context.streams.consumerInfo(this.names.work, name),
      (info) => Effect.sync(() => void this.consumers.set(name, info))
    )
  }

  /** Of a message in the work stream; `undefined`: it was acknowledged and came back with the server. */
  placeOf(message: Stored): Effect.Effect<"running" | "queued" | undefined, TransportError> {
    return Effect.map(this.consumer(Names.consumerOf(this.names, message.subject)), (info) => {
      if (info === undefined || message.sequence > info.delivered) return "queued"
      return message.sequence > info.ackFloor ? "running" : undefined
    })
  }

  private readonly readTurn = Effect.fnUntraced({ self: this }, function*(
    key: string
  ): Effect.fn.Return<Turn | undefined, TransportError> {
    const { context, names, now } = this
    const [token] = yield* context.streams.last(names.work, [Names.token(names, key)])
    if (token === undefined) return undefined
    const { after, dueAt } = Token.decode(token)
    const head = yield* Key.head(context, names, key, after)
    const envelope = head === undefined ? undefined : HandOut.tryDecode(head.bytes)
    if (envelope === undefined) return undefined
    const id = Names.encode(envelope.id)
    if (dueAt !== undefined && dueAt > now) return { place: "scheduled", id }
    return { place: (yield* this.placeOf(token)) === "running" ? "running" : "queued", id }
  })

  /** `key` encoded. */
  turn(key: string): Effect.Effect<Turn | undefined, TransportError> {
    if (this.turns.has(key)) return Effect.succeed(this.turns.get(key))
    return Effect.tap(this.readTurn(key), (turn) => Effect.sync(() => void this.turns.set(key, turn)))
  }

  private located(row: Row.Live, place: Place): LocatedJob {
    return { place, envelope: row.envelope, dueAt: row.dueAt, record: undefined }
  }

  /** Where the job of a live row is. `id` encoded. */
  readonly ofRow = Effect.fnUntraced({ self: this }, function*(
    id: string,
    row: Row.Live
  ): Effect.fn.Return<LocatedJob, TransportError> {
    const { context, names, now } = this
    if (row.dueAt > now) return this.located(row, "scheduled")
    const { key, priority } = row.envelope
    if (key !== undefined) {
      const turn = yield* this.turn(Names.encode(key))
      return this.located(row, turn?.id === id && turn.place === "running" ? "running" : "queued")
    }
    const [message] = yield* context.streams.last(names.work, [Names.job(names, priority, id, row.auth)])
    // it may be between two places
    return this.located(row, message === undefined ? "queued" : (yield* this.placeOf(message)) ?? "queued")
  })

  /** A message of a priority. `undefined`: it is not there for a living job. */
  readonly ofJob = Effect.fnUntraced({ self: this }, function*(
    message: Stored
  ): Effect.fn.Return<LocatedJob | undefined, TransportError> {
    const place = yield* this.placeOf(message)
    const envelope = HandOut.tryDecode(message.bytes)
    if (place === undefined || envelope === undefined) return undefined
    const { auth, id } = Names.parseJob(message.subject)
    const state = standing(yield* this.context.rows.readOne(this.names, id), auth)
    if (state._tag !== "current") return undefined
    return { place, envelope, dueAt: state.row?.dueAt ?? message.timestamp, record: undefined }
  })

  /** A message of a mailbox. */
  readonly ofMail = Effect.fnUntraced({ self: this }, function*(
    message: Stored
  ): Effect.fn.Return<LocatedJob | undefined, TransportError> {
    const envelope = HandOut.tryDecode(message.bytes)
    if (envelope === undefined) return undefined
    const id = Names.encode(envelope.id)
    const row = Key.liveRow(yield* this.context.rows.readOne(this.names, id), message)
    return row === undefined ? undefined : yield* this.ofRow(id, row)
  })

  /** A due time. */
  readonly ofDue = Effect.fnUntraced({ self: this }, function*(
    message: Stored
  ): Effect.fn.Return<LocatedJob | undefined, TransportError> {
    const { id, nonce } = Due.decode(message.bytes)
    const { row } = yield* this.context.rows.readOne(this.names, id)
    if (row?._tag !== "Live" || row.nonce !== nonce) return undefined
    return yield* this.ofRow(id, row)
  })

  /** A job without a row. `id` encoded. */
  readonly ofFree = Effect.fnUntraced({ self: this }, function*(
    id: string
  ): Effect.fn.Return<LocatedJob | undefined, TransportError> {
    const { context, names } = this
    const levels = yield* context.levels.read(names)
    const messages = yield* context.streams.last(names.work, levels.map((level) => Names.job(names, level, id, 0)))
    for (const message of messages) {
      const envelope = message === undefined ? undefined : HandOut.tryDecode(message.bytes)
      if (message === undefined || envelope === undefined) continue
      const place = yield* this.placeOf(message)
      if (place !== undefined) return { place, envelope, dueAt: message.timestamp, record: undefined }
    }
    return undefined
  })
}
