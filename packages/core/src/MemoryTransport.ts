/**
 * A broker inside of this process, with every guarantee of the real ones
 * except that nothing outlives the process.
 *
 * It runs on the Effect clock: under `TestClock` leases, delays and times to
 * live pass when the test says so. Whoever shares the layer shares the broker.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Broker from "./internal/memory/broker.ts"
import * as MemoryLog from "./internal/memory/log.ts"
import * as MemoryStore from "./internal/memory/store.ts"
import { type Capabilities, Transport } from "./Transport.ts"

const capabilities: Capabilities = {
  durability: "none",
  fencedSettle: true,
  keyedPriority: true,
  durableDeliveryCount: true,
  maxMessageBytes: undefined
}

/** Breaks the broker on purpose, to see how an application takes it. */
export class MemoryBroker extends Context.Service<MemoryBroker, {
  readonly crash: (consumer: string) => Effect.Effect<void>
  readonly stall: (duration: Duration.Input) => Effect.Effect<void>
}>()("@troupe/core/MemoryBroker") {}

/** A new broker per build of the layer. */
export const layer: Layer.Layer<Transport | MemoryBroker> = Layer.effectContext(
  Effect.map(Broker.make, (broker) =>
    Context.make(Transport, {
      name: "memory",
      capabilities,
      clock: broker.operation(() => Effect.succeed(broker.now())),
      log: MemoryLog.make(broker),
      store: MemoryStore.make(broker, new MemoryStore.Tables(broker)),
      bus: {
        publish: (topic, bytes) => broker.operation(() => Effect.sync(() => broker.topics.publish(topic, bytes))),
        subscribe: (prefix, onMessage) =>
          broker.operation(() =>
            Effect.asVoid(Effect.acquireRelease(
              Effect.sync(() => broker.topics.subscribe(prefix, onMessage)),
              (unsubscribe) => Effect.sync(unsubscribe)
            ))
          )
      }
    }).pipe(
      Context.add(MemoryBroker, {
        crash: (consumer) => Effect.sync(() => broker.crash(consumer)),
        stall: (duration) => Effect.sync(() => broker.stall(Duration.toMillis(duration)))
      })
    ))
)

/**
 * Cuts a worker off, like `kill -9`: its pulls never answer, its heartbeats
 * and settlements change nothing, its leases run out by themselves. The worker
 * itself is not told. Subscriptions that it opens later work.
 */
export const crash = (consumer: string): Effect.Effect<void, never, MemoryBroker> =>
  MemoryBroker.use((broker) => broker.crash(consumer))

/**
 * The broker answers nobody for this long; then everything that waited goes
 * on. Leases that ran out meanwhile get a third of their length, so that
 * heartbeats can arrive first.
 */
export const stall = (duration: Duration.Input): Effect.Effect<void, never, MemoryBroker> =>
  MemoryBroker.use((broker) => broker.stall(duration))
