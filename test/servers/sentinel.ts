/**
 * A master, a replica and three Sentinels for tests.
 */
import { Redis } from "ioredis"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { type RedisServer, startRedis, startServer, until } from "./redis.ts"

export interface SentinelSetup {
  readonly name: string
  /** Master and replica, in the order of their start. */
  readonly servers: readonly [RedisServer, RedisServer]
  readonly sentinels: ReadonlyArray<RedisServer>
  /** Whom the Sentinels call the master now. */
  readonly master: () => Promise<RedisServer>
  /** Waits until every Sentinel knows a replica: only then a failover can succeed. */
  readonly whenReady: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface SentinelSettings {
  readonly password?: string
  readonly sentinelPassword?: string
  readonly settings?: ReadonlyArray<string>
}

const name = "troupe-master"

const configure = (path: string, port: number, directory: string, master: number, given: SentinelSettings): void => {
  const { password, sentinelPassword } = given
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${directory}`,
    `sentinel monitor ${name} 127.0.0.1 ${master} 2`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 2000`,
    ...(password === undefined ? [] : [`sentinel auth-pass ${name} ${password}`]),
    ...(sentinelPassword === undefined
      ? []
      : [`requirepass ${sentinelPassword}`, `sentinel sentinel-pass ${sentinelPassword}`])
  ]
  writeFileSync(path, lines.join("\n") + "\n")
}

export const startSentinel = async (given: SentinelSettings = {}): Promise<SentinelSetup> => {
  const { password, sentinelPassword, settings = [] } = given
  const secret = password === undefined ? [] : ["--requirepass", password, "--masterauth", password]
  const common = ["--repl-diskless-sync-delay", "0", ...secret, ...settings]
  const first = await startRedis(common)
  const second = await startRedis([...common, "--replicaof", `127.0.0.1 ${first.port}`])
  const sentinels = await Promise.all([1, 2, 3].map(() =>
    startServer((port, directory) => {
      const path = join(directory, "sentinel.conf")
      configure(path, port, directory, first.port, given)
      return [path, "--sentinel"]
    })
  ))
  const asked = sentinels.map((sentinel) => {
    const redis = new Redis({
      port: sentinel.port,
      ...(sentinelPassword === undefined ? {} : { password: sentinelPassword }),
      enableReadyCheck: false
    })
    redis.on("error", () => {})
    return redis
  })
  /** What a Sentinel says of the master or of a replica. */
  const parsed = (fields: ReadonlyArray<string>) =>
    new Map(Array.from({ length: fields.length / 2 }, (_, i) => [fields[2 * i]!, fields[2 * i + 1]!]))
  const masterOf = async (redis: Redis) => parsed(await redis.call("SENTINEL", "MASTER", name) as Array<string>)
  const replicasOf = async (redis: Redis) =>
    (await redis.call("SENTINEL", "REPLICAS", name) as Array<Array<string>>).map(parsed)
  const whenReady = () =>
    until("every Sentinel knows a healthy replica and the other Sentinels", async () => {
      const views = await Promise.all(asked.map(async (redis) => {
        const [master, [replica]] = await Promise.all([masterOf(redis), replicasOf(redis)])
        return master.get("flags") === "master" && master.get("num-other-sentinels") === "2" &&
          replica?.get("flags") === "slave" && replica.get("master-link-status") === "ok" &&
          replica.get("master-port") === master.get("port")
      }))
      return views.every((ready) => ready)
    })
  const servers = [first, second] as const
  await whenReady()
  return {
    name,
    servers,
    sentinels,
    whenReady,
    master: async () => {
      const port = Number((await masterOf(asked[0]!)).get("port"))
      return servers.find((server) => server.port === port)!
    },
    stop: async () => {
      for (const redis of asked) redis.disconnect()
      await Promise.all([...sentinels, ...servers].map((server) => server.stop()))
    }
  }
}
