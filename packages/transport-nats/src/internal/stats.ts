/**
 * How many jobs are where. Counted by the server; what it cannot tell apart is
 * looked at, up to a limit.
 */
import type { QueueStats } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Context } from "./context.ts"
import * as Due from "./due.ts"
import * as Key from "./key.ts"
import * as Letter from "./letter.ts"
import * as Names from "./names.ts"
import * as Register from "./register.ts"
import type { Stored } from "./streams.ts"
import * as Token from "./token.ts"
import { View } from "./view.ts"

/** Messages that are looked at one by one; above it counts are rough. */
const maxLooks = 1_000

const maxMails = 200

const nothing: QueueStats = { scheduled: 0, queued: 0, running: 0, dead: 0, oldestAge: undefined, consumers: 0 }

/** The first messages of a stream that match. */
const some = Effect.fnUntraced(function*(
  { streams }: Context,
  stream: string,
  filter: string,
  from = 1,
  limit = maxLooks
): Effect.fn.Return<ReadonlyArray<Stored>, TransportError> {
  const found: Array<Stored> = []
  while (found.length < limit) {
    const message = yield* streams.next(stream, filter, from)
    if (message === undefined) break
    found.push(message)
    from = message.sequence + 1
  }
  return found
})

const size = (subjects: ReadonlyMap<string, number> | undefined): number => {
  let total = 0
  if (subjects !== undefined) { for (const count of subjects.values()) total += count }
  return total
}

/** Jobs of priorities, without keys. */
const plain = Effect.fnUntraced(function*(view: View): Effect.fn.Return<
  { readonly running: number; readonly queued: number; readonly oldest: number },
  TransportError
> {
  const { context, names } = view
  let [running, queued, oldest] = [0, 0, Infinity]
  for (const level of yield* context.levels.read(names)) {
    const filter = Names.jobs(names, level)
    const info = yield* view.consumer(Names.jobConsumer(level))
    if (info === undefined) queued += size((yield* context.streams.streamInfo(names.work, filter))?.subjects)
    else {
      running += info.ackPending
      queued += info.pending
    }
    const first = yield* context.streams.next(names.work, filter, (info?.delivered ?? 0) + 1)
    if (first !== undefined) oldest = Math.min(oldest, first.timestamp)
  }
  return { running, queued, oldest }
})

/** Jobs of keys. */
const keyed = Effect.fnUntraced(function*(view: View, letters: number): Effect.fn.Return<
  { readonly running: number; readonly waiting: number; readonly queued: number; readonly oldest: number },
  TransportError
> {
  const { context, names, now } = view
  const total = ((yield* context.streams.streamInfo(names.mailboxes))?.messages ?? 0) - letters
  if (total <= 0) return { running: 0, waiting: 0, queued: 0, oldest: Infinity }
  let [running, waiting] = [0, 0]
  for (const token of yield* some(context, names.work, Names.tokens(names))) {
    const { after, dueAt } = Token.decode(token)
    if (dueAt !== undefined && dueAt > now) waiting++
    else if ((yield* view.placeOf(token)) === "running") {
      // it may only be looked at, to find that its key has no more jobs
      if ((yield* Key.head(context, names, Names.parseKey(token.subject), after)) !== undefined) running++
    }
  }
  const mails = yield* some(context, names.mailboxes, Names.mailboxes(names), 1, maxMails)
  const jobs = yield* Effect.forEach(mails, view.ofMail, { concurrency: 32 })
  const waits = (index: number) => jobs[index]?.place === "queued"
  const oldest = mails.find((_, index) => waits(index))?.timestamp ?? Infinity
  // a mailbox also holds what is over, until its key comes to it
  const queued = total <= maxMails ? mails.filter((_, index) => waits(index)).length : total - running - waiting
  return { running, waiting, queued: Math.max(0, queued), oldest }
})

/** Jobs among the due times. */
const delayed = Effect.fnUntraced(function*({ context, names, now }: View): Effect.fn.Return<
  { readonly scheduled: number; readonly late: number; readonly oldest: number },
  TransportError
> {
  const { streams } = context
  const dues = (yield* streams.streamInfo(names.delays, Names.allDues(names)))?.subjects ?? new Map<string, number>()
  let [scheduled, late, oldest, looks] = [0, 0, Infinity, maxLooks]
  const past: Array<Due.Due> = []
  for (const [subject, count] of dues) {
    const bucket = Names.parseBucket(subject)
    if (bucket > Names.bucketOf(now)) {
      scheduled += count
    } else if (count > looks) {
      // whoever looks after the bucket hands out what is due within milliseconds
      if (bucket === Names.bucketOf(now)) scheduled += count
      else late += count
    } else {
      looks -= count
      for (const message of yield* some(context, names.delays, subject, 1, count)) {
        const due = Due.decode(message.bytes)
        if (due.dueAt > now) scheduled++
        else past.push(due)
      }
    }
  }
  // a due time that was stored twice, or without its row, stays a while after its time
  const found = yield* context.rows.read(names, past.map(({ id }) => id))
  past.forEach(({ dueAt, nonce }, index) => {
    const { row } = found[index]!
    if (row?._tag !== "Live" || row.nonce !== nonce) return
    late++
    oldest = Math.min(oldest, dueAt)
  })
  return { scheduled, late, oldest }
})

export const stats = Effect.fnUntraced(function*(
  context: Context,
  queue: string
): Effect.fn.Return<QueueStats, TransportError> {
  const names = yield* context.queues.find(queue)
  if (names === undefined) return nothing
  const view = new View(context, names)
  const { streams } = context
  const consumers = (yield* Register.entries(context, names)).filter(({ isClosed }) => !isClosed).length
  const letters = size((yield* streams.streamInfo(names.mailboxes, Names.letters(names)))?.subjects)
  const dead = letters > maxLooks
    ? letters
    : (yield* some(context, names.mailboxes, Names.letters(names)))
      .filter((message) => Letter.read(message, view.now) !== undefined).length
  const dues = yield* delayed(view)
  const jobs = yield* plain(view)
  const keys = yield* keyed(view, letters)
  const queued = jobs.queued + keys.queued + dues.late
  const oldest = Math.min(jobs.oldest, keys.oldest, dues.oldest)
  return {
    scheduled: dues.scheduled + keys.waiting,
    queued,
    running: jobs.running + keys.running,
    dead,
    oldestAge: queued > 0 && oldest !== Infinity ? Math.max(0, view.now - oldest) : undefined,
    consumers
  }
})
