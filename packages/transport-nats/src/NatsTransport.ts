/**
 * Troupe on NATS JetStream, server 2.9 or newer.
 *
 * Every promise of the transport seam holds, but two that JetStream cannot keep:
 * it honours heartbeats and acknowledgements of a lost lease (the row of the job
 * decides instead, see `fencedSettle`), and a crash of the server may forget
 * delivery counts and the last acknowledgements (then a job is looked at before
 * it is handed out again).
 */
import type { NodeConnectionOptions } from "@nats-io/transport-node"
import { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type { Scope } from "effect/Scope"
import * as Connect from "./internal/connect.ts"
import * as Errors from "./internal/errors.ts"
import * as JetStream from "./internal/jetstream.ts"
import * as Link from "./internal/link.ts"
import { Queues, tableConfig } from "./internal/queues.ts"
import * as Startup from "./internal/startup.ts"
import type { Streams } from "./internal/streams.ts"
import * as TransportOverPort from "./internal/transport.ts"

/** The rights that a NATS user needs, by role. */
export type { Credentials } from "./internal/connect.ts"
export { type PermissionOptions, type Permissions, permissions, type Role } from "./internal/permissions.ts"

export interface NatsTransportOptions {
  /** `nats://user:password@host:port`, `tls://…`; several of one cluster. Default: `nats://localhost:4222`. */
  readonly servers?: string | ReadonlyArray<string> | undefined
  /** How to sign in, unless the URL says so. */
  readonly credentials?: Connect.Credentials | undefined
  /** More options of the client: `tls`, `name`, `inboxPrefix`, … */
  readonly options?: NodeConnectionOptions | undefined
  /** What all streams and subjects begin with: letters, digits, `-` and `_`. Default: `troupe`. */
  readonly namespace?: string | undefined
  /** Copies of every stream. Above 1 the server has to be 2.10.20 or newer. Default: 1. */
  readonly replicas?: number | undefined
  /** `allow`: use replicas on an older server, whose compare-and-set may let two writers win. Default: `refuse`. */
  readonly onOldCluster?: "refuse" | "allow" | undefined
  /** Create no streams: somebody else has, see `provision`. Default: false. */
  readonly bindOnly?: boolean | undefined
  /** Jobs that a queue holds at most, waiting for a worker or running; above it `enqueue` fails with `QueueFull`. */
  readonly maxMessages?: number | undefined
  /** Their bytes. */
  readonly maxBytes?: number | undefined
  /** How long an operation waits for NATS before it fails with `Unavailable`. Default: 10 seconds, at most 20. */
  readonly patience?: Duration.Input | undefined
}

const defaultServer = "nats://localhost:4222"
const defaultNamespace = "troupe"

/** JetStream over a connection of its own. */
const open = Effect.fnUntraced(function*(
  options: NatsTransportOptions
): Effect.fn.Return<Streams, TransportError, Scope> {
  const { bindOnly = false, namespace = defaultNamespace, replicas = 1 } = options
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(namespace)) {
    return yield* Errors.refused("to start", `namespace "${namespace}" must be letters, digits, "-" and "_"`)
  }
  const servers = options.servers === undefined || options.servers.length === 0 ? defaultServer : options.servers
  const connection = yield* Connect.connect({
    servers: typeof servers === "string" ? servers.split(",").map((one) => one.trim()) : servers,
    credentials: options.credentials,
    options: options.options ?? {}
  })
  yield* Startup.check(connection, { replicas, onOldCluster: options.onOldCluster ?? "refuse" })
  // a message that is published again must still be known
  const patience = Math.min(20_000, Duration.toMillis(Duration.fromInputUnsafe(options.patience ?? "10 seconds")))
  const link = yield* Link.make({ connection, inboxPrefix: options.options?.inboxPrefix, patience })
  return JetStream.make(link, { replicas, bindOnly })
})

/** Waits until NATS is up. Fails at once where waiting cannot help: credentials, rights, an old server. */
export const make = Effect.fnUntraced(function*(
  options: NatsTransportOptions = {}
): Effect.fn.Return<Transport["Service"], TransportError, Scope> {
  const { maxBytes, maxMessages, namespace = defaultNamespace, replicas = 1 } = options
  return yield* TransportOverPort.make(yield* open(options), {
    namespace,
    // the server does not wait for the disk
    durability: replicas > 1 ? "quorum" : "process",
    maxMessages,
    maxBytes
  })
})

/** Creates the streams of these queues, for applications that may not (`bindOnly`). What is there stays as it is. */
export const provision = (
  queues: ReadonlyArray<string>,
  options: NatsTransportOptions = {}
): Effect.Effect<void, TransportError> =>
  Effect.scoped(Effect.gen(function*() {
    const { maxBytes, maxMessages, namespace = defaultNamespace } = options
    const streams = yield* open({ ...options, bindOnly: false })
    yield* streams.ensureStream(tableConfig(namespace))
    const all = new Queues(streams, namespace, { maxBytes, maxMessages })
    yield* Effect.forEach(queues, (queue) => all.ensure(queue), { discard: true })
  }))

/** A transport of its own per build of the layer, with one connection. */
export const layer = (options: NatsTransportOptions = {}): Layer.Layer<Transport, TransportError> =>
  Layer.effect(Transport, make(options))

const config = Config.all({
  troupe: Config.option(Config.NonEmptyString("TROUPE_NATS_URL")),
  nats: Config.option(Config.NonEmptyString("NATS_URL"))
})

/**
 * Like `layer`, with the servers from `TROUPE_NATS_URL`, then `NATS_URL`, then
 * `nats://localhost:4222`. Several are separated by commas.
 */
export const layerConfig = (
  options: Omit<NatsTransportOptions, "servers"> = {}
): Layer.Layer<Transport, TransportError | Config.ConfigError> =>
  Layer.unwrap(
    Effect.map(config, ({ nats, troupe }) =>
      layer({ ...options, servers: Option.getOrUndefined(Option.orElse(troupe, () => nats)) }))
  )
