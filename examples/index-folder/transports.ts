/**
 * The brokers that this program can use, by the name that `--transport` takes.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import type { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import type * as Config from "effect/Config"
import type * as Layer from "effect/Layer"
import type { Server } from "./server.ts"

export interface Broker {
  /** Reads the URL of the server from the environment. */
  readonly layer: Layer.Layer<Transport, TransportError | Config.ConfigError>
  /** `undefined`: the broker lives in this process. */
  readonly remote: {
    /** The environment variables that name a server, the one that wins first. */
    readonly variables: readonly [string, ...ReadonlyArray<string>]
    /** Started where nothing names a server. */
    readonly server: Server
  } | undefined
}

export const transports: ReadonlyMap<string, Broker> = new Map<string, Broker>([
  ["memory", { layer: MemoryTransport.layer, remote: undefined }],
  ["redis", {
    layer: RedisTransport.layerConfig(),
    remote: {
      variables: ["TROUPE_REDIS_URL", "REDIS_URL"],
      server: {
        command: "redis-server",
        install: "Install Redis 6.2 or newer (apt-get install redis-server, brew install redis)",
        args: (
          port,
          directory
        ) => ["--bind", "127.0.0.1", "--port", `${port}`, "--dir", directory, "--save", "", "--appendonly", "no"],
        url: (port) => `redis://127.0.0.1:${port}`
      }
    }
  }],
  ["nats", {
    layer: NatsTransport.layerConfig(),
    remote: {
      variables: ["TROUPE_NATS_URL", "NATS_URL"],
      server: {
        command: "nats-server",
        install: "Install NATS 2.9 or newer (apt-get install nats-server, brew install nats-server)",
        args: (port, directory) => ["-a", "127.0.0.1", "-p", `${port}`, "-js", "-sd", directory],
        url: (port) => `nats://127.0.0.1:${port}`
      }
    }
  }]
])
