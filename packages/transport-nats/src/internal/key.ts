/**
 * The turns of a key. The token of a key lets its head be handed out once:
 * whatever happens next, the token is replaced or removed first.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as HandOut from "./handOut.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import type * as Row from "./row.ts"
import type { Delivered, Publish, Stored } from "./streams.ts"
import * as Token from "./token.ts"

/** Turns after which a mailbox is cleaned of what is over. */
const maxTurns = 16

/** Of a message in a mailbox: which row let it be published. */
export const authOf = (message: Stored): number => Number(message.headers.get(Publications.authHeader) ?? 0)

/** The first job of a key that is not known to be over. `key` encoded. */
export const head = (
  { streams }: Context,
  names: Names.QueueNames,
  key: string,
  after: number
): Effect.Effect<Stored | undefined, TransportError> =>
  streams.next(names.mailboxes, Names.mailbox(names, key), after + 1)

/** The row of a head if it still is the one that its place was given to. */
export const liveRow = (found: Row.Found, message: Stored): Row.Live | undefined =>
  found.row?._tag === "Live" && found.row.place === authOf(message) ? found.row : undefined

const replace = ({ streams }: Context, message: Publish): Effect.Effect<void, TransportError> =>
  Effect.flatMap(
    streams.publish([message]),
    ([answer]) => answer?._tag === "Failed" ? Effect.fail(answer.error) : Effect.void
  )

/** The mailbox was empty when we looked: remove the token, and look again for whoever found it there. */
const release = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  token: Delivered,
  key: string,
  after: number
): Effect.fn.Return<void, TransportError> {
  yield* context.streams.acknowledge([token.reply], { _tag: "Done" })
  const late = yield* head(context, names, key, after)
  if (late !== undefined) yield* replace(context, Token.wake(names, key))
})

/**
 * What becomes of a token that was delivered: a hand-out of the head of its key,
 * or nothing that could be handed out now.
 */
export const onToken = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  token: Delivered,
  priorities: ReadonlySet<string>
): Effect.fn.Return<HandOut.HandOut | undefined, TransportError> {
  const { clock, rows, streams } = context
  const key = Names.parseKey(token.subject)
  const current = Token.decode(token)
  const { after, dueAt, revision, turns } = current
  const next = (turn: Token.Token) => replace(context, Token.turn(token.subject, token.sequence, turn))
  if (dueAt !== undefined) {
    const wait = dueAt - clock.now()
    // the server may be early after a restart
    if (wait > 0) {
      yield* streams.acknowledge([token.reply], { _tag: "Delay", milliseconds: Math.max(1, wait) })
      return undefined
    }
    // a new token counts its hand-outs anew
    yield* next({ ...current, dueAt: undefined })
    return undefined
  }
  const found = yield* head(context, names, key, after)
  // costs more than a turn: not at each of them
  const isDirty = turns >= maxTurns || (found === undefined && after > 0)
  if (isDirty) yield* streams.purge(names.mailboxes, Names.mailbox(names, key), after + 1)
  const clean = isDirty ? { ...current, turns: 0 } : current
  if (found === undefined) {
    yield* release(context, names, token, key, after)
    return undefined
  }
  const envelope = HandOut.tryDecode(found.bytes)
  const id = envelope === undefined ? "" : Names.encode(envelope.id)
  const state = envelope === undefined ? undefined : yield* rows.readOne(names, id)
  const row = state === undefined ? undefined : liveRow(state, found)
  // one that is over gives up the turn: whoever ended it may do the same
  if (row === undefined) {
    // whoever buried it may not have come to write the letter
    if (token.deliveries > 1 && state?.row?._tag === "Ended" && state.row.letter !== undefined) {
      yield* Letter.write(context, names, [{ id, letter: state.row.letter }])
    }
    yield* next(Token.past(clean, found.sequence))
    return undefined
  }
  if (row.dueAt > clock.now()) {
    yield* next({ ...clean, revision: row.envelope.revision, dueAt: row.dueAt })
    return undefined
  }
  // whoever had this token has let its job go on, and is about to replace it: a later revision is handed out by its own
  if (revision === undefined ? !row.isFirst : revision !== row.envelope.revision) {
    yield* next({ ...clean, revision: row.envelope.revision })
    return undefined
  }
  // it comes back for somebody who serves this priority
  if (!priorities.has(row.envelope.priority)) return undefined
  if (!row.waits) return HandOut.ofHead(token, found, row, context.nonce(), clean)
  const [come] = yield* rows.come(names, [{ id, row, place: row.place }])
  if (come !== undefined) return HandOut.ofHead(token, found, come, context.nonce(), clean)
  // it was rescheduled or ended meanwhile
  yield* next(clean)
  return undefined
})

/** The job of a key has ended while it was not in our hands: if it is the head, the next one gets the turn. */
export const endHead = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  key: string,
  id: string
): Effect.fn.Return<void, TransportError> {
  const subject = Names.token(names, key)
  const [token] = yield* context.streams.last(names.work, [subject])
  if (token === undefined) return yield* replace(context, Token.wake(names, key))
  const current = Token.decode(token)
  const found = yield* head(context, names, key, current.after)
  // read after the token: no later head can be in the hands of its holder
  if (found === undefined || HandOut.tryDecode(found.bytes)?.id !== id) return
  yield* replace(context, Token.turn(subject, token.sequence, Token.past(current, found.sequence)))
})
