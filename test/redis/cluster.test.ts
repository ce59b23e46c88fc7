/**
 * A Redis Cluster of three masters and three replicas that loses masters and
 * moves slots while jobs flow.
 */
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type ClusterServer, type RedisCluster, startCluster } from "../servers/cluster.ts"
import { survive } from "./survive.ts"

let cluster: RedisCluster
beforeAll(async () => {
  cluster = await startCluster()
})
afterAll(() => cluster.stop())

let count = 0

/** Fresh queues, one per master. */
const spread = async (): Promise<ReadonlyArray<string>> => {
  const queues = new Map<number, string>()
  while (queues.size < 3) {
    const queue = `cluster-${++count}`
    const owner = await cluster.ownerOf(await cluster.slotOf(`{${queue}}`))
    if (!queues.has(owner.port)) queues.set(owner.port, queue)
  }
  return [...queues.values()]
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

interface Scene {
  readonly queues: ReadonlyArray<string>
  /** Slot and master of the first queue. */
  readonly slot: number
  readonly master: ClusterServer
}

const fault = (name: string, strike: (scene: Scene) => Promise<unknown>, before?: number) =>
  test(name, async () => {
    const queues = await spread()
    const slot = await cluster.slotOf(`{${queues[0]}}`)
    const master = await cluster.ownerOf(slot)
    await survive({
      // not all of the servers, and one that is no master
      transport: RedisTransport.layer({ nodes: cluster.nodes.slice(1, 4), patience: "3 seconds" }),
      queues,
      strike: () => strike({ queues, slot, master }),
      ...(before === undefined ? {} : { before })
    })
    await cluster.whenReady()
  }, 60_000)

/** Until somebody else has the slot. */
const replaced = (slot: number, master: ClusterServer) =>
  expect.poll(() => cluster.ownerOf(slot), { timeout: 15_000 }).not.toBe(master)

fault("a master is killed and its replica takes over", async ({ master, slot }) => {
  await master.kill()
  await replaced(slot, master)
  await master.restart()
})

fault("a master stands still, is replaced and wakes up", async ({ master, slot }) => {
  master.signal("SIGSTOP")
  await replaced(slot, master)
  // what it has taken meanwhile is lost: nobody may take its answer for one
  await pause(1_500)
  master.signal("SIGCONT")
})

fault("a replica takes over by hand and the master lives on", async ({ master, slot }) => {
  const replica = await cluster.replicaOf(master)
  await replica.admin.call("CLUSTER", "FAILOVER")
  await replaced(slot, master)
})

const other = async (master: ClusterServer) => (await cluster.masters()).find((server) => server !== master)!

fault("the slot of a queue moves to another master", async ({ master, slot }) => {
  await cluster.move(slot, await other(master))
})

fault("a slot is half moved for longer than a lease", async ({ master, slot }) => {
  let keys = 0
  await cluster.move(slot, await other(master), () => pause(++keys === 5 ? 2_500 : 0))
})
