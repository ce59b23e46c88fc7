/**
 * Bugs that other systems of this field have had, planted at the seam: the
 * simulation is worth what it catches of them.
 */
import * as Effect from "effect/Effect"
import type { Envelope } from "../../src/Envelope.ts"
import { HandOut } from "../../src/internal/memory/job.ts"
import type { Delivery, Settlement } from "../../src/JobLog.ts"
import type * as JobRecord from "../../src/JobRecord.ts"
import type { Kind } from "../../src/testing/Invariants.ts"
import {
  alias,
  changingDeliveries,
  changingSettlements,
  mapSettlements,
  unaliased,
  withLog,
  withRecords,
  withSubscription
} from "./seam.ts"
import type { Plant } from "./simulation.ts"

const isCounted = (one: Settlement): boolean =>
  one._tag === "Forward" && one.successor.attempt > one.delivery.envelope.attempt

/** A release or a hand-back. */
const isReturn = (one: Settlement): boolean =>
  one._tag === "Forward" && !isCounted(one) && one.successor.due === undefined

export interface Bug extends Plant {
  /** As what it shows. */
  readonly shows: ReadonlyArray<Kind>
  /** Seeds after which it must have shown. */
  readonly within: number
}

/** The bugs, by name. */
export const bugs: Readonly<Record<string, Bug>> = {
  "acknowledge before the record": {
    shows: ["Loss"],
    within: 20,
    atWorker: (transport) =>
      withSubscription(transport, (inner, queue) => ({
        settle: (all) => {
          const ended = all.flatMap((one) => one._tag === "Ack" || one._tag === "Bury" ? [one.record] : [])
          const acknowledge = inner.settle(mapSettlements(all, (one) =>
            one._tag === "Ack" || one._tag === "Bury" ? { _tag: "Drop", delivery: one.delivery } : one))
          const [first, ...others] = ended
          if (first === undefined) {
            return acknowledge
          }
          const record = Effect.andThen(Effect.sleep(5), transport.log.withdraw(queue, [first, ...others]))
          return Effect.tap(acknowledge, () =>
            record)
        }
      }))
  },
  "no deduplication of enqueues": {
    shows: ["AcceptedTwice"],
    within: 20,
    atBroker: (transport, { recorder }) => {
      let copies = 0
      const inner = unaliased(transport, recorder)
      return withLog(inner, (log) => ({
        send: ([first, ...others]) =>
          Effect.flatMap(
            log.send([first, ...others]),
            (answers) =>
              Effect.forEach([first, ...others], (envelope, i) =>
                answers[i] === "duplicate"
                  ? Effect.map(log.send([alias(envelope, copies++)]), ([answer]) => answer!)
                  : Effect.succeed(answers[i]!))
          )
      }))
    }
  },
  "successors deduplicated by attempt": {
    shows: ["Loss"],
    within: 20,
    atBroker: (transport) => {
      const seen = new Set<string>()
      return changingSettlements(transport, (one) => {
        if (one._tag !== "Forward") return one
        const { attempt, enqueuedAt, id } = one.successor
        // the job itself was the first message of attempt 1
        const name = `${id} ${enqueuedAt} ${attempt}`
        if (attempt > 1 && !seen.has(name)) {
          seen.add(name)
          return one
        }
        return { _tag: "Drop", delivery: one.delivery }
      })
    }
  },
  "attempt counted on release": {
    shows: ["WrongAttempt"],
    within: 20,
    atBroker: (transport) =>
      changingSettlements(transport, (one) =>
        one._tag === "Forward" && isReturn(one)
          ? { ...one, successor: { ...one.successor, attempt: one.successor.attempt + 1 } }
          : one)
  },
  "attempt counted on crash": {
    shows: ["WrongAttempt"],
    within: 20,
    atBroker: (transport, { recorder }) =>
      changingDeliveries(transport, recorder, ({ deliveries, envelope }) => ({
        envelope: { ...envelope, attempt: envelope.attempt + (deliveries > 1 ? 1 : 0) }
      }))
  },
  "lease taken back by a late heartbeat": {
    shows: ["StaleSettle"],
    within: 100,
    atBroker: (transport) =>
      withSubscription(transport, (inner) => ({
        extend: (deliveries) =>
          Effect.suspend(() => {
            for (const one of deliveries) {
              if (one instanceof HandOut && one.job.lease !== undefined) one.job.lease = one
            }
            return inner.extend(deliveries)
          })
      }))
  },
  "settlement of a stale delivery accepted": {
    shows: ["StaleSettle"],
    within: 200,
    atBroker: (transport) =>
      withSubscription(transport, (inner) => ({
        settle: (all) =>
          Effect.suspend(() => {
            for (const { delivery } of all) {
              if (delivery instanceof HandOut && delivery.job.lease !== undefined) delivery.job.lease = delivery
            }
            return inner.settle(all)
          })
      }))
  },
  "successor sent twice": {
    shows: ["JobOverlap"],
    within: 20,
    atBroker: (transport, { random, recorder }) => {
      let copies = 0
      const inner = unaliased(transport, recorder)
      return withSubscription(inner, (subscription) => ({
        settle: (all) =>
          Effect.tap(
            subscription.settle(all),
            (answers) =>
              Effect.forEach(all, (one, i) =>
                one._tag === "Forward" && answers[i] === "settled" && random.chance(0.2)
                  ? transport.log.send([alias(one.successor, copies++)])
                  : Effect.void)
          )
      }))
    }
  },
  "key released on retry": {
    shows: ["KeyOrder"],
    within: 20,
    atBroker: (transport) =>
      withSubscription(transport, (inner) => ({
        settle: (all) =>
          Effect.tap(
            inner.settle(mapSettlements(all, (one) =>
              one._tag === "Forward" && one.successor.key !== undefined
                ? { _tag: "Drop", delivery: one.delivery }
                : one)),
            (answers) =>
              Effect.forEach(all, (one, i) =>
                one._tag === "Forward" && one.successor.key !== undefined && answers[i] === "settled"
                  ? transport.log.send([one.successor])
                  : Effect.void)
          )
      }))
  },
  "keys ignored": {
    shows: ["KeyOverlap"],
    within: 20,
    atBroker: (transport) =>
      withLog(
        changingSettlements(transport, (one) =>
          one._tag === "Forward" ? { ...one, successor: { ...one.successor, key: undefined } } : one),
        (log) => ({
          send: ([first, ...others]) =>
            log.send([{ ...first, key: undefined }, ...others.map((one) => ({ ...one, key: undefined }))])
        })
      )
  },
  "due time ignored on retry": {
    shows: ["EarlyStart"],
    within: 20,
    atBroker: (transport) =>
      changingSettlements(
        transport,
        (one) =>
          one._tag === "Forward" && isCounted(one) ? { ...one, successor: { ...one.successor, due: undefined } } : one
      )
  },
  "record overwritten by a later one": {
    shows: ["RecordChanged", "WrongCancelAnswer"],
    within: 200,
    atBroker: (transport) => {
      const later = new Map<string, JobRecord.JobRecord>()
      const wrapped = withSubscription(transport, (inner) => ({
        settle: (all) =>
          Effect.tap(inner.settle(all), (answers) =>
            Effect.sync(() => {
              all.forEach((one, i) => {
                if ((one._tag === "Ack" || one._tag === "Bury") && answers[i] === "superseded") {
                  later.set(`${one.record.queue} ${one.record.id}`, one.record)
                }
              })
            }))
      }))
      return withRecords(wrapped, (queue, id, record) => later.get(`${queue} ${id}`) ?? record)
    }
  },
  "record forgotten early": {
    shows: ["RecordChanged"],
    within: 20,
    atBroker: (transport, { broker }) =>
      withRecords(transport, (_queue, _id, record) => broker.wallClock > record.finishedAt + 5_000 ? undefined : record)
  },
  "hand-back loses the job": {
    shows: ["Loss"],
    within: 20,
    atBroker: (transport) =>
      changingSettlements(transport, (one) => isReturn(one) ? { _tag: "Drop", delivery: one.delivery } : one)
  },
  "lost lease never noticed": {
    shows: ["Unfinished"],
    within: 20,
    atBroker: (transport, { broker }) =>
      withSubscription(transport, (inner) => {
        const held = new Set<Delivery>()
        const keep: Effect.Effect<void> = Effect.suspend(() => {
          const [first, ...others] = held
          const renewed = first === undefined ? Effect.void : Effect.ignore(inner.extend([first, ...others]))
          return Effect.andThen(Effect.andThen(renewed, Effect.sleep(300)), keep)
        })
        broker.fork(keep)
        return {
          pull: (max) =>
            Effect.tap(inner.pull(max), (deliveries) =>
              Effect.sync(() => {
                for (const delivery of deliveries) held.add(delivery)
              })),
          settle: (all) =>
            Effect.suspend(() => {
              for (const { delivery } of all) held.delete(delivery)
              return inner.settle(all)
            })
        }
      })
  },
  "heartbeats ignored": {
    shows: ["LostLease"],
    within: 40,
    atBroker: (transport) => withSubscription(transport, () => ({ extend: (deliveries) => Effect.succeed(deliveries) }))
  },
  "same job handed out twice to one worker": {
    shows: ["JobOverlap"],
    within: 40,
    atBroker: (transport, { random }) =>
      withSubscription(transport, (inner) => {
        let last: Delivery | undefined
        return {
          pull: (max) =>
            Effect.map(inner.pull(max), ([first, ...others]) => {
              const again = last !== undefined && last instanceof HandOut && last.current && random.chance(0.3)
                ? [last]
                : []
              last = first
              return [first, ...others, ...again]
            })
        }
      })
  },
  "cancel answered before it is done": {
    shows: ["StartAfterCancel", "WrongCancelAnswer"],
    within: 100,
    atBroker: (transport, { broker }) =>
      withLog(transport, (log) => ({
        withdraw: (queue, all) =>
          Effect.sync(() => {
            broker.fork(Effect.andThen(Effect.sleep(500), log.withdraw(queue, all)))
            return all
          })
      }))
  },
  "rescheduling that comes after the answer": {
    shows: ["EarlyStart", "StartAfterCancel", "WrongCancelAnswer"],
    within: 100,
    atBroker: (transport, { broker }) =>
      withLog(transport, (log) => ({
        revise: (queue, all) =>
          Effect.sync(() => {
            broker.fork(Effect.andThen(Effect.sleep(300), log.revise(queue, all)))
            return all.map(() => "done" as const)
          })
      }))
  },
  "expiry ignored": {
    shows: ["StartAfterExpiry"],
    within: 20,
    atBroker: (transport, { recorder }) =>
      changingDeliveries(transport, recorder, ({ envelope }) => ({ envelope: { ...envelope, expiresAt: undefined } }))
  },
  "hand-outs not counted": {
    shows: ["TooManyDeliveries", "Unfinished"],
    within: 60,
    atBroker: (transport, { recorder }) => changingDeliveries(transport, recorder, () => ({ deliveries: 1 }))
  },
  "enqueue answered before it is stored": {
    shows: ["Loss"],
    within: 20,
    atBroker: (transport, { random }) =>
      withLog(transport, (log) => ({
        send: ([first, ...others]) =>
          Effect.map(
            Effect.forEach([first, ...others], (envelope) =>
              random.chance(0.02)
                ? Effect.succeed("sent" as const)
                : Effect.map(log.send([envelope]), ([answer]) => answer!)),
            (answers) => answers
          )
      }))
  },
  "delay counted from the enqueue, not from the broker's clock": {
    shows: ["EarlyStart"],
    within: 20,
    atBroker: (transport, { random }) =>
      withLog(transport, (log) => ({
        send: ([first, ...others]) => {
          // the clock of the host that sends is wrong
          const wrong = random.int(-2_000, 2_000)
          const change = (envelope: Envelope): Envelope =>
            envelope.due?._tag === "After"
              ? { ...envelope, due: { _tag: "At", at: envelope.enqueuedAt + envelope.due.after + wrong } }
              : envelope
          return log.send([change(first), ...others.map(change)])
        }
      }))
  }
}

/** Wrappers that change nothing: what they are accused of, the bugs would be accused of, too. */
export const harmless: Readonly<Record<string, Plant>> = {
  "other deliveries": { atBroker: (transport, { recorder }) => unaliased(transport, recorder) },
  "same settlements": { atBroker: (transport) => changingSettlements(transport, (one) => one) },
  "same records": { atBroker: (transport) => withRecords(transport, (_queue, _id, record) => record) },
  "slow settlements": {
    atWorker: (transport) =>
      withSubscription(transport, (inner) => ({
        settle: (all) => Effect.andThen(Effect.sleep(5), inner.settle(all))
      }))
  }
}
