/**
 * A Redis Cluster of three masters with a replica each, for tests.
 */
import { Redis } from "ioredis"
import { randomBytes } from "node:crypto"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { freePort } from "./process.ts"
import { base, type RedisServer, startServer, until } from "./redis.ts"

export interface ClusterServer extends RedisServer {
  readonly id: string
  /** A connection of the test. */
  readonly admin: Redis
}

export interface RedisCluster {
  readonly servers: ReadonlyArray<ClusterServer>
  readonly nodes: ReadonlyArray<{ readonly host: string; readonly port: number }>
  readonly slotOf: (key: string) => Promise<number>
  /** The master that has the slot now. */
  readonly ownerOf: (slot: number) => Promise<ClusterServer>
  readonly masters: () => Promise<ReadonlyArray<ClusterServer>>
  /** Waits until every slot has a master with a replica that follows it. */
  readonly whenReady: () => Promise<void>
  readonly replicaOf: (master: ClusterServer) => Promise<ClusterServer>
  /** Moves a slot with its keys, a few at a time, as `redis-cli --cluster reshard` does. */
  readonly move: (slot: number, to: ClusterServer, between?: () => Promise<unknown>) => Promise<void>
  readonly stop: () => Promise<void>
}

const slots = 16_384
const masterCount = 3

const infoOf = async (server: ClusterServer, field: string): Promise<string | undefined> => {
  const info = `${await server.admin.call("CLUSTER", "INFO")}\r\n${await server.admin.info("replication")}`
  return new RegExp(`^${field}:(.*?)\r?$`, "m").exec(info)?.[1]
}

interface Plan {
  readonly id: string
  readonly port: number
  readonly bus: number
}

/** What a server that was in the cluster before finds when it starts: nobody has to meet anybody. */
const nodesConf = (plans: ReadonlyArray<Plan>, self: Plan): string =>
  plans.map(({ bus, id, port }, n) => {
    const ofMaster = plans[n % masterCount]!
    const role = n < masterCount ? "master -" : `slave ${ofMaster.id}`
    const range = [n, n + 1].map((part) => Math.ceil(part * slots / masterCount))
    const flags = (id === self.id ? "myself," : "") + role
    const has = n < masterCount ? ` ${range[0]}-${range[1]! - 1}` : ""
    return `${id} 127.0.0.1:${port}@${bus} ${flags} 0 0 ${n % masterCount + 1} connected${has}\n`
  }).join("") + `vars currentEpoch ${masterCount} lastVoteEpoch 0\n`

const start = async (
  plans: ReadonlyArray<Plan>,
  plan: Plan,
  settings: ReadonlyArray<string>
): Promise<ClusterServer> => {
  const server = await startServer((port, directory) => {
    writeFileSync(join(directory, "nodes.conf"), nodesConf(plans, plan))
    const own = `--cluster-enabled yes --cluster-node-timeout 1000 --cluster-replica-validity-factor 0 ` +
      // the usual one, port + 10000, may be taken or not exist
      `--cluster-port ${plan.bus} --cluster-allow-replica-migration no ` +
      // a replica counts when it has heard something
      `--repl-diskless-sync-delay 0 --repl-ping-replica-period 1`
    return [...base(port, directory), ...own.split(" "), ...settings]
  }, plan.port)
  const admin = new Redis({ port: server.port, retryStrategy: () => 50, maxRetriesPerRequest: 0 })
  admin.on("error", () => {})
  // the server has a getter
  return Object.defineProperties({ id: plan.id, admin } as ClusterServer, Object.getOwnPropertyDescriptors(server))
}

export const startCluster = async (settings: ReadonlyArray<string> = []): Promise<RedisCluster> => {
  const plans = await Promise.all(
    Array.from({ length: 2 * masterCount }, async () => ({
      id: randomBytes(20).toString("hex"),
      port: await freePort(),
      bus: await freePort()
    }))
  )
  const servers = await Promise.all(plans.map((plan) => start(plans, plan, settings)))

  type Entry = [number, number, ...Array<[string, number]>]
  const view = async (): Promise<ReadonlyArray<Entry>> => {
    for (const { admin } of servers) {
      const slots = admin.call("CLUSTER", "SLOTS").catch(() => undefined)
      // one that stands still does not answer
      const found = await Promise.race([slots, new Promise((resolve) => setTimeout(resolve, 300))])
      // the shape of CLUSTER SLOTS
      if (found !== undefined) return found as Array<Entry>
    }
    throw new Error("no server answers")
  }
  const at = (port: number) => servers.find((server) => server.port === port)!
  const ownerOf = async (slot: number) => {
    const [, , master] = (await view()).find(([from, to]) => from <= slot && slot <= to)!
    return at(master![1])
  }
  const masters = async () => [...new Set((await view()).map(([, , master]) => at(master![1])))]
  const whenReady = () =>
    until("all slots have a master and a replica", async () => {
      const entries = await view()
      if (entries.reduce((sum, [from, to]) => sum + to - from + 1, 0) < slots) return false
      for (const server of servers) {
        if (await infoOf(server, "cluster_state") !== "ok") return false
        const isReplica = await infoOf(server, "role") === "slave"
        if (isReplica && await infoOf(server, "master_link_status") !== "up") return false
      }
      return entries.every((entry) => entry.length >= 4)
    })
  await whenReady()

  return {
    servers,
    nodes: servers.map(({ host, port }) => ({ host, port })),
    slotOf: async (key) => Number(await servers[0]!.admin.call("CLUSTER", "KEYSLOT", key)),
    ownerOf,
    masters,
    whenReady,
    replicaOf: async (master) => {
      const entry = (await view()).find(([, , first]) => first?.[1] === master.port)!
      return at(entry[3]![1])
    },
    move: async (slot, to, between = () => Promise.resolve()) => {
      const from = await ownerOf(slot)
      await to.admin.call("CLUSTER", "SETSLOT", String(slot), "IMPORTING", from.id)
      await from.admin.call("CLUSTER", "SETSLOT", String(slot), "MIGRATING", to.id)
      for (;;) {
        const keys = await from.admin.call("CLUSTER", "GETKEYSINSLOT", String(slot), "10") as Array<string>
        if (keys.length === 0) break
        await from.admin.call("MIGRATE", "127.0.0.1", String(to.port), "", "0", "5000", "KEYS", ...keys)
        await between()
      }
      for (const server of [to, from]) await server.admin.call("CLUSTER", "SETSLOT", String(slot), "NODE", to.id)
    },
    stop: async () => {
      for (const { admin } of servers) admin.disconnect()
      await Promise.all(servers.map((server) => server.stop()))
    }
  }
}
