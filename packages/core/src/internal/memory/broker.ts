/**
 * The memory broker: its queues, its clock and what can go wrong with it.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Scheduler from "effect/Scheduler"
import type { Scope } from "effect/Scope"
import { jobTopic, resultsTopic } from "../../Bus.ts"
import * as JobRecord from "../../JobRecord.ts"
import { Topics } from "./bus.ts"
import { Expiry } from "./expiry.ts"
import { Queue, type QueueHost } from "./queue.ts"
import { Timers } from "./timers.ts"

export class Broker implements QueueHost {
  readonly timers: Timers
  readonly expiry: Expiry
  readonly topics = new Topics()
  readonly queues = new Map<string, Queue>()
  private readonly clock: Clock.Clock
  private readonly dispatcher: Scheduler.SchedulerDispatcher
  /** Open unless the broker stalls. */
  private readonly awake = Latch.makeUnsafe(true)
  private stalled = false
  private sequence = 0

  constructor(context: Context.Context<never>) {
    this.clock = Context.get(context, Clock.Clock)
    this.dispatcher = Context.get(context, Scheduler.Scheduler).makeDispatcher()
    this.timers = new Timers(this.clock, context)
    this.expiry = new Expiry(this.timers)
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Every operation goes through here: a stalled broker answers nobody. */
  operation<A, E = never, R = never>(run: () => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => this.stalled ? Effect.andThen(this.awake.await, this.operation(run)) : run())
  }

  /** Creates the queue if nobody used it before. */
  queue(name: string): Queue {
    let queue = this.queues.get(name)
    if (queue === undefined) this.queues.set(name, queue = new Queue(name, this))
    return queue
  }

  /** Tells the clients that wait for these new records. Nothing is encoded when nobody listens. */
  announce(records: ReadonlyArray<JobRecord.JobRecord>): void {
    if (this.topics.isEmpty) return
    const byClient = new Map<string, Array<JobRecord.JobRecord>>()
    for (const record of records) {
      if (record.replyTo === undefined) continue
      const group = byClient.get(record.replyTo)
      if (group === undefined) byClient.set(record.replyTo, [record])
      else group.push(record)
    }
    for (const [client, group] of byClient) {
      const topic = resultsTopic(client)
      if (this.topics.hasListener(topic)) this.topics.publish(topic, JobRecord.manyToBytes(group))
    }
    for (const record of records) {
      const topic = jobTopic(record.queue, record.id)
      if (this.topics.hasListener(topic)) this.topics.publish(topic, JobRecord.toBytes(record))
    }
  }

  /** Severs every subscription that the consumer has now; one that it opens later works. */
  crash(id: string): void {
    for (const queue of this.queues.values()) {
      for (const consumer of queue.consumers) {
        if (consumer.id !== id) continue
        consumer.severed = true
        queue.pulls.sever(consumer)
        queue.retire(consumer)
      }
      queue.changed()
    }
  }

  stall(milliseconds: number): void {
    this.stalled = true
    this.awake.closeUnsafe()
    this.timers.pause(this.now() + milliseconds, (now) => {
      this.stalled = false
      for (const queue of this.queues.values()) {
        queue.grantGrace(now)
        queue.changed()
      }
      this.awake.openUnsafe()
    })
  }

  readonly nextSequence = (): number => ++this.sequence

  readonly setTimer = (queue: Queue, at: number): void => this.timers.set(queue, at)

  readonly onIdle = (queue: Queue): void => {
    if (this.queues.get(queue.name) === queue) this.queues.delete(queue.name)
  }

  readonly scheduleDispatch = (queue: Queue): void => {
    if (queue.pulls.dispatching) return
    queue.pulls.dispatching = true
    this.dispatcher.scheduleTask(() => {
      // a stall that began in between: the end of it dispatches
      if (this.stalled) queue.pulls.dispatching = false
      else queue.dispatch(this.now())
    }, 0)
  }
}

export const make: Effect.Effect<Broker, never, Scope> = Effect.acquireRelease(
  Effect.map(Effect.context<never>(), (context) => new Broker(context)),
  (broker) => Effect.sync(() => broker.timers.close())
)
