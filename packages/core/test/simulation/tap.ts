/**
 * Where the recorder listens: at the broker's end of a connection, where
 * nothing is missed, and at the worker's, where some of it arrives.
 */
import * as Effect from "effect/Effect"
import { pauses } from "../../src/internal/pause.ts"
import type { Subscription } from "../../src/JobLog.ts"
import type { Collection } from "../../src/Store.ts"
import type { Recorder } from "./recorder.ts"
import { changingDeliveries, withLog, withSubscription, type Wrapped } from "./seam.ts"
import type { Process } from "./world.ts"

const isPauses = (collection: Collection): boolean =>
  collection.queue !== undefined && collection.name === pauses(collection.queue).name

/** The broker as the requests of one process reach it. */
export const atBroker = (inner: Wrapped, process: Process, recorder: Recorder): Wrapped => {
  const { health } = recorder
  const { world } = process
  const paused = (collection: Collection, paused: boolean) =>
    Effect.sync(() => {
      if (isPauses(collection)) health.paused(collection.queue!, paused)
    })
  const { store } = inner
  const stored: Wrapped = {
    ...inner,
    store: {
      ...store,
      put: (collection, key, value, options) =>
        Effect.tap(store.put(collection, key, value, options), () => {
          if (collection.name === "suspects") health.suspected(`${collection.queue}/${key}`)
          return paused(collection, true)
        }),
      remove: (collection, key, options) =>
        Effect.tap(store.remove(collection, key, options), () => paused(collection, false))
    }
  }
  return withLog(stored, (log) => ({
    send: (envelopes) =>
      Effect.tap(log.send(envelopes), (answers) =>
        Effect.sync(() => {
          envelopes.forEach((envelope, i) => {
            if (answers[i] === "sent") recorder.accept(envelope, false)
            else world.trace(process.name, `sends ${envelope.id}: ${String(answers[i])}`)
          })
        })),
    subscribe: (options) =>
      Effect.map(log.subscribe(options), (subscription) => subscriptionAtBroker(subscription, process, recorder)),
    withdraw: (queue, records) =>
      Effect.suspend(() => {
        for (const { id } of records) recorder.withdrawing(queue, id)
        return Effect.tap(log.withdraw(queue, records), (standing) =>
          Effect.sync(() => {
            records.forEach(({ id }, i) => recorder.withdrawn(process, queue, id, standing[i]!.state))
          }))
      }),
    revise: (queue, revisions) =>
      Effect.tap(log.revise(queue, revisions), (answers) =>
        Effect.sync(() => {
          revisions.forEach((revision, i) => recorder.revised(process, revision, answers[i]!))
        })),
    redrive: (queue, letters) =>
      Effect.tap(log.redrive(queue, letters), (answers) =>
        Effect.sync(() => {
          letters.forEach(({ as, id }, i) => {
            world.trace(process.name, `replays ${id}: ${answers[i]}`)
            if (as !== "drop" && answers[i] === "done") recorder.accept(as, true)
          })
        }))
  }))
}

const subscriptionAtBroker = (inner: Subscription, process: Process, recorder: Recorder): Subscription => ({
  pull: (max) =>
    Effect.suspend(() => {
      const { now } = process.world
      return Effect.tap(inner.pull(max), (deliveries) => Effect.sync(() => recorder.handOut(process, deliveries, now)))
    }),
  extend: inner.extend,
  settle: (settlements) =>
    Effect.suspend(() => {
      for (const { delivery } of settlements) recorder.beforeSettle(process, delivery)
      return Effect.tap(inner.settle(settlements), (answers) =>
        Effect.sync(() => {
          settlements.forEach((settlement, i) => recorder.afterSettle(process, settlement, answers[i]!))
        }))
    })
})

/**
 * What reaches a worker. Every hand-out gets a `headers` object of its own, the
 * same in content: a handler shows by it which hand-out it runs.
 */
export const atWorker = (inner: Wrapped, process: Process, recorder: Recorder): Wrapped => {
  const { world } = process
  const confirming = withSubscription(inner, (subscription) => ({
    pull: (max) =>
      Effect.tap(
        subscription.pull(max),
        (deliveries) => Effect.sync(() => recorder.confirm(process, deliveries, world.now))
      ),
    extend: (deliveries) =>
      Effect.suspend(() => {
        const { now } = world
        return Effect.tap(
          subscription.extend(deliveries),
          (ours) => Effect.sync(() => recorder.confirm(process, ours, now))
        )
      })
  }))
  return changingDeliveries(confirming, { stands: new WeakMap() }, (delivery) => {
    const headers = { ...delivery.envelope.headers }
    recorder.byHeaders.set(headers, delivery)
    return { envelope: { ...delivery.envelope, headers } }
  })
}
