/**
 * The brokers that the processes of the bank can share: a line for each.
 */
import type { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import type * as Layer from "effect/Layer"
import { startNats } from "../servers/nats.ts"
import { startRedis } from "../servers/redis.ts"

export interface Broker {
  readonly start: () => Promise<{ readonly url: string; readonly stop: () => Promise<void> }>
  readonly layer: (url: string) => Layer.Layer<Transport, TransportError>
}

export const brokers = {
  nats: { start: () => startNats(), layer: (url) => NatsTransport.layer({ servers: url }) },
  redis: { start: () => startRedis(), layer: (url) => RedisTransport.layer({ url }) }
} satisfies Record<string, Broker>

export type Name = keyof typeof brokers
