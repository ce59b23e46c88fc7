/**
 * Claims whose writer died before it published the job, or never learned that
 * it has the row. Nobody was told that such a job is accepted, nobody that it is
 * not: whoever finds it finishes what its writer began.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Semaphore from "effect/Semaphore"
import type { Context } from "./context.ts"
import * as Key from "./key.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import { goOn } from "./revise.ts"
import * as Row from "./row.ts"
import * as Token from "./token.ts"

/** ms after which nobody is at it any more: an operation of its writer takes less than the patience of a transport. */
const settling = 60_000

/** Whether nobody can still be about to let the job of a row go on. `now`: ms since the epoch by the broker's clock. */
export const mayBe = ({ writtenAt }: Row.Live, now: number): boolean => writtenAt <= now - settling

/** What stands in the mailboxes of keys, looked at once for many rows. */
export class Mailboxes {
  private readonly context: Context
  private readonly names: Names.QueueNames
  private readonly limit: number
  private readonly gate = Semaphore.makeUnsafe(1)
  /** By encoded key: since when all that was published before is known, and its rows; `undefined`: too many. */
  private readonly known = new Map<string, { readonly at: number; readonly auths: ReadonlySet<number> | undefined }>()

  /** `limit`: messages of a key that are looked at; of more it is not said that one of them is missing. */
  constructor(context: Context, names: Names.QueueNames, limit = Infinity) {
    this.context = context
    this.names = names
    this.limit = limit
  }

  private readonly read = Effect.fnUntraced({ self: this }, function*(key: string): Effect.fn.Return<
    ReadonlySet<number> | undefined,
    TransportError
  > {
    const { context, names } = this
    const auths = new Set<number>()
    const [token] = yield* context.streams.last(names.work, [Names.token(names, key)])
    let after = token === undefined ? 0 : Token.decode(token).after
    for (let count = 0; count < this.limit; count++) {
      const message = yield* Key.head(context, names, key, after)
      if (message === undefined) return auths
      auths.add(Key.authOf(message))
      after = message.sequence
    }
    return undefined
  })

  /** Whether the first revision of a job, which nobody is at any more, is in the mailbox of its key. */
  has(row: Row.Live, key: string): Effect.Effect<boolean, TransportError> {
    return this.gate.withPermit(Effect.gen({ self: this }, function*() {
      let known = this.known.get(key)
      if (known === undefined || !mayBe(row, known.at)) {
        known = { at: this.context.clock.now(), auths: yield* this.read(key) }
        this.known.set(key, known)
      }
      return known.auths === undefined || known.auths.has(row.auth)
    }))
  }
}

/** Whether there is something that brings the job to a worker. */
const isThere = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  mailboxes: Mailboxes,
  id: string,
  row: Row.Live
): Effect.fn.Return<boolean, TransportError> {
  const { key, priority } = row.envelope
  if (row.waits && (key === undefined || row.isFirst)) return (yield* context.agenda.missing(names, [row])).length === 0
  if (key !== undefined) return !row.isFirst || (yield* mailboxes.has(row, Names.encode(key)))
  const [message] = yield* context.streams.last(names.work, [Names.job(names, priority, id, row.auth)])
  return message !== undefined
})

/** Lets the job of a row go on if nothing else does. `id` encoded. */
export const finish = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  mailboxes: Mailboxes,
  id: string,
  row: Row.Live
): Effect.fn.Return<void, TransportError> {
  const { clock, rows } = context
  if (!mayBe(row, clock.now()) || (yield* isThere(context, names, mailboxes, id, row))) return
  // nobody gives up a claim that was written anew; a row that is not the one that we looked for tells nothing
  const [written] = yield* rows.write(names, [{ id, bytes: Row.copied(row, clock.now()), expected: row.sequence }])
  if (written !== undefined) yield* goOn(context, names, Publications.ofRow(row))
})
