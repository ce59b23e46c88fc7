/**
 * Forgets what ran out. Readers compare times themselves: this is about room only.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Context } from "./context.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import * as Row from "./row.ts"
import { isExpired } from "./store.ts"
import * as Stranded from "./stranded.ts"
import type { Publish, Stored } from "./streams.ts"

/** Rows that are looked at together. */
const chunk = 500

/** Chunks of one round at most. */
const maxChunks = 400

/** ms for which rows stay as they are: claims may be given up, and requests of their writers come late. */
const settling = 60_000

/** ms after which rows that still count are written anew, so that what ran out behind them can go. */
const patience = 30 * 60_000

/** Letters and rows of the table that one round looks at. */
const maxLooks = 500

/** Up to which sequence all claims of a queue that stay where they are were looked at. */
const looked = new WeakMap<Context, Map<string, number>>()

/**
 * Finishes old claims that nobody has touched: of those that were written anew somebody has seen that their jobs are
 * there. Answers whether all of them were looked at: else the next round does it.
 */
const finish = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames,
  mailboxes: Stranded.Mailboxes,
  old: ReadonlyArray<Stored>,
  stays: boolean
): Effect.fn.Return<boolean> {
  const last = old.at(-1)
  if (last === undefined) return true
  const positions = looked.get(context) ?? new Map<string, number>()
  looked.set(context, positions)
  const position = stays ? positions.get(names.queue) ?? 0 : 0
  const now = context.clock.now()
  const untouched = old.flatMap((one) => {
    if (one.sequence <= position || one.subject === Names.levels(names)) return []
    const { row } = Row.read(one, now)
    return row?._tag === "Live" && row.auth === row.sequence ? [row] : []
  })
  const results = yield* Effect.forEach(
    untouched,
    (row) => Effect.result(Stranded.finish(context, names, mailboxes, Names.encode(row.envelope.id), row)),
    { concurrency: 32 }
  )
  // one that is refused for ever must not hold up the others
  if (results.some((one) => Result.isFailure(one) && one.failure.reason._tag === "Unavailable")) return false
  positions.set(names.queue, last.sequence)
  return true
})

/**
 * Rows expire about in the order in which they were written: the oldest part of
 * the stream goes as a whole, and what still counts in it is written anew. A young
 * part of which most still counts stays.
 */
export const rows = Effect.fnUntraced(function*(
  context: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  const { clock, streams } = context
  const info = yield* streams.streamInfo(names.rows)
  if (info === undefined || info.messages === 0) return
  const mailboxes = new Stranded.Mailboxes(context, names)
  let from = info.firstSequence
  for (let count = 0; count < maxChunks && from <= info.lastSequence; count++) {
    let end = Math.min(from + chunk, info.lastSequence + 1)
    const found = yield* streams.at(names.rows, Array.from({ length: end - from }, (_, index) => from + index))
    const now = clock.now()
    const all = found.filter((one) => one !== undefined)
    const settled = all.findIndex(({ timestamp }) => timestamp > now - settling)
    const present = settled < 0 ? all : all.slice(0, settled)
    if (settled >= 0) end = all[settled]!.sequence
    if (end === from) return
    const copies = present.flatMap((one): ReadonlyArray<Publish> => {
      const { sequence, subject } = one
      if (subject === Names.levels(names)) return [{ subject, bytes: one.bytes, expected: sequence }]
      const { row } = Row.read(one, now)
      return row === undefined ? [] : [{ subject, bytes: Row.copied(row, now), expected: sequence }]
    })
    const isYoung = (present.at(-1)?.timestamp ?? 0) > now - patience
    const stays = isYoung && copies.length * 2 > present.length
    const old = stays ? present.filter(({ timestamp }) => timestamp <= now - patience) : present
    const isDone = yield* finish(context, names, mailboxes, old, stays)
    if (stays || !isDone) return
    const answers = yield* streams.publish(copies)
    // whoever changed a row meanwhile wrote it anew
    if (answers.some(({ _tag }) => _tag !== "Stored" && _tag !== "WrongSequence")) return
    yield* streams.purge(names.rows, ">", end)
    from = end
  }
})

export const letters = Effect.fnUntraced(function*(
  { clock, streams }: Context,
  names: Names.QueueNames
): Effect.fn.Return<void, TransportError> {
  let from = 1
  for (let count = 0; count < maxLooks; count++) {
    const message = yield* streams.next(names.mailboxes, Names.letters(names), from)
    if (message === undefined) return
    from = message.sequence + 1
    if (Letter.read(message, clock.now()) === undefined) {
      yield* streams.purge(names.mailboxes, message.subject, from)
    }
  }
})

/** Where the next round goes on, by namespace. */
const positions = new WeakMap<Context, number>()

export const table = Effect.fnUntraced(function*(context: Context): Effect.fn.Return<void, TransportError> {
  const { clock, namespace, streams } = context
  const stream = Names.table(namespace)
  let from = positions.get(context) ?? 1
  for (let count = 0; count < maxLooks; count++) {
    const message = yield* streams.next(stream, `${Names.tablePrefix(namespace)}>`, from)
    from = message === undefined ? 1 : message.sequence + 1
    if (message === undefined) break
    if (isExpired(namespace, message, clock.now())) yield* streams.purge(stream, message.subject, from)
  }
  positions.set(context, from)
})
