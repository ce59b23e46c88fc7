/**
 * What must hold before the first job: a server that is new enough and never
 * evicts keys.
 */
import type { Capabilities } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { Link } from "./link.ts"

/** The oldest Redis with everything that the scripts call. */
const oldest = [6, 2] as const

export interface Server {
  readonly version: string
  readonly durability: Capabilities["durability"]
}

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

/** Reads INFO, and CONFIG where that is allowed. */
export const check = Effect.fnUntraced(function*(
  link: Link,
  onEviction: "refuse" | "warn"
): Effect.fn.Return<Server, TransportError> {
  const request = { operation: "INFO", queue: "", repeatable: true }
  const info = parse(yield* link.call({ ...request, command: "info", args: [] }, String))
  const version = info.get("redis_version") ?? "unknown"
  if (isTooOld(version)) {
    const description = `the server is Redis ${version}, but ${oldest.join(".")} or newer is needed`
    return yield* Errors.refused("to start", description)
  }
  const policy = info.get("maxmemory_policy") ?? "noeviction"
  if (policy !== "noeviction") {
    const description = `maxmemory-policy is "${policy}", so Redis may delete jobs: set it to "noeviction"`
    if (onEviction === "refuse") return yield* Errors.refused("to start", description)
    yield* Effect.logWarning(`Redis may lose jobs: ${description}`)
  }
  if (info.get("aof_enabled") !== "1") return { version, durability: "none" }
  // not every server tells: then the weaker promise
  const fsync = yield* link.call(
    { ...request, operation: "CONFIG GET", command: "config", args: ["GET", "appendfsync"] },
    (reply) => Array.isArray(reply) ? String(reply[1]) : ""
  ).pipe(Effect.catch(() => Effect.succeed("")))
  return { version, durability: fsync === "always" ? "disk" : "process" }
})
