/**
 * Troupe on Redis Streams, on a single server of version 6.2 or newer.
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
import type { Redis, RedisOptions } from "ioredis"
import { RedisBus } from "./internal/bus.ts"
import { BrokerClock } from "./internal/clock.ts"
import * as Connect from "./internal/connect.ts"
import { Hub } from "./internal/hub.ts"
import * as Keys from "./internal/keys.ts"
import * as Link from "./internal/link.ts"
import * as Log from "./internal/log.ts"
import * as Startup from "./internal/startup.ts"
import { RedisStore } from "./internal/store.ts"

/** The rights that a Redis user needs: `ACL SETUSER troupe on >… ~troupe:* &troupe:* …acl`. */
export { acl } from "./internal/acl.ts"

export interface RedisTransportOptions {
  /** `redis://user:password@host:port/db`, `rediss://…` for TLS. Default: `redis://localhost:6379/0`. */
  readonly url?: string | undefined
  /** Options of ioredis: `path` of a unix socket, `tls`, `username`, `password`, `db`, … */
  readonly options?: RedisOptions | undefined
  /** A client to copy. It is not used itself, nor closed: the transport opens connections like it. */
  readonly client?: Redis | undefined
  /** What all keys and channels begin with; no braces. Default: `troupe`. */
  readonly prefix?: string | undefined
  /** How long an operation waits for Redis before it fails with `Unavailable`. Default: 10 seconds. */
  readonly patience?: Duration.Input | undefined
  /** What to do on a server that may evict keys. Default: `refuse`. */
  readonly onEviction?: "refuse" | "warn" | undefined
}

/** Redis takes more, but holds up everybody else for as long as it copies one. */
const maxMessageBytes = 64 * 1024 * 1024

const target = (options: RedisTransportOptions): Connect.Target =>
  options.client !== undefined
    ? { _tag: "Client", client: options.client }
    : { _tag: "Single", url: options.url, options: options.options ?? {} }

/** Opens a connection that is closed with the scope. */
const connect = (where: Connect.Target, name: string): Effect.Effect<Redis, TransportError, Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => Connect.open(where, name)),
    (redis) => Effect.sync(() => redis.disconnect())
  ).pipe(Effect.tap((redis) => Connect.whenReady(redis, name)))

/** Waits until Redis is up. Fails at once where waiting cannot help: credentials, an old server, an eviction policy. */
export const make = Effect.fnUntraced(function*(
  options: RedisTransportOptions = {}
): Effect.fn.Return<Transport["Service"], TransportError, Scope> {
  const where = target(options)
  const patience = Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "10 seconds"))
  const redis = yield* connect(where, "command")
  const link = yield* Link.make({ redis, name: "command", patience })
  const server = yield* Startup.check(link, options.onEviction ?? "refuse")
  const clock = new BrokerClock(link)
  yield* clock.measure
  yield* Effect.forkScoped(clock.following)
  const subscriber = yield* connect(where, "subscriber")
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
      durability: server.durability,
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
      isCluster: false,
      openBlocking: () => connect(where, "blocking")
    }),
    store: new RedisStore(link, keys, writer),
    bus
  }
})

/** A transport of its own per build of the layer: two connections, and one per subscription. */
export const layer = (options: RedisTransportOptions = {}): Layer.Layer<Transport, TransportError> =>
  Layer.effect(Transport, make(options))

const config = Config.all({
  troupe: Config.option(Config.NonEmptyString("TROUPE_REDIS_URL")),
  redis: Config.option(Config.NonEmptyString("REDIS_URL"))
})

/** Like `layer`, with the URL from `TROUPE_REDIS_URL`, then `REDIS_URL`, then `redis://localhost:6379/0`. */
export const layerConfig = (
  options: Omit<RedisTransportOptions, "url"> = {}
): Layer.Layer<Transport, TransportError | Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(config, ({ redis, troupe }) =>
      layer({ ...options, url: Option.getOrUndefined(Option.orElse(troupe, () => redis)) }))
  )
