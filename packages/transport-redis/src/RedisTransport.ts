/**
 * Troupe on Redis Streams: a single server, Sentinel or a cluster, of version 6.2 or newer.
 *
 * The conformance suite of the transport seam runs on it; what survives a crash of Redis
 * itself is what its own persistence keeps. Redis must not evict keys.
 */
import { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import { RedisBus } from "./internal/bus.ts"
import { BrokerClock } from "./internal/clock.ts"
import { Hub } from "./internal/hub.ts"
import * as Keys from "./internal/keys.ts"
import * as Log from "./internal/log.ts"
import * as Startup from "./internal/startup.ts"
import { RedisStore } from "./internal/store.ts"
import * as Target from "./internal/target.ts"
import * as Topology from "./internal/topology.ts"

/** The rights that a Redis user needs: `ACL SETUSER troupe on >… ~troupe:* &troupe:* …acl`. */
export { acl } from "./internal/acl.ts"

export type {
  ClientOptions,
  ClusterTransportOptions,
  RedisTransportOptions,
  SentinelOptions,
  SingleOptions
} from "./internal/target.ts"

/** Redis takes more, but holds up everybody else for as long as it copies one. */
const maxMessageBytes = 64 * 1024 * 1024

/** Waits until Redis is up. Fails at once where waiting cannot help: credentials, an old server, an eviction policy. */
export const make = Effect.fnUntraced(function*(
  options: Target.RedisTransportOptions = {}
): Effect.fn.Return<Transport["Service"], TransportError, Scope> {
  const target = yield* Target.resolve(options)
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "10 seconds"))
  const topology = yield* Topology.open(target, patience, options.replicas ?? 0)
  const { isCluster, link } = topology
  const durability = yield* Startup.check(topology, options.onEviction ?? "refuse")
  const clock = new BrokerClock(link)
  yield* clock.measure
  yield* Effect.forkScoped(clock.following)
  link.start((wire) => {
    // another server, maybe
    link.fork(Effect.andThen(Startup.recheck(link.over(wire)), Effect.ignore(clock.measure)))
  })
  const subscriber = yield* topology.openSubscriber
  const hub = yield* Effect.acquireRelease(
    Effect.sync(() => new Hub(subscriber, link)),
    (hub) => Effect.sync(() => hub.close())
  )
  yield* Effect.forkScoped(hub.watching)
  const keys = Keys.make(options.prefix ?? "troupe")
  const bus = new RedisBus(link, hub, keys)
  yield* Effect.forkScoped(bus.registering)
  const writer = `${(yield* Random.nextInt).toString(36)}.${(yield* Random.nextInt).toString(36)}.`
  return {
    name: "redis",
    capabilities: {
      durability,
      fencedSettle: true,
      keyedPriority: true,
      durableDeliveryCount: true,
      maxMessageBytes
    },
    clock: Effect.sync(() => clock.now()),
    log: Log.make({
      maxMessageBytes,
      link,
      hub,
      keys,
      isCluster,
      openBlocking: topology.openBlocking
    }),
    store: new RedisStore(link, keys, writer),
    bus
  }
})

/** A transport of its own per build of the layer: two connections, and one per subscription. */
export const layer = (options: Target.RedisTransportOptions = {}): Layer.Layer<Transport, TransportError> =>
  Layer.effect(Transport, make(options))

const config = Config.all({
  troupe: Config.option(Config.NonEmptyString("TROUPE_REDIS_URL")),
  redis: Config.option(Config.NonEmptyString("REDIS_URL"))
})

/** Like `layer`, with the URL from `TROUPE_REDIS_URL`, then `REDIS_URL`, then `redis://localhost:6379/0`. */
export const layerConfig = (
  options: Omit<Target.SingleOptions, "url"> = {}
): Layer.Layer<Transport, TransportError | Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(config, ({ redis, troupe }) =>
      layer({ ...options, url: Option.getOrUndefined(Option.orElse(troupe, () => redis)) }))
  )
