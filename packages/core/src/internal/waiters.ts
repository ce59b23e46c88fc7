/**
 * Waits for records on behalf of one client: pushes first, behind them one
 * batched re-read of all outstanding ids, and neither while nobody waits. What
 * may have been pushed while a connection was lost is read when it is back.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { jobTopic, type Message, resultsTopic } from "../Bus.ts"
import { JobNotFound } from "../JobError.ts"
import * as JobRecord from "../JobRecord.ts"
import { ShortLivedMap, ShortLivedSet } from "../ShortLived.ts"
import { records } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"
import * as RecordRow from "./recordRow.ts"

/** Who waits for a result waits for a broker that is away, too. */
const patiently = <A, R>(subscribe: Effect.Effect<A, TransportError, R>) =>
  Effect.retry(subscribe, {
    while: (error) => error.reason._tag === "Unavailable",
    schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])
  })

type Answer = Exit.Exit<JobRecord.JobRecord, JobNotFound | TransportError>

interface Entry {
  readonly queue: string
  readonly id: string
  /** One, as a rule. */
  readonly resumes: Array<(answer: Answer) => void>
}

export interface Waiters {
  /** A stamp for a job about to be sent: tells later whether its push can have been missed. */
  readonly stamp: () => number
  /** To be called when the wait begins. `stamp` is `undefined` for a job that another client sent. */
  readonly wait: (
    queue: string,
    id: string,
    stamp: number | undefined
  ) => Effect.Effect<JobRecord.JobRecord, JobNotFound | TransportError>
}

/** ms between two re-reads of what is still awaited. */
const rereadEvery = 5_000
/** Rounds without a waiter after which the client wants no pushes any more: all of its results would travel for nothing. */
const idleRounds = 6
/** Pushes kept for jobs that nobody awaits yet, and the largest value kept, in bytes. */
const keptPushes = 1_024
const keptValue = 16 * 1_024

const keyOf = (queue: string, id: string) => `${queue.length}:${queue}${id}`

/** Bytes that are no records are no push. */
const decodePush = (read: () => ReadonlyArray<JobRecord.JobRecord>): ReadonlyArray<JobRecord.JobRecord> => {
  try {
    return read()
  } catch {
    return []
  }
}

export const make = (options: {
  readonly transport: Transport["Service"]
  readonly client: string
  /** Pushes that are not verified are ignored; the re-read decides. */
  readonly verified: (record: JobRecord.JobRecord) => boolean
  readonly scope: Scope.Scope
  readonly context: Context.Context<never>
}): Waiters => {
  const { bus, log, store } = options.transport
  const fork = Effect.runForkWith(options.context)
  /** By queue and id: one text of both would cost more than the rest of a wait. */
  const waiting = new Map<string, ShortLivedMap<string, Entry>>()
  const waitingIn = (queue: string): ShortLivedMap<string, Entry> => {
    let entries = waiting.get(queue)
    if (entries === undefined) waiting.set(queue, entries = new ShortLivedMap())
    return entries
  }
  const allWaiting = () => Array.from(waiting.values(), (entries) => [...entries.values()]).flat()
  /** The latest pushes, oldest first, with the count of sends when they came. */
  const pushes = new ShortLivedMap<string, { readonly record: JobRecord.JobRecord; readonly at: number }>()
  /** Open while pushes come. */
  let subscription: Scope.Closeable | undefined
  /** Counts sends; a job sent before the subscription or before the oldest kept push needs a read. */
  let clock = 0
  let reliableFrom = Number.POSITIVE_INFINITY
  let rereading = false
  const firstReads = new ShortLivedSet<Entry>()

  /** A read may answer late: by then others may wait for the same job under an entry of their own. */
  const forget = (entry: Entry) => {
    const entries = waiting.get(entry.queue)
    if (entries?.get(entry.id) === entry) entries.delete(entry.id)
  }

  const resolve = (entry: Entry, answer: Answer) => {
    forget(entry)
    // a copy: one that goes on may interrupt another
    for (const resume of entry.resumes.slice()) resume(answer)
  }

  const receive = (pushed: ReadonlyArray<JobRecord.JobRecord>) => {
    for (const record of pushed) {
      if (!options.verified(record)) continue
      const entry = waiting.get(record.queue)?.get(record.id)
      if (entry !== undefined) resolve(entry, Exit.succeed(record))
      else keep(keyOf(record.queue, record.id), record)
    }
  }
  const receiveMany = ({ bytes }: Message) => receive(decodePush(() => JobRecord.manyFromBytes(bytes)))
  const receiveOne = ({ bytes }: Message) => receive(decodePush(() => [JobRecord.fromBytes(bytes)]))

  const keep = (key: string, record: JobRecord.JobRecord) => {
    // a dead letter may be replayed: the record of its first run would answer for the second
    if (record.state === "failed" || record.value.length > keptValue) {
      reliableFrom = clock
      return
    }
    pushes.delete(key)
    pushes.set(key, { record, at: clock })
    if (pushes.size > keptPushes) {
      pushes.delete(pushes.keys().next().value!)
      reliableFrom = clock
    }
  }

  const gate = Semaphore.makeUnsafe(1)
  const subscribe = Effect.suspend(() => {
    if (subscription !== undefined) return Effect.void
    return Effect.gen(function*() {
      const scope = yield* Scope.fork(options.scope)
      yield* Scope.provide(scope)(bus.subscribe(resultsTopic(options.client), receiveMany, onGap)).pipe(
        Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
      )
      subscription = scope
      reliableFrom = clock
    })
  })
  const ensureSubscribed = Effect.suspend(() => subscription !== undefined ? Effect.void : gate.withPermit(subscribe))
  const unsubscribe = Effect.suspend(() => {
    const scope = subscription
    if (scope === undefined) return Effect.void
    subscription = undefined
    reliableFrom = Number.POSITIVE_INFINITY
    pushes.clear()
    return Scope.close(scope, Exit.void)
  })

  /** Answers the ids of one queue that have a record; answers the others by where they are. */
  const readQueue = Effect.fnUntraced(function*(queue: string, entries: NonEmptyReadonlyArray<Entry>) {
    const missing = yield* readRecords(queue, entries)
    if (missing.length === 0) return
    const places = yield* log.locate(
      queue,
      missing.map((entry) => entry.id) as unknown as NonEmptyReadonlyArray<string>
    )
    const nowhere = missing.filter((_, i) => Option.isNone(places[i]!))
    if (nowhere.length === 0) return
    // it may have ended between the two looks
    for (const entry of yield* readRecords(queue, nowhere as unknown as NonEmptyReadonlyArray<Entry>)) {
      resolve(entry, Exit.fail(new JobNotFound({ id: entry.id, queue })))
    }
  })

  /** Answers those that have a record; the others are the result. */
  const readRecords = (queue: string, entries: NonEmptyReadonlyArray<Entry>) =>
    Effect.map(store.get(records(queue), entries.map((entry) => entry.id)), (rows) =>
      entries.filter((entry, i) => {
        const row = rows[i]!
        if (Option.isNone(row)) return true
        resolve(entry, RecordRow.read(queue, entry.id, row.value.value))
        return false
      }))

  const read = (entries: Iterable<Entry>) => {
    const byQueue = new Map<string, Array<Entry>>()
    for (const entry of entries) {
      const group = byQueue.get(entry.queue)
      if (group === undefined) byQueue.set(entry.queue, [entry])
      else group.push(entry)
    }
    return Effect.forEach(
      byQueue,
      ([queue, group]) =>
        readQueue(queue, group as unknown as NonEmptyReadonlyArray<Entry>).pipe(
          Effect.catch((error) =>
            Effect.sync(() => {
              // a broker that is away comes back; anything else will not pass
              if (error.reason._tag !== "Unavailable") { for (const entry of group) resolve(entry, Exit.fail(error)) }
            })
          )
        ),
      { discard: true }
    )
  }

  const reread = Effect.gen(function*() {
    // no turn may pass between the last look and the mark: a new waiter would find nobody who reads for it
    for (let idle = 0, left = true; idle < idleRounds || left; idle = left ? 0 : idle + 1) {
      yield* Effect.sleep(rereadEvery)
      yield* Effect.catchCause(
        read(allWaiting()),
        (cause) => Effect.logError("The transport failed to read results, trying again", cause)
      )
      left = false
      for (const [queue, entries] of waiting) {
        if (entries.size > 0) left = true
        else waiting.delete(queue)
      }
    }
    rereading = false
    yield* unsubscribe
  })

  const readFirst = Effect.suspend(() => {
    const entries = [...firstReads]
    firstReads.clear()
    return read(entries)
  })

  /** All first reads of one turn travel together. */
  const readSoon = (entries: ReadonlyArray<Entry>) => {
    if (entries.length === 0) return
    if (firstReads.size === 0) fork(Effect.andThen(Effect.yieldNow, readFirst))
    for (const entry of entries) firstReads.add(entry)
  }

  const onGap = () => {
    if (subscription !== undefined) reliableFrom = clock
    readSoon(allWaiting())
  }

  const register = (queue: string, id: string, stamp: number | undefined) =>
    Effect.callback<JobRecord.JobRecord, JobNotFound | TransportError>((resume) => {
      const pushed = pushes.size === 0 ? undefined : pushes.get(keyOf(queue, id))
      // an older push is the record of an earlier job with this id
      if (pushed !== undefined && stamp !== undefined && pushed.at > stamp) {
        return resume(Exit.succeed(pushed.record))
      }
      const entries = waitingIn(queue)
      let entry = entries.get(id)
      if (entry === undefined) entries.set(id, entry = { queue, id, resumes: [resume] })
      else entry.resumes.push(resume)
      const mine = entry
      if (stamp === undefined || stamp < reliableFrom) readSoon([mine])
      if (!rereading) {
        rereading = true
        fork(Effect.forkIn(reread, options.scope, { startImmediately: true }))
      }
      return Effect.sync(() => {
        const index = mine.resumes.indexOf(resume)
        if (index >= 0) mine.resumes.splice(index, 1)
        if (mine.resumes.length === 0) forget(mine)
      })
    })

  return {
    stamp: () => clock++,
    wait: (queue, id, stamp) =>
      stamp === undefined
        ? Effect.scoped(
          Effect.andThen(
            patiently(bus.subscribe(jobTopic(queue, id), receiveOne, onGap)),
            register(queue, id, undefined)
          )
        )
        // a retry that never happens would cost as much as the rest of the wait
        : subscription !== undefined
        ? register(queue, id, stamp)
        : Effect.andThen(patiently(ensureSubscribed), register(queue, id, stamp))
  }
}
