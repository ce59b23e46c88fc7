/**
 * The broker: `TROUPE_TRANSPORT` alone says which. Nothing else in this service
 * depends on it.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Signing from "@troupe/core/Signing"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"

const transports = {
  memory: MemoryTransport.layer,
  // `TROUPE_REDIS_URL`, …
  redis: RedisTransport.layerConfig(),
  // `TROUPE_NATS_URL`, …
  nats: NatsTransport.layerConfig()
}

const Chosen = Config.Literals(["memory", "redis", "nats"], "TROUPE_TRANSPORT").pipe(Config.withDefault("memory"))

const TransportLive = Layer.unwrap(Effect.map(Chosen, (name) => transports[name]))

/** Jobs and results are signed with the keys of `TROUPE_SIGNING_KEYS`. One process needs no keys that others know. */
const SigningLive = Layer.unwrap(Effect.gen(function*() {
  const isNamed = (yield* Config.option(Config.Redacted("TROUPE_SIGNING_KEYS")))._tag === "Some"
  if (isNamed || (yield* Chosen) !== "memory") return Signing.layerConfig
  return Signing.layerHmac({ keys: [{ id: "once", secret: yield* Signing.generateKey }] })
}))

export const BrokerLive = Layer.merge(TransportLive, SigningLive)

class NotShared extends Schema.TaggedError<NotShared>()("NotShared", {}) {
  override get message() {
    return "TROUPE_TRANSPORT is memory, which lives in one process: start all.ts, or choose redis or nats"
  }
}

/** For a process that is one of several: a broker in memory would serve this one alone. */
export const SharedBrokerLive = Layer.unwrap(
  Effect.flatMap(Chosen, (name) => name === "memory" ? Effect.fail(new NotShared()) : Effect.succeed(BrokerLive))
)
