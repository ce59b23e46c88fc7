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
import type * as Row from "./row.ts"
import * as Stranded from "./stranded.ts"
import { View } from "./view.ts"

/** Messages of a key among which a job is looked for: rounds look among all of them. */
const maxMails = 200

/** Whoever waits for the job asks for it: it must not wait for a writer that is gone. */
const ofLive = Effect.fnUntraced(function*(
  view: View,
  mailboxes: Stranded.Mailboxes,
  id: string,
  row: Row.Live
): Effect.fn.Return<LocatedJob, TransportError> {
  const located = yield* view.ofRow(id, row)
  if (located.place === "queued" && Stranded.mayBe(row, view.now)) {
    yield* Effect.ignore(Stranded.finish(view.context, view.names, mailboxes, id, row))
  }
  return located
})

const locateOne = Effect.fnUntraced(function*(
  view: View,
  mailboxes: Stranded.Mailboxes,
  id: string
): Effect.fn.Return<LocatedJob | undefined, TransportError> {
  const { context, names, now } = view
  const word = Names.encode(id)
  const { row } = yield* context.rows.readOne(names, word)
  if (row?._tag === "Live") return yield* ofLive(view, mailboxes, word, row)
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
  const mailboxes = new Stranded.Mailboxes(context, names, maxMails)
  const found = yield* Effect.forEach(ids, (id) => locateOne(view, mailboxes, id), { concurrency: 32 })
  return found.map(Option.fromNullishOr)
})
