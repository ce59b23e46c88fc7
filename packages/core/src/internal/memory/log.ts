/**
 * The log of the memory broker: synchronous steps on its queues, one for each
 * operation of the seam.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Scope } from "effect/Scope"
import type { Envelope } from "../../Envelope.ts"
import {
  checkSettlement,
  type Delivery,
  type JobLog,
  type LocatedJob,
  type Place,
  type QueueStats,
  type Redrive,
  type Redriven,
  type Settled,
  type Settlement,
  type SubscribeOptions,
  type Subscription
} from "../../JobLog.ts"
import type { JobRecord } from "../../JobRecord.ts"
import { Refused, TransportError } from "../../TransportError.ts"
import type { Broker } from "./broker.ts"
import { Consumer } from "./consumer.ts"
import { HandOut, type Job } from "./job.ts"
import { paginate } from "./page.ts"
import type { Queue } from "./queue.ts"
import { revise } from "./revise.ts"

const refused = (operation: string, description: string): Effect.Effect<never, TransportError> =>
  Effect.fail(new TransportError({ reason: new Refused({ operation, description }) }))

export const make = (broker: Broker): JobLog => ({
  send: (envelopes) => broker.operation(() => send(broker, envelopes)),
  subscribe: (options) => broker.operation(() => subscribe(broker, options)),
  withdraw: (queue, records) => broker.operation(() => withdraw(broker, queue, records)),
  revise: (queue, revisions) => broker.operation(() => revise(broker, queue, revisions)),
  locate: (queue, ids) =>
    broker.operation(() => {
      const now = broker.now()
      const found = promoted(broker, queue, now)
      return Effect.succeed(
        ids.map((id) => Option.fromNullishOr(found === undefined ? undefined : locate(found, id, now)))
      )
    }),
  stats: (queue) => broker.operation(() => stats(broker, queue)),
  list: (queue, place, page) =>
    broker.operation(() => {
      const now = broker.now()
      const found = promoted(broker, queue, now)
      const operation = `list("${queue}", "${place}")`
      if (found === undefined) return paginate(operation, [], page, viewLocated)
      return place === "dead"
        ? paginate(operation, found.archive.letters(now), page, viewLocated)
        : paginate(operation, jobsIn(found, place), page, viewLocated)
    }),
  redrive: (queue, letters) => broker.operation(() => redrive(broker, queue, letters))
})

// --- producers ---

const send = (
  broker: Broker,
  envelopes: NonEmptyReadonlyArray<Envelope>
): Effect.Effect<ReadonlyArray<"sent" | "duplicate">> => {
  const now = broker.now()
  const touched = new Set<Queue>()
  const answers = envelopes.map((envelope) => {
    const queue = broker.queue(envelope.queue)
    // before the new job: what became due earlier comes earlier
    if (!touched.has(queue)) queue.promote(now)
    touched.add(queue)
    if (queue.isAlive(envelope.id, now)) return "duplicate"
    queue.admit(envelope, now)
    return "sent"
  })
  for (const queue of touched) queue.changed()
  return Effect.succeed(answers)
}

const withdraw = (
  broker: Broker,
  name: string,
  records: NonEmptyReadonlyArray<JobRecord>
): Effect.Effect<ReadonlyArray<JobRecord>, TransportError> => {
  const stray = records.find((record) => record.queue !== name)
  if (stray !== undefined) {
    return refused(`withdraw from "${name}"`, `the record of job "${stray.id}" is of queue "${stray.queue}"`)
  }
  const now = broker.now()
  const queue = broker.queue(name)
  queue.promote(now)
  const created: Array<JobRecord> = []
  const answers = records.map((record) => {
    const row = queue.archive.row(record.id, now)
    if (row !== undefined) return row.record
    queue.finish(queue.jobs.get(record.id), record, now)
    created.push(record)
    return record
  })
  queue.changed()
  broker.announce(created)
  return Effect.succeed(answers)
}

// --- consumers ---

const subscribe = (broker: Broker, options: SubscribeOptions): Effect.Effect<Subscription, never, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const queue = broker.queue(options.queue)
      const consumer = new Consumer(options)
      queue.enter(consumer)
      return { queue, consumer }
    }),
    ({ consumer, queue }) =>
      Effect.sync(() => {
        consumer.closed = true
        queue.pulls.close(consumer)
        queue.retire(consumer)
        queue.changed()
      })
  ).pipe(Effect.map(({ consumer, queue }) => {
    const wait = (max: number) =>
      Effect.callback<NonEmptyReadonlyArray<Delivery>>((resume) => {
        if (consumer.severed) return
        if (consumer.closed) return resume(Effect.interrupt)
        const pull = { consumer, max, resume }
        queue.pulls.add(pull)
        // a job may have come since the fiber looked
        queue.changed()
        return Effect.sync(() => queue.pulls.remove(pull))
      })
    return {
      pull: (max) =>
        broker.operation(() => {
          if (consumer.severed || consumer.closed || queue.pulls.dispatching) return wait(max)
          const now = broker.now()
          queue.promote(now)
          const batch = queue.take(consumer, max, now)
          if (batch === undefined) return wait(max)
          queue.changed()
          return Effect.succeed(batch)
        }),
      extend: (deliveries) => broker.operation(() => Effect.succeed(extend(broker, queue, consumer, deliveries))),
      settle: (settlements) => broker.operation(() => settle(broker, queue, consumer, settlements))
    }
  }))

/** `undefined`: the delivery never was this consumer's. */
const ownHandOut = (delivery: Delivery, consumer: Consumer): HandOut | undefined =>
  delivery instanceof HandOut && delivery.consumer === consumer ? delivery : undefined

const extend = (
  broker: Broker,
  queue: Queue,
  consumer: Consumer,
  deliveries: ReadonlyArray<Delivery>
): ReadonlyArray<Delivery> => {
  if (consumer.severed) return []
  const now = broker.now()
  const kept = deliveries.filter((delivery) => {
    const handOut = ownHandOut(delivery, consumer)
    return handOut !== undefined && queue.extend(handOut, now)
  })
  queue.changed()
  return kept
}

const settle = (
  broker: Broker,
  queue: Queue,
  consumer: Consumer,
  settlements: NonEmptyReadonlyArray<Settlement>
): Effect.Effect<ReadonlyArray<Settled>, TransportError> => {
  for (const settlement of settlements) {
    const mismatch = checkSettlement(settlement)
    if (mismatch !== undefined) {
      return refused(`${settlement._tag} of job "${settlement.delivery.envelope.id}"`, mismatch)
    }
  }
  if (consumer.severed) return Effect.succeed(settlements.map(() => "superseded"))
  const now = broker.now()
  queue.promote(now)
  const created: Array<JobRecord> = []
  const answers = settlements.map((settlement) => {
    const handOut = ownHandOut(settlement.delivery, consumer)
    if (handOut === undefined) return "superseded"
    if (!handOut.current) return handOut.repeated(settlement._tag)
    apply(queue, handOut.job, settlement, now)
    if (settlement._tag === "Ack" || settlement._tag === "Bury") created.push(settlement.record)
    return handOut.settled(settlement._tag, "settled")
  })
  queue.changed()
  broker.announce(created)
  return Effect.succeed(answers)
}

const apply = (queue: Queue, job: Job, settlement: Settlement, now: number): void => {
  switch (settlement._tag) {
    case "Ack":
      return queue.finish(job, settlement.record, now)
    case "Forward":
      return queue.forward(job, settlement.successor, now)
    case "Bury":
      queue.finish(job, settlement.record, now)
      return queue.archive.bury(job.envelope, job.dueAt, settlement.record, now + settlement.timeToLive)
    case "Drop":
      return queue.remove(job)
  }
}

// --- administration ---

/** The queue with everything queued that is due; `undefined` if nobody uses it. */
const promoted = (broker: Broker, name: string, now: number): Queue | undefined => {
  const queue = broker.queues.get(name)
  queue?.promote(now)
  queue?.changed()
  return queue
}

const viewLocated = (item: { readonly located: LocatedJob }): LocatedJob => item.located

const jobsIn = function*(queue: Queue, place: Place): Generator<Job> {
  for (const job of queue.jobs.values()) if (job.place === place) yield job
}

const locate = (queue: Queue, id: string, now: number): LocatedJob | undefined =>
  queue.jobs.get(id)?.located ?? queue.archive.letter(id, now)?.located

const stats = (broker: Broker, name: string): Effect.Effect<QueueStats> => {
  const now = broker.now()
  const queue = promoted(broker, name, now)
  return Effect.succeed(
    queue === undefined
      ? { scheduled: 0, queued: 0, running: 0, dead: 0, oldestAge: undefined, consumers: 0 }
      : queue.stats(now)
  )
}

const redrive = (
  broker: Broker,
  name: string,
  letters: NonEmptyReadonlyArray<Redrive>
): Effect.Effect<ReadonlyArray<Redriven>, TransportError> => {
  const stray = letters.find(({ as, id }) => as !== "drop" && (as.id !== id || as.queue !== name))
  if (stray !== undefined) return refused(`redrive of job "${stray.id}"`, "the new envelope names another job")
  const now = broker.now()
  const queue = promoted(broker, name, now)
  if (queue === undefined) return Effect.succeed(letters.map(() => "missing"))
  const answers = letters.map(({ as, id }): Redriven => {
    const letter = queue.archive.letter(id, now)
    if (letter === undefined) return "missing"
    if (as !== "drop") {
      if (queue.jobs.has(id)) return "duplicate"
      queue.archive.forgetRecord(id)
      queue.admit(as, now)
    }
    queue.archive.dropLetter(letter)
    return "done"
  })
  queue.changed()
  return Effect.succeed(answers)
}
