/**
 * What must hold before the first job: masters that are new enough and never
 * evict keys.
 */
import type { Capabilities } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { Link } from "./link.ts"
import type { Topology } from "./topology.ts"

/** The oldest Redis with everything that the scripts call. */
const oldest = [6, 2] as const

type Durability = Capabilities["durability"]

/** From the weakest to the strongest. */
const durabilities: ReadonlyArray<Durability> = ["none", "process", "disk", "quorum"]

/** ms between two looks at a replica that may become a master. */
const promotionEvery = 250

const parse = (info: string): ReadonlyMap<string, string> => {
  const fields = new Map<string, string>()
  for (const line of info.split(/\r?\n/)) {
    const colon = line.indexOf(":")
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1))
  }
  return fields
}

const isTooOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major < oldest[0] || (major === oldest[0] && minor < oldest[1])
}

const request = { queue: "", repeatable: true }

const readInfo = (link: Link) =>
  link.call({ ...request, operation: "INFO", command: "info", args: [] }, (reply) => parse(String(reply)))

type Info = ReadonlyMap<string, string>

const evicting = (info: Info): string | undefined => {
  const policy = info.get("maxmemory_policy") ?? "noeviction"
  return policy === "noeviction"
    ? undefined
    : `maxmemory-policy is "${policy}", so Redis may delete jobs: set it to "noeviction"`
}

/** What is wrong with where the options lead; `undefined` if nothing is. */
const misplaced = (info: Info, isCluster: boolean): string | undefined => {
  if (info.get("redis_mode") === "sentinel") return "the server is a Sentinel: give `sentinels` and `name`"
  if (!isCluster && info.get("cluster_enabled") === "1") return "the server is part of a cluster: give `nodes`"
  return undefined
}

/** A replica answers like the master that it may become: what it says of itself does not count. */
const readMaster = Effect.fnUntraced(function*(link: Link): Effect.fn.Return<Info, TransportError> {
  const begun = link.now()
  let info = yield* readInfo(link)
  if (info.get("role") !== "slave") return info
  yield* Effect.logWarning("The server is a replica, waiting until it is a master")
  while (info.get("role") === "slave") {
    if (link.now() - begun >= link.patience) {
      return yield* Errors.refused("to start", "the server is a replica, and jobs are written: name its master")
    }
    yield* Effect.sleep(promotionEvery)
    info = yield* readInfo(link)
  }
  return info
})

const checkOne = Effect.fnUntraced(function*(
  link: Link,
  isCluster: boolean,
  onEviction: "refuse" | "warn"
): Effect.fn.Return<Durability, TransportError> {
  // a cluster sends away whoever asks a replica
  const info = yield* isCluster ? readInfo(link) : readMaster(link)
  const place = misplaced(info, isCluster)
  if (place !== undefined) return yield* Errors.refused("to start", place)
  const version = info.get("redis_version") ?? "unknown"
  if (isTooOld(version)) {
    const description = `the server is Redis ${version}, but ${oldest.join(".")} or newer is needed`
    return yield* Errors.refused("to start", description)
  }
  const eviction = evicting(info)
  if (eviction !== undefined) {
    if (onEviction === "refuse") return yield* Errors.refused("to start", eviction)
    yield* Effect.logWarning(`Redis may lose jobs: ${eviction}`)
  }
  if (info.get("aof_enabled") !== "1") return "none"
  // not every server tells: then the weaker promise
  const fsync = yield* link.call(
    { ...request, operation: "CONFIG GET", command: "config", args: ["GET", "appendfsync"] },
    (reply) => Array.isArray(reply) ? String(reply[1]) : ""
  ).pipe(Effect.catch(() => Effect.succeed("")))
  return fsync === "always" ? "disk" : "process"
})

/** Reads INFO of every master, and CONFIG where that is allowed. Answers the weakest durability. */
export const check = Effect.fnUntraced(function*(
  { isCluster, masters }: Topology,
  onEviction: "refuse" | "warn"
): Effect.fn.Return<Durability, TransportError> {
  const found = yield* Effect.forEach(
    masters(),
    (link) =>
      checkOne(link, isCluster, onEviction).pipe(
        // a master of a cluster that fails just now: whoever takes over is looked at then
        Effect.catchIf(
          ({ reason }) => isCluster && reason._tag === "Unavailable",
          (error) => Effect.as(Effect.logWarning(error.message), undefined)
        )
      ),
    { concurrency: "unbounded" }
  )
  const known = found.filter((one) => one !== undefined)
  return durabilities.find((one) => known.includes(one)) ?? "none"
})

/** Another server may have taken over: what would have been refused at the start is said now. */
export const recheck = (link: Link): Effect.Effect<void> =>
  Effect.ignore(Effect.flatMap(readInfo(link), (info) => {
    const eviction = evicting(info)
    return eviction === undefined ? Effect.void : Effect.logWarning(`Redis may lose jobs: ${eviction}`)
  }))
