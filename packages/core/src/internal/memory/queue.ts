/**
 * One queue of the memory broker.
 *
 * A job is in exactly one place: scheduled, in the ready list of its priority,
 * behind the busy head of its key, or on lease. A queue has a live job or a
 * record for an id, never both: whatever creates a record removes the job.
 */
import * as Envelope from "../../Envelope.ts"
import type { QueueStats } from "../../JobLog.ts"
import type { JobRecord } from "../../JobRecord.ts"
import { ShortLivedMap } from "../../ShortLived.ts"
import { Archive } from "./archive.ts"
import type { Consumer } from "./consumer.ts"
import type { Expiry } from "./expiry.ts"
import { Heap } from "./heap.ts"
import { dueBefore, HandOut, Job } from "./job.ts"
import { LinkedList } from "./list.ts"
import { Pulls } from "./pulls.ts"
import type { Timer } from "./timers.ts"

/** An alarm that comes later than this (ms) means that nobody in this process ran, heartbeats neither. */
const stallThreshold = 100

export interface QueueHost {
  readonly expiry: Expiry
  readonly nextSequence: () => number
  /** Calls `dispatch` of the queue soon, outside of the operation under way. */
  readonly scheduleDispatch: (queue: Queue) => void
  /** Rings at the time that the queue needs next. */
  readonly setTimer: (queue: Queue, at: number) => void
  /** The queue holds nothing and nobody listens. */
  readonly onIdle: (queue: Queue) => void
}

export class Queue implements Timer {
  readonly name: string
  /** Live jobs by id, in the order of their sequence. */
  readonly jobs = new ShortLivedMap<string, Job>()
  readonly archive: Archive
  readonly pulls = new Pulls()
  readonly consumers = new Set<Consumer>()
  wakeAt = Infinity
  heapIndex = -1

  private readonly host: QueueHost
  private readonly scheduled = new Heap<Job>(dueBefore)
  private readonly ready = new Map<string, LinkedList<Job>>()
  /** The followers of every key that is taken. */
  private readonly followers = new Map<string, LinkedList<Job>>()
  /** By the last renewal of the lease, oldest first: one lease counts for the whole queue. */
  private readonly running = new LinkedList<Job>()
  /** ms. */
  private lease = 0
  /** No lease is taken away before this time. */
  private graceUntil = -Infinity

  constructor(name: string, host: QueueHost) {
    this.name = name
    this.host = host
    this.archive = new Archive(host.expiry, host.nextSequence, () => this.checkIdle())
  }

  // --- jobs come and go ---

  /** The caller has checked that the id is free. */
  admit(envelope: Envelope.Envelope, now: number): void {
    const job = new Job(envelope, Envelope.dueAt(envelope, now), this.host.nextSequence())
    this.jobs.set(envelope.id, job)
    this.enqueue(job, now)
  }

  isAlive(id: string, now: number): boolean {
    return this.jobs.has(id) || this.archive.row(id, now) !== undefined
  }

  /** Takes the job out of the queue, wherever it is, and lets its key go on. */
  remove(job: Job): void {
    this.jobs.delete(job.envelope.id)
    if (job.heapIndex >= 0) this.scheduled.remove(job)
    job.list?.remove(job)
    const { lease } = job
    this.endLease(job)
    const key = job.envelope.key
    if (key === undefined || !job.holdsKey) return
    const next = this.followers.get(key)?.shift()
    if (next === undefined) return void this.followers.delete(key)
    next.after = lease
    this.makeReady(next)
  }

  /** The job is over. */
  finish(job: Job | undefined, record: JobRecord, now: number): void {
    if (job !== undefined) this.remove(job)
    this.archive.create(record, now)
  }

  /** The successor takes the place of a running job; a key keeps its turn. */
  forward(job: Job, successor: Envelope.Envelope, now: number): void {
    job.list?.remove(job)
    this.endLease(job)
    job.envelope = successor
    job.dueAt = Envelope.dueAt(successor, now)
    job.handOuts = 0
    this.enqueue(job, now)
  }

  /** The successor takes the place of a scheduled job. */
  reschedule(job: Job, successor: Envelope.Envelope, now: number): void {
    this.scheduled.remove(job)
    job.envelope = successor
    job.dueAt = Envelope.dueAt(successor, now)
    this.enqueue(job, now)
  }

  /** Queues what has become due. Every operation begins with it, so nobody sees a job late. */
  promote(now: number): void {
    for (let job = this.scheduled.peek(); job !== undefined && job.dueAt <= now; job = this.scheduled.peek()) {
      this.scheduled.remove(job)
      this.join(job)
    }
  }

  private enqueue(job: Job, now: number): void {
    if (job.dueAt > now) this.scheduled.push(job)
    else this.join(job)
  }

  private join(job: Job): void {
    const key = job.envelope.key
    if (key !== undefined && !job.holdsKey) {
      const followers = this.followers.get(key)
      if (followers !== undefined) return followers.push(job)
      this.followers.set(key, new LinkedList())
    }
    this.makeReady(job)
  }

  private makeReady(job: Job): void {
    job.holdsKey = job.envelope.key !== undefined
    this.readyOf(job.envelope.priority).push(job)
  }

  private readyOf(priority: string): LinkedList<Job> {
    let list = this.ready.get(priority)
    if (list === undefined) this.ready.set(priority, list = new LinkedList())
    return list
  }

  // --- leases ---

  /** Leases up to `max` jobs, the highest priority first. */
  take(consumer: Consumer, max: number, now: number): [HandOut, ...Array<HandOut>] | undefined {
    let batch: [HandOut, ...Array<HandOut>] | undefined
    let missing = Math.max(1, max)
    for (const priority of consumer.priorities) {
      const list = this.ready.get(priority)
      if (list === undefined) continue
      for (; missing > 0 && list.head !== undefined; missing--) {
        const handOut = this.handOut(list.head, consumer, now)
        if (batch === undefined) batch = [handOut]
        else batch.push(handOut)
      }
      if (missing <= 0) break
    }
    return batch
  }

  private handOut(job: Job, consumer: Consumer, now: number): HandOut {
    job.list?.remove(job)
    job.handOuts++
    job.leasedAt = now
    this.running.push(job)
    consumer.held++
    return job.lease = new HandOut(job, consumer, this.host.nextSequence())
  }

  /** Answers whether the lease still was the consumer's. */
  extend(handOut: HandOut, now: number): boolean {
    if (!handOut.current) return false
    const job = handOut.job
    job.leasedAt = now
    this.running.remove(job)
    this.running.push(job)
    return true
  }

  private endLease(job: Job): void {
    const consumer = job.lease?.consumer
    if (consumer === undefined) return
    job.lease = undefined
    consumer.held--
    if (consumer.held === 0 && (consumer.closed || consumer.severed)) this.leave(consumer)
  }

  enter(consumer: Consumer): void {
    this.consumers.add(consumer)
    this.lease = Math.max(...Array.from(this.consumers, (one) => one.lease))
  }

  /** The consumer pulls no more. Its lease counts until it holds nothing. */
  retire(consumer: Consumer): void {
    if (consumer.held === 0) this.leave(consumer)
  }

  private leave(consumer: Consumer): void {
    this.consumers.delete(consumer)
    // the last one's lease stays: only a closed scope can be late to settle
    if (this.consumers.size > 0) this.lease = Math.max(...Array.from(this.consumers, (one) => one.lease))
  }

  // --- time ---

  /** After a pause of the broker every lease looks old: heartbeats get a round to arrive first. */
  grantGrace(now: number): void {
    this.graceUntil = now + this.lease / 3
  }

  ring(now: number, late: number): void {
    this.promote(now)
    // one round in a lease: an event loop that stalls all the time must not keep dead leases alive
    if (late > stallThreshold && now > this.graceUntil + this.lease) this.grantGrace(now)
    if (now >= this.graceUntil) this.reap(now)
    this.changed()
  }

  private reap(now: number): void {
    const lost: Array<Job> = []
    for (let job = this.running.head; job !== undefined && job.leasedAt + this.lease <= now; job = this.running.head) {
      this.running.remove(job)
      this.endLease(job)
      lost.push(job)
    }
    // they go to the front, in the order in which they were there
    for (let index = lost.length - 1; index >= 0; index--) {
      const job = lost[index]!
      this.readyOf(job.envelope.priority).unshift(job)
    }
  }

  /** Every operation ends with it. */
  changed(): void {
    if (this.pulls.waiting && this.hasReady) this.host.scheduleDispatch(this)
    this.setTimer()
    this.checkIdle()
  }

  private setTimer(): void {
    const due = this.scheduled.peek()?.dueAt ?? Infinity
    const oldest = this.running.head
    const lost = oldest === undefined ? Infinity : Math.max(oldest.leasedAt + this.lease, this.graceUntil)
    this.host.setTimer(this, Math.min(due, lost))
  }

  private checkIdle(): void {
    if (this.jobs.size === 0 && this.consumers.size === 0 && this.archive.isEmpty) this.host.onIdle(this)
  }

  /** Serves waiting pulls, first come, first served. */
  dispatch(now: number): void {
    this.promote(now)
    this.pulls.serve((consumer, max) => {
      const batch = this.take(consumer, max, now)
      // before the fiber of the consumer runs, for as long as it likes
      if (batch !== undefined) this.setTimer()
      return batch
    })
    this.changed()
  }

  private get hasReady(): boolean {
    for (const list of this.ready.values()) if (list.size > 0) return true
    return false
  }

  // --- views ---

  stats(now: number): QueueStats {
    const scheduled = this.scheduled.size
    const running = this.running.size
    const queued = this.jobs.size - scheduled - running
    // jobs wait about in the order in which they became due: the first ones tell, at any length
    let oldestDue = Infinity
    for (const lists of [this.ready, this.followers]) {
      for (const { head } of lists.values()) if (head !== undefined) oldestDue = Math.min(oldestDue, head.dueAt)
    }
    let consumers = 0
    for (const consumer of this.consumers) if (!consumer.closed) consumers++
    return {
      scheduled,
      queued,
      running,
      dead: Array.from(this.archive.letters(now)).length,
      oldestAge: queued > 0 ? Math.max(0, now - oldestDue) : undefined,
      consumers
    }
  }
}
