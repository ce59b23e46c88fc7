/**
 * The transports between processes, and the servers that they need.
 */
import type { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import type * as Layer from "effect/Layer"
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
  redis: { layer: (url) => RedisTransport.layer({ url }), start: startRedis }
}
