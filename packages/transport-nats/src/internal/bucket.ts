/**
 * The due times of one bucket in the hands of one worker, which puts every job
 * in its queue when its time has come. If two workers hold a bucket for a while,
 * the second publication of a job adds nothing.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type * as Latch from "effect/Latch"
import type { Scope } from "effect/Scope"
import * as Agenda from "./agenda.ts"
import type { Context } from "./context.ts"
import * as DueTime from "./due.ts"
import { Heap } from "./heap.ts"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import type * as Row from "./row.ts"
import type { Puller, PullEvent } from "./streams.ts"

interface Due extends DueTime.Due {
  readonly sequence: number
  /** When the server stored it. */
  readonly storedAt: number
  /** When it is looked at. */
  readonly lookAt: number
  readonly reply: string
}

/** Due times per request: they are small. */
const loading = 1_000

/** Jobs that are put in the queue at once. */
const maxBatch = 512

/** ms after its end that a bucket stays open for late comers. */
const grace = 10_000

/** ms that a due time may stay with whoever loaded it. */
const ackWait = Names.bucketWidth + 300_000

/** ms between two signs of life of a waiting request. */
const heartbeat = 5_000

/** ms between two looks at whether the bucket is over. */
const idle = 1_000

/** ms between two looks at whether somebody deleted the consumer, or due times were lost on their way. */
const checkEvery = 5_000

/** ms before what failed is tried again. */
const pause = 250

/** ms between two looks for a row that may be on its way, at least and at most. */
const shortest = 10
const longest = 5_000

export class Bucket {
  private readonly context: Context
  private readonly names: Names.QueueNames
  private readonly number: number
  private readonly due = new Heap<Due>((a, b) => a.lookAt < b.lookAt)
  private readonly changed: Latch.Latch
  private puller: Puller | undefined = undefined
  private isStale = false
  /** Due times that came since the last look. */
  private received = 0

  constructor(context: Context, names: Names.QueueNames, number: number, changed: Latch.Latch) {
    this.context = context
    this.names = names
    this.number = number
    this.changed = changed
  }

  private get consumer(): string {
    return Names.bucketConsumer(this.number)
  }

  /** Returns when the bucket is over. */
  readonly run: Effect.Effect<void, TransportError> = Effect.suspend(() =>
    Effect.scoped(Effect.gen({ self: this }, function*() {
      yield* this.context.streams.onReconnect(() => this.reload())
      while (true) {
        // what another worker, or we before a reconnection, had loaded comes once more
        this.isStale = false
        const isOver = yield* Effect.scoped(this.hold)
        if (isOver) return
      }
    }))
  )

  /** Due times may have been lost on their way: with the connection, or while this process stood still. */
  private reload(): void {
    this.isStale = true
    this.changed.openUnsafe()
  }

  private readonly hold: Effect.Effect<boolean, TransportError, Scope> = Effect.gen({ self: this }, function*() {
    const { context, names } = this
    const { streams } = context
    this.due.clear()
    yield* streams.deleteConsumer(names.delays, this.consumer)
    const filter = Names.dues(names, this.number)
    yield* streams.ensureConsumer({ stream: names.delays, name: this.consumer, filter, ackWait })
    this.puller = yield* streams.puller(names.delays, this.consumer, heartbeat, (event) => this.onEvent(event))
    this.puller.request({ batch: loading, wait: true })
    let checkedAt = context.clock.now()
    let missing = 0
    const end = (this.number + 1) * Names.bucketWidth + grace
    while (!this.isStale) {
      this.changed.closeUnsafe()
      const now = context.clock.now()
      const batch = this.takeDue(now)
      if (batch.length > 0) {
        // what failed comes again with all the others
        yield* this.promote(batch)
        continue
      }
      if (now >= checkedAt + checkEvery) {
        checkedAt = now
        const info = yield* streams.consumerInfo(names.delays, this.consumer)
        // what was handed out before the last look, and has not come, went to nobody: all of it comes again
        if (info === undefined || missing > this.received) return false
        this.received = 0
        missing = info.ackPending - this.due.size
      }
      if (now > end && this.due.size === 0 && (yield* this.isOver)) return true
      const wait = Math.min(idle, (this.due.peek()?.lookAt ?? Infinity) - now)
      yield* Effect.timeoutOption(this.changed.await, Math.max(1, wait))
    }
    return false
  })

  private onEvent(event: PullEvent): void {
    if (event._tag === "End") {
      if (event.mayHaveLost) this.reload()
      this.puller?.request({ batch: loading, wait: true })
      return
    }
    this.received++
    const { bytes, reply, sequence, timestamp } = event.message
    const due = DueTime.decode(bytes)
    const first = this.due.peek()
    this.due.push({ ...due, sequence, storedAt: timestamp, lookAt: due.dueAt, reply })
    if (first === undefined || due.dueAt < first.lookAt) this.changed.openUnsafe()
  }

  private takeDue(now: number): ReadonlyArray<Due> {
    const batch: Array<Due> = []
    for (let one = this.due.peek(); one !== undefined && one.lookAt <= now; one = this.due.peek()) {
      if (batch.length === maxBatch) break
      batch.push(one)
      this.due.pop()
    }
    return batch
  }

  private readonly promote = Effect.fnUntraced({ self: this }, function*(
    batch: ReadonlyArray<Due>
  ): Effect.fn.Return<void, TransportError> {
    const { names } = this
    const { publisher, rows, streams } = this.context
    const found = yield* rows.read(names, batch.map(({ id }) => id))
    const jobs: Array<{ readonly due: Due; readonly publication: Publications.Publication }> = []
    const waiting: Array<
      { readonly due: Due; readonly id: string; readonly row: Row.Live; readonly place: undefined }
    > = []
    const now = this.context.clock.now()
    /** Rows may be on their way: these are kept, and looked at less and less often. */
    const early = new Set<Due>()
    batch.forEach((due, index) => {
      const { row } = found[index]!
      const isLive = row?._tag === "Live"
      const isOwn = isLive && row.nonce === due.nonce
      const isEarly = !isOwn && now - due.storedAt < Agenda.patience
      if (isEarly) early.add(due)
      if (isOwn && row.waits) waiting.push({ due, id: due.id, row, place: undefined })
      // whoever rescheduled it, or wrote the row below, may not have come to publish it
      else if (isLive && !row.waits && (!isEarly || due.lookAt === due.dueAt)) {
        jobs.push({ due, publication: Publications.ofRow(row) })
      }
    })
    const come = yield* rows.come(names, waiting)
    // of these, and of those for which there is no room, the rows have to be looked at again
    const again = new Set<Due>()
    waiting.forEach(({ due }, index) => {
      const row = come[index]
      // core looks for a record of whatever was delayed
      if (row === undefined) again.add(due)
      else jobs.push({ due, publication: { ...Publications.ofRow(row), isRepeat: false } })
    })
    // one that does not fit now must not hold up the others
    const errors = yield* publisher.publish(names, jobs.map(({ publication }) => publication))
    jobs.forEach(({ due }, index) => {
      if (errors[index] !== undefined && !early.has(due)) again.add(due)
    })
    const kept = early.size === 0 ? [] : yield* this.present([...early])
    for (const one of kept) {
      const wait = Math.min(longest, Math.max(shortest, now - one.storedAt))
      this.due.push({ ...one, lookAt: now + wait })
    }
    const open = new Set([...again, ...kept])
    yield* streams.finish(batch.flatMap((due) => open.has(due) ? [] : [due.reply]))
    if (again.size === 0) return
    for (const one of again) this.due.push(one)
    yield* Effect.sleep(pause)
  })

  /** Which of these nobody has taken away. */
  private readonly present = Effect.fnUntraced({ self: this }, function*(
    dues: ReadonlyArray<Due>
  ): Effect.fn.Return<ReadonlyArray<Due>, TransportError> {
    const found = yield* this.context.streams.at(this.names.delays, dues.map(({ sequence }) => sequence))
    return dues.filter((_, index) => found[index] !== undefined)
  })

  private readonly isOver: Effect.Effect<boolean, TransportError> = Effect.gen({ self: this }, function*() {
    const { context, names } = this
    const left = yield* context.streams.next(names.delays, Names.dues(names, this.number), 1)
    if (left !== undefined) return false
    yield* context.streams.deleteConsumer(names.delays, this.consumer)
    return true
  })
}
