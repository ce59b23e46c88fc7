/**
 * Claims whose writer died before it published the job, or never learned that
 * it has the row. Nobody was told that such a job is accepted, nobody that it is
 * not: whoever finds it finishes what its writer began.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Key from "./key.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import { goOn } from "./revise.ts"
import * as Row from "./row.ts"
import * as Token from "./token.ts"

/** ms after which nobody is at it any more: an operation of its writer takes less than the patience of a transport. */
const settling = 60_000

/** Messages of a key among which a job is looked for: of more it is not said that one of them is missing. */
const maxMails = 200

/** Whether nobody can still be about to let the job of a row go on. `now`: ms since the epoch by the broker's clock. */
export const mayBe = ({ dueAt, waits, writtenAt }: Row.Live, now: number): boolean =>
  Math.max(writtenAt, waits ? dueAt : 0) <= now - settling

/** Whether the first revision of a job is in the mailbox of its key, as far as we looked. */
const isInMailbox = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  key: string,
  row: Row.Live
): Effect.fn.Return<boolean, TransportError> {
  const [token] = yield* context.streams.last(names.work, [Names.token(names, key)])
  let after = token === undefined ? 0 : Token.decode(token).after
  for (let count = 0; count < maxMails; count++) {
    const message = yield* Key.head(context, names, key, after)
    if (message === undefined) return false
    if (Key.liveRow({ row, sequence: row.sequence }, message) !== undefined) return true
    after = message.sequence
  }
  return true
})

/** Whether there is something that brings the job to a worker. What waits is not asked for: publishing it finds out. */
const isThere = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  id: string,
  row: Row.Live
): Effect.fn.Return<boolean, TransportError> {
  const { key, priority } = row.envelope
  if (row.waits) return false
  if (key !== undefined) return !row.isFirst || (yield* isInMailbox(context, names, Names.encode(key), row))
  const [message] = yield* context.streams.last(names.work, [Names.job(names, priority, id, row.auth)])
  return message !== undefined
})

/** Lets the job of a row go on if nothing else does. `id` encoded. */
export const finish = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  id: string,
  row: Row.Live
): Effect.fn.Return<void, TransportError> {
  const { clock, rows } = context
  if (!mayBe(row, clock.now()) || (yield* isThere(context, names, id, row))) return
  // nobody gives up a claim that was written anew; a row that is not the one that we looked for tells nothing
  const [written] = yield* rows.write(names, [{ id, bytes: Row.copied(row, clock.now()), expected: row.sequence }])
  if (written !== undefined) yield* goOn(context, names, Publications.ofRow(row))
})
