/**
 * Pages through the jobs of one place. A cursor is a place in a stream, so it
 * outlives any change in between; a job that moves meanwhile may be seen twice.
 */
import type { LocatedJob, Place } from "@troupe/core/JobLog"
import type { Page, Paged } from "@troupe/core/Store"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Errors from "./errors.ts"
import * as Key from "./key.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import type { Stored } from "./streams.ts"
import * as Token from "./token.ts"
import { View } from "./view.ts"

type Read = (message: Stored) => Effect.Effect<LocatedJob | undefined, TransportError>

/** Messages that may be jobs of the place. */
interface Source {
  readonly stream: string
  readonly filter: string
  readonly read: Read
}

const sourcesOf = (view: View, place: Place): ReadonlyArray<Source> => {
  const { names, now } = view
  const jobs = { stream: names.work, filter: Names.allJobs(names), read: view.ofJob }
  const dues = { stream: names.delays, filter: Names.allDues(names), read: view.ofDue }
  const mails = { stream: names.mailboxes, filter: Names.mailboxes(names), read: view.ofMail }
  switch (place) {
    case "dead":
      return [{
        stream: names.mailboxes,
        filter: Names.letters(names),
        read: (message) => Effect.succeed(Letter.read(message, now)?.located)
      }]
    case "scheduled":
      return [dues, heads(view)]
    case "queued":
      return [jobs, mails, dues]
    case "running":
      return [jobs, heads(view)]
  }
}

/** The heads of keys, by their tokens. */
const heads = (view: View): Source => {
  const { context, names } = view
  return {
    stream: names.work,
    filter: Names.tokens(names),
    read: Effect.fnUntraced(function*(message: Stored) {
      const head = yield* Key.head(context, names, Names.parseKey(message.subject), Token.decode(message).after)
      return head === undefined ? undefined : yield* view.ofMail(head)
    })
  }
}

const parse = (cursor: string | undefined): { readonly source: number; readonly from: number } | undefined => {
  if (cursor === undefined) return { source: 0, from: 1 }
  const match = /^(\d)\.(\d+)$/.exec(cursor)
  return match === null ? undefined : { source: Number(match[1]), from: Number(match[2]) }
}

export const list = Effect.fnUntraced(function*(
  context: Context,
  queue: string,
  place: Place,
  page: Page
): Effect.fn.Return<Paged<LocatedJob>, TransportError> {
  const start = parse(page.cursor)
  if (start === undefined) {
    return yield* Errors.refused(`list("${queue}", "${place}")`, `"${page.cursor}" is not a cursor of an earlier page`)
  }
  const names = yield* context.queues.find(queue)
  if (names === undefined) return { items: [], next: undefined }
  const view = new View(context, names)
  const limit = Math.max(1, page.limit)
  const items: Array<LocatedJob> = []
  const sources = sourcesOf(view, place)
  let { from, source } = start
  for (; source < sources.length; source++, from = 1) {
    const { filter, read, stream } = sources[source]!
    while (true) {
      const message = yield* context.streams.next(stream, filter, from)
      if (message === undefined) break
      const job = yield* read(message)
      if (job?.place === place) {
        // one more than asked for: the page says whether another one follows
        if (items.length === limit) return { items, next: `${source}.${message.sequence}` }
        items.push(job)
      }
      from = message.sequence + 1
    }
  }
  return { items, next: undefined }
})
