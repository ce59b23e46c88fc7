/**
 * The private Redis of this process: no persistence, ended with the process.
 */
import { Redis } from "ioredis"
import { type RedisServer, startRedis } from "../../test/servers/redis.ts"
import type { Server } from "../brokers/system.ts"

interface Private {
  readonly server: RedisServer
  readonly probe: Redis
}

let started: Promise<Private> | undefined

const start = async (): Promise<Private> => {
  const server = await startRedis()
  return { server, probe: new Redis(server.url) }
}

const get = () => started ??= start()

const info = async (section: string): Promise<(field: string) => number> => {
  const text = await (await get()).probe.info(section)
  return (field) => Number(new RegExp(`^${field}:([\\d.]+)`, "m").exec(text)?.[1])
}

/** Commands and scripts that took so long. */
const slow = async (least: number, run: () => Promise<void>): Promise<ReadonlyArray<number>> => {
  const { probe } = await get()
  await probe.config("SET", "slowlog-log-slower-than", String(least), "slowlog-max-len", "10000")
  await probe.slowlog("RESET")
  await run()
  const entries = await probe.slowlog("GET", "10000")
  // id, time, duration, …
  return (entries as ReadonlyArray<[number, number, number]>).map(([, , duration]) => duration)
}

export const server: Server = {
  name: "Redis",
  url: async () => (await get()).server.url,
  cpuSeconds: async () => {
    const field = await info("cpu")
    return field("used_cpu_user") + field("used_cpu_sys")
  },
  memory: async () => (await info("memory"))("used_memory"),
  empty: async () => {
    await (await get()).probe.flushall()
  },
  slow
}
