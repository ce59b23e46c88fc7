/**
 * Opens connections and waits until they are up.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import { AbstractConnector, Redis, type RedisOptions } from "ioredis"
import { createConnection, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import * as Errors from "./errors.ts"
import type { Address, Target } from "./target.ts"

/** Unless the user says otherwise. */
const defaults: RedisOptions = {
  // ms until a server, or a Sentinel, that does not answer is given up
  connectTimeout: 5_000,
  sentinelCommandTimeout: 2_000
}

/** What every connection of ours is opened with, whatever the user says. */
const ours: RedisOptions & { replyMapping: "legacy" } = {
  // scripts and streams answer in the shapes of protocol 2
  protocol: 2,
  replyMapping: "legacy",
  stringNumbers: false,
  // the link repeats by itself, and only what may be repeated
  autoResendUnfulfilledCommands: false,
  enableOfflineQueue: false,
  maxRetriesPerRequest: null,
  reconnectOnError: null,
  enableAutoPipelining: false,
  lazyConnect: true,
  // blocking reads are meant to take long, and links watch over themselves
  commandTimeout: undefined,
  socketTimeout: undefined,
  // the hub subscribes again by itself
  autoResubscribe: false,
  // it tells whether a server loads its data, and which role it plays
  enableReadyCheck: true,
  readOnly: false,
  monitor: false,
  keyPrefix: "",
  // needs a right that 7.0 does not know
  disableClientInfo: true,
  // whoever leaves a silent or demoted peer must not hear it any more
  disconnectTimeout: 1
}

/** From 0 to 1. */
export type Random = () => number

/** Pauses between tries, ms: they grow to a second, and differ, since a server that comes back meets everybody at once. */
const pauses = (random: Random): Pick<RedisOptions, "retryStrategy"> => ({
  retryStrategy: (times) => Math.ceil(Math.min(1_000, 25 * 2 ** Math.min(times, 6)) * (1 - random() / 2))
})

const silenced = (redis: Redis): Redis => {
  // without a listener ioredis prints errors: the link reports what matters
  redis.on("error", () => {})
  return redis
}

type Followed = Exclude<Target, { readonly _tag: "Cluster" }>

/** Whether Sentinels say where the server is. */
export const hasSentinels = (target: Followed): boolean =>
  (target._tag === "Client" ? target.client.options : target.options).sentinels != null

/** `follows`: it also listens to the Sentinels, and leaves at once when they name another master. */
export const open = (target: Followed, name: string, random: Random, follows = false): Redis => {
  const options: RedisOptions & { replyMapping: "legacy" } = {
    ...ours,
    ...pauses(random),
    connectionName: `troupe-${name}`,
    failoverDetector: follows && hasSentinels(target),
    // ms until it listens again to a Sentinel that was away
    sentinelReconnectStrategy: () => 5_000
  }
  if (target._tag === "Client") return silenced(target.client.duplicate(options))
  const all = { ...defaults, ...target.options, ...options }
  return silenced(target.url === undefined ? new Redis(all) : new Redis(target.url, all))
}

/** To one server of a cluster. */
export const openAt = ({ host, port }: Address, options: RedisOptions, name: string, random: Random): Redis =>
  silenced(
    new Redis({ ...defaults, ...options, ...ours, ...pauses(random), connectionName: `troupe-${name}`, host, port })
  )

/** A connection that goes where it should each time that it is opened. */
export interface Roaming {
  readonly redis: Redis
  /** Where it is, or is going. */
  readonly address: () => Address | undefined
}

/** Asks for an address each time that it connects. */
export const openRoaming = (next: () => Address, options: RedisOptions, name: string, random: Random): Roaming => {
  let address: Address | undefined
  class RoamingConnector extends AbstractConnector {
    constructor() {
      super(ours.disconnectTimeout ?? 0)
    }

    // ioredis awaits it: what it throws is an error of the connection
    async connect(): Promise<Socket> {
      const { host, port } = address = next()
      const to = { host, port, ...(options.family === undefined ? {} : { family: options.family }) }
      const stream = options.tls === undefined ? createConnection(to) : connectTls({ ...to, ...options.tls })
      stream.once("error", (error) => {
        this.firstError = error
      })
      this.connecting = true
      this.stream = stream
      return stream
    }
  }
  const redis = new Redis({
    ...defaults,
    ...options,
    ...ours,
    ...pauses(random),
    connectionName: `troupe-${name}`,
    Connector: RoamingConnector
  })
  return { redis: silenced(redis), address: () => address }
}

/** Waits until the connection is up. Fails only where waiting cannot help. */
export const whenReady = (redis: Redis, name: string): Effect.Effect<void, TransportError> =>
  Effect.callback<void, TransportError>((resume) => {
    if (redis.status === "ready") return resume(Effect.void)
    const onReady = () => {
      stop()
      resume(Effect.void)
    }
    const onError = (error: Error) => {
      const hopeless = Errors.hopeless(error)
      if (hopeless === undefined) return
      stop()
      redis.disconnect()
      resume(Effect.fail(Errors.refused(`the ${name} connection`, hopeless, error)))
    }
    const stop = () => {
      redis.off("ready", onReady)
      redis.off("error", onError)
    }
    redis.on("ready", onReady)
    redis.on("error", onError)
    if (redis.status === "wait") redis.connect().catch(() => {})
    return Effect.sync(stop)
  })
