/**
 * The transports between processes, and the servers that they need.
 */
import type { Transport } from "@troupe/core/Transport"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import type * as Layer from "effect/Layer"
import { startNats } from "../servers/nats.ts"
import { startRedis } from "../servers/redis.ts"

interface Server {
  readonly url: string
  readonly stop: () => Promise<void>
}

interface Remote {
  readonly layer: (url: string) => Layer.Layer<Transport, unknown>
  readonly start: () => Promise<Server>
}

export const remotes: Readonly<Record<string, Remote>> = {
  redis: { layer: (url) => RedisTransport.layer({ url }), start: startRedis },
  nats: { layer: (url) => NatsTransport.layer({ servers: url }), start: startNats }
}
