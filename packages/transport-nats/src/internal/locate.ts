/**
 * Where jobs are, by id.
 */
import type { LocatedJob } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Context } from "./context.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import { View } from "./view.ts"

const locateOne = Effect.fnUntraced(function*(
  view: View,
  id: string
): Effect.fn.Return<LocatedJob | undefined, TransportError> {
  const { context, names, now } = view
  const word = Names.encode(id)
  const { row } = yield* context.rows.readOne(names, word)
  if (row?._tag === "Live") return yield* view.ofRow(word, row)
  if (row === undefined) {
    const free = yield* view.ofFree(word)
    if (free !== undefined) return free
    // it may have gone on between the two looks
    const { row } = yield* context.rows.readOne(names, word)
    if (row?._tag === "Live") return yield* view.ofRow(word, row)
  }
  const [letter] = yield* context.streams.last(names.mailboxes, [Names.letter(names, word)])
  return Letter.read(letter, now)?.located
})

/** One answer per id. */
export const locate = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  ids: ReadonlyArray<string>
): Effect.fn.Return<ReadonlyArray<Option.Option<LocatedJob>>, TransportError> {
  const names = yield* context.queues.find(queue)
  if (names === undefined) return ids.map(() => Option.none())
  const view = new View(context, names)
  const found = yield* Effect.forEach(ids, (id) => locateOne(view, id), { concurrency: 32 })
  return found.map(Option.fromNullishOr)
})
