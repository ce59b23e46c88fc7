/**
 * One try to take a lock.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import { monotonic } from "../monotonic.ts"
import * as Observations from "./observations.ts"
import * as Row from "./row.ts"

/** How a lock is taken. Durations are ms. */
export interface Request {
  readonly transport: Transport["Service"]
  readonly name: string
  readonly ttl: number
  readonly owner: string
  readonly claim: string | undefined
}

export interface Taken {
  readonly _tag: "Taken"
  readonly revision: number
  /** When the write was sent, ms on the monotonic clock. */
  readonly sentAt: number
}

export interface Busy {
  readonly _tag: "Busy"
  readonly claim: string | undefined
  /** ms after which a row that does not change has no living holder. */
  readonly patience: number
}

export const newOwner: Effect.Effect<string> = Effect.map(
  Effect.all([Random.nextInt, Random.nextInt]),
  (numbers) => numbers.map((number) => Math.abs(number).toString(36)).join("")
)

const rowOf = ({ claim, owner, ttl }: Request): Row.LockRow => ({
  owner,
  ttl,
  ...(claim === undefined ? {} : { claim })
})

/** Writes our row over the given revision. `undefined` if somebody was faster. */
export const write = (
  request: Request,
  ifRevision: number
): Effect.Effect<Taken | undefined, TransportError> =>
  Effect.flatMap(Clock.Clock, (clock) => {
    const sentAt = monotonic(clock)
    return request.transport.store.put(Row.locks, request.name, Row.toBytes(rowOf(request)), {
      ifRevision,
      timeToLive: Row.timeToLive(request.ttl)
    }).pipe(
      Effect.map((revision): Taken => ({ _tag: "Taken", revision, sentAt })),
      Effect.catchTag("RevisionConflict", () => Effect.undefined)
    )
  })

export const read = ({ name, transport }: Pick<Request, "name" | "transport">) =>
  Effect.map(transport.store.get(Row.locks, [name]), ([row]) => {
    if (row === undefined || Option.isNone(row)) return undefined
    return { ...Row.fromBytes(row.value.value), revision: row.value.revision }
  })

/** Safe to repeat: a row that an earlier try wrote is recognised. */
export const take = Effect.fnUntraced(function*(request: Request): Effect.fn.Return<Taken | Busy, TransportError> {
  const { name, transport } = request
  const clock = yield* Clock.Clock
  while (true) {
    const created = yield* write(request, 0)
    if (created !== undefined) return created
    const row = yield* read(request)
    if (row === undefined) continue
    const unchanged = Observations.observe(transport, name, row.revision, monotonic(clock))
    const isOurs = row.owner === request.owner || (request.claim !== undefined && row.claim === request.claim)
    if (!isOurs && unchanged < row.ttl) return { _tag: "Busy", claim: row.claim, patience: row.ttl - unchanged }
    const replaced = yield* write(request, row.revision)
    if (replaced !== undefined) {
      Observations.forget(transport, name)
      return replaced
    }
  }
})

/** Removes our row, whatever its revision is by now. Somebody else's stays. */
export const giveBack = Effect.fnUntraced(function*(
  request: Pick<Request, "name" | "owner" | "transport">
): Effect.fn.Return<void, TransportError> {
  const { name, owner, transport } = request
  while (true) {
    const row = yield* read(request)
    if (row === undefined || row.owner !== owner) return
    const removed = yield* transport.store.remove(Row.locks, name, { ifRevision: row.revision }).pipe(
      Effect.as(true),
      Effect.catchTag("RevisionConflict", () => Effect.succeed(false))
    )
    if (!removed) continue
    // a lost message only costs time: contenders look again
    return yield* Effect.ignore(transport.bus.publish(Row.lockTopic(name), new Uint8Array(0)))
  }
})
