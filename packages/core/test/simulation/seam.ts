/**
 * Ways to stand between a worker and its broker and to change what passes.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Envelope } from "../../src/Envelope.ts"
import type { Delivery, JobLog, Settlement, Subscription } from "../../src/JobLog.ts"
import * as JobRecord from "../../src/JobRecord.ts"
import { type Collection, records } from "../../src/Store.ts"
import type { Transport } from "../../src/Transport.ts"

export type Wrapped = Transport["Service"]

export const withLog = (transport: Wrapped, change: (log: JobLog) => Partial<JobLog>): Wrapped => ({
  ...transport,
  log: { ...transport.log, ...change(transport.log) }
})

export const withSubscription = (
  transport: Wrapped,
  change: (subscription: Subscription, queue: string) => Partial<Subscription>
): Wrapped =>
  withLog(transport, (log) => ({
    subscribe: (options) =>
      Effect.map(log.subscribe(options), (inner) => ({ ...inner, ...change(inner, options.queue) }))
  }))

/** For a trace. */
export const showSettlement = (settlement: Settlement): string => {
  switch (settlement._tag) {
    case "Ack":
    case "Bury":
      return `${settlement._tag}(${settlement.record.state} ${settlement.record.reason ?? ""})`
    case "Forward": {
      const { attempt, deliveries, due } = settlement.successor
      return `Forward(attempt ${attempt}, base ${deliveries}${due === undefined ? "" : `, ${JSON.stringify(due)}`})`
    }
    case "Drop":
      return "Drop"
  }
}

type Settlements = Parameters<Subscription["settle"]>[0]

export const mapSettlements = (settlements: Settlements, change: (one: Settlement) => Settlement): Settlements => {
  const [first, ...others] = settlements
  return [change(first), ...others.map(change)]
}

export const changingSettlements = (transport: Wrapped, change: (one: Settlement) => Settlement): Wrapped =>
  withSubscription(transport, (inner) => ({ settle: (all) => inner.settle(mapSettlements(all, change)) }))

/** What is handed out in place of a delivery of the broker. */
interface Stands {
  readonly stands: WeakMap<Delivery, Delivery>
}

/** Hands out changed deliveries, and takes them back for what they stand for. */
export const changingDeliveries = (
  transport: Wrapped,
  { stands }: Stands,
  change: (delivery: Delivery) => Partial<Delivery>
): Wrapped => {
  const inside = (delivery: Delivery) => stands.get(delivery) ?? delivery
  return withSubscription(transport, (inner) => {
    const outside = new WeakMap<Delivery, Delivery>()
    return {
      pull: (max) =>
        Effect.map(inner.pull(max), ([first, ...others]) => {
          const disguise = (delivery: Delivery): Delivery => {
            const { deliveries, envelope, suspectRecord } = delivery
            const changed = { envelope, deliveries, suspectRecord, ...change(delivery) }
            stands.set(changed, delivery)
            outside.set(delivery, changed)
            return changed
          }
          return [disguise(first), ...others.map(disguise)]
        }),
      extend: ([first, ...others]) =>
        Effect.map(
          inner.extend([inside(first), ...others.map(inside)]),
          (ours) => ours.map((delivery) => outside.get(delivery)!)
        ),
      settle: (all) =>
        inner.settle(mapSettlements(all, (one) => {
          const delivery = inside(one.delivery)
          const { id } = delivery.envelope
          if (one._tag === "Drop") return { ...one, delivery }
          return one._tag === "Forward"
            ? { ...one, delivery, successor: { ...one.successor, id } }
            : { ...one, delivery, record: { ...one.record, id } }
        }))
    }
  })
}

/** A second job that looks like the first from outside. */
export const alias = (envelope: Envelope, n: number): Envelope => ({ ...envelope, id: `${envelope.id}~${n}` })

export const unaliased = (transport: Wrapped, stands: Stands): Wrapped =>
  changingDeliveries(transport, stands, ({ envelope }) => ({
    envelope: { ...envelope, id: envelope.id.split("~")[0]! }
  }))

/** Shows other records than there are; `undefined` shows none. */
export const withRecords = (
  transport: Wrapped,
  change: (queue: string, id: string, record: JobRecord.JobRecord) => JobRecord.JobRecord | undefined
): Wrapped => ({
  ...transport,
  store: {
    ...transport.store,
    get: (collection: Collection, keys) =>
      Effect.map(transport.store.get(collection, keys), (rows) => {
        const { queue } = collection
        if (queue === undefined || collection.name !== records(queue).name) return rows
        return rows.map((row, i) => {
          if (Option.isNone(row)) return row
          const record = change(queue, keys[i]!, JobRecord.fromBytes(row.value.value))
          return record === undefined ? Option.none() : Option.some({ ...row.value, value: JobRecord.toBytes(record) })
        })
      })
  }
})
