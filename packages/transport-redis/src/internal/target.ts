/**
 * Where Redis is, as users say it.
 */
import type { TransportError } from "@troupe/core/TransportError"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Cluster, ClusterOptions, Redis, RedisOptions } from "ioredis"
import * as Errors from "./errors.ts"

export interface Settings {
  /** Options of ioredis for the connections to Redis: `tls`, `username`, `password`, `family`, … */
  readonly options?: RedisOptions | undefined
  /** What all keys and channels begin with; no braces. Default: `troupe`. */
  readonly prefix?: string | undefined
  /** How long an operation waits for Redis before it fails with `Unavailable`. Default: 10 seconds. */
  readonly patience?: Duration.Input | undefined
  /**
   * How many replicas must have a job before it counts as enqueued: then it survives the loss of the master. With too
   * few of them `enqueue` fails with `Unavailable`, and the job may exist nevertheless. Default: 0.
   */
  readonly replicas?: number | undefined
  /** What to do on a server that may evict keys. Default: `refuse`. */
  readonly onEviction?: "refuse" | "warn" | undefined
}

/** One server. */
export interface SingleOptions extends Settings {
  /**
   * `redis://user:password@host:port/db`, `rediss://…` for TLS. `options.path` names a unix socket instead.
   * Default: `redis://localhost:6379/0`.
   */
  readonly url?: string | undefined
  readonly nodes?: undefined
  readonly sentinels?: undefined
  readonly client?: undefined
}

/** A Redis Cluster. */
export interface ClusterTransportOptions extends Settings {
  /**
   * Some of its servers; they name the others. `host:port`, or a URL whose user, password and TLS then count for all
   * servers. A cluster has database 0 only.
   */
  readonly nodes: ReadonlyArray<string | Address>
  /** Other addresses for those that the servers name, as in ioredis: `"10.0.0.1:6379"` → host and port. */
  readonly natMap?: ClusterOptions["natMap"]
  readonly url?: undefined
  readonly sentinels?: undefined
  readonly client?: undefined
}

/** A server that Sentinels watch, and that a replica takes over from. */
export interface SentinelOptions extends Settings {
  /** Some of the Sentinels; they name the others. `host:port`; the port is 26379 unless it is given. */
  readonly sentinels: ReadonlyArray<string | Address>
  /** What they call the master. */
  readonly name: string
  /** For the Sentinels alone: `options` has what the servers want. Default: none. */
  readonly sentinelUsername?: string | undefined
  readonly sentinelPassword?: string | undefined
  /** TLS to the Sentinels; `options.tls` is for the servers. Default: none. */
  readonly sentinelTls?: RedisOptions["tls"]
  readonly url?: undefined
  readonly nodes?: undefined
  readonly client?: undefined
}

/** Whatever an ioredis client of the application talks to. */
export interface ClientOptions extends Omit<Settings, "options"> {
  /** A `Redis` or a `Cluster`. It is neither used nor closed: the transport opens connections with its settings. */
  readonly client: Redis | Cluster
  readonly options?: undefined
  readonly url?: undefined
  readonly nodes?: undefined
  readonly sentinels?: undefined
}

/** Where Redis is, in one of four ways, and how to use it. */
export type RedisTransportOptions = SingleOptions | ClusterTransportOptions | SentinelOptions | ClientOptions

export interface Address {
  readonly host: string
  readonly port: number
}

export type NatMap = Exclude<ClusterOptions["natMap"], undefined>

export type Target =
  | { readonly _tag: "Single"; readonly url: string | undefined; readonly options: RedisOptions }
  | { readonly _tag: "Client"; readonly client: Redis }
  | {
    readonly _tag: "Cluster"
    readonly seeds: ReadonlyArray<Address>
    readonly options: RedisOptions
    readonly natMap: NatMap | undefined
  }

/** `undefined` for what is none. */
const parse = (text: string, defaultPort: number): (Address & { readonly url: URL }) | undefined => {
  const full = text.includes("://") ? text : `redis://${text}`
  if (!URL.canParse(full)) return undefined
  const url = new URL(full)
  if ((url.protocol !== "redis:" && url.protocol !== "rediss:") || url.hostname === "") return undefined
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  return { host, port: url.port === "" ? defaultPort : Number(url.port), url }
}

/** What the user, password and protocol of a URL come to. */
const fromUrl = (url: URL): RedisOptions => ({
  ...(url.username === "" ? {} : { username: decodeURIComponent(url.username) }),
  ...(url.password === "" ? {} : { password: decodeURIComponent(url.password) }),
  ...(url.protocol === "rediss:" ? { tls: {} } : {})
})

const wrong = (description: string) => Effect.fail(Errors.refused("to start", description))

const addresses = (
  given: ReadonlyArray<string | Address>,
  defaultPort: number,
  what: string
): Effect.Effect<ReadonlyArray<Address & { readonly url?: URL }>, TransportError> =>
  given.length === 0
    ? wrong(`\`${what}\` is empty: name at least one`)
    : Effect.forEach(given, (one) => {
      if (typeof one !== "string") return Effect.succeed({ host: one.host, port: one.port })
      const address = parse(one, defaultPort)
      // what stands before an @ may be a password
      return address === undefined
        ? wrong(`\`${what}\` has "${one.replace(/^.*@/, "…@")}", which is not host:port`)
        : Effect.succeed(address)
    })

const cluster = Effect.fnUntraced(function*(
  { natMap, nodes, options = {} }: ClusterTransportOptions
): Effect.fn.Return<Target, TransportError> {
  const seeds = yield* addresses(nodes, 6379, "nodes")
  const url = seeds.find((seed) => seed.url !== undefined)?.url
  const all = { ...(url === undefined ? {} : fromUrl(url)), ...options }
  const database = url !== undefined && url.pathname.length > 1 ? url.pathname.slice(1) : String(all.db ?? 0)
  if (database !== "0") return yield* wrong(`a cluster has database 0 only, not ${database}`)
  return { _tag: "Cluster", seeds, options: all, natMap: natMap ?? undefined }
})

const sentinel = Effect.fnUntraced(function*(given: SentinelOptions): Effect.fn.Return<Target, TransportError> {
  const { name, options = {}, sentinelPassword, sentinelTls, sentinelUsername } = given
  const found = yield* addresses(given.sentinels, 26_379, "sentinels")
  if (name === undefined || name === "") {
    return yield* wrong("`sentinels` needs the `name` by which they know the master")
  }
  return {
    _tag: "Single",
    url: undefined,
    options: {
      updateSentinels: true,
      ...options,
      ...(options.tls === undefined ? {} : { enableTLSForSentinelMode: true }),
      name,
      role: "master",
      sentinels: found.map(({ host, port }) => ({ host, port })),
      sentinelUsername,
      sentinelPassword,
      sentinelTLS: sentinelTls
    }
  }
})

/** Not `instanceof`: the application may have another copy of ioredis. */
const isCluster = (client: Redis | Cluster): client is Cluster => "isCluster" in client && client.isCluster === true

const ofClient = (client: Redis | Cluster): Effect.Effect<Target, TransportError> => {
  if (!isCluster(client)) return Effect.succeed({ _tag: "Client", client })
  const { natMap, redisOptions = {} } = client.options
  // where it began, which it does not tell otherwise, and whom it knows now
  const began: unknown = Reflect.get(client, "startupNodes")
  const seeds = [...(Array.isArray(began) ? began : []), ...client.nodes().map((node) => node.options)]
  return cluster({
    nodes: seeds.flatMap((seed: unknown): Array<string | Address> => {
      if (typeof seed === "string") return [seed]
      if (typeof seed === "number") return [{ host: "127.0.0.1", port: seed }]
      const { host = "127.0.0.1", port = 6379 } = seed as Partial<Address>
      return [{ host, port }]
    }),
    options: redisOptions,
    natMap
  })
}

const ways = ["url", "nodes", "sentinels", "client"] as const

/** Says what is wrong with options that name no place, or two. */
export const resolve = (given: RedisTransportOptions): Effect.Effect<Target, TransportError> => {
  const chosen = ways.filter((way) => given[way] !== undefined)
  if (chosen.length > 1) {
    return wrong(`${chosen.map((way) => `\`${way}\``).join(" and ")} exclude each other: say in one way where Redis is`)
  }
  if (given.prefix !== undefined && /[{}]/.test(given.prefix)) {
    return wrong("`prefix` has a brace: the slot of a key would no longer be the slot of its queue")
  }
  const { replicas = 0 } = given
  if (!Number.isInteger(replicas) || replicas < 0) return wrong(`\`replicas\` is ${replicas}: give a whole number`)
  if (given.client !== undefined) {
    if (given.options !== undefined) return wrong("`client` and `options` exclude each other: the client has options")
    return ofClient(given.client)
  }
  if (given.nodes !== undefined) return cluster(given)
  if (given.sentinels !== undefined) return sentinel(given)
  for (const key of ["name", "sentinelUsername", "sentinelPassword", "sentinelTls"]) {
    if (key in given && Reflect.get(given, key) !== undefined) return wrong(`\`${key}\` needs \`sentinels\``)
  }
  if ("natMap" in given && given.natMap !== undefined) return wrong("`natMap` needs `nodes`")
  return Effect.succeed({ _tag: "Single", url: given.url, options: given.options ?? {} })
}
