/**
 * A Redis Cluster of three masters and three replicas that loses masters and
 * moves slots while jobs flow.
 */
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Cluster } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { slotOf } from "../../packages/transport-redis/src/internal/slots.ts"
import { type ClusterServer, type RedisCluster, startCluster } from "../servers/cluster.ts"
import { startProxy } from "../servers/proxy.ts"
import { roundTrip } from "./roundTrip.ts"
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

/** `limit`: ms that the jobs of the first queue may wait for the cluster. */
const fault = (
  name: string,
  limit: number,
  strike: (scene: Scene) => Promise<unknown>,
  after: (scene: Scene) => Promise<unknown> = () => Promise.resolve()
) =>
  test(name, async () => {
    const queues = await spread()
    const slot = await cluster.slotOf(`{${queues[0]}}`)
    const master = await cluster.ownerOf(slot)
    const scene = { queues, slot, master }
    const survived = await survive({
      // not all of the servers, and one that is no master
      transport: RedisTransport.layer({ nodes: cluster.nodes.slice(1, 4), patience: "3 seconds" }),
      queues,
      strike: () => strike(scene)
    })
    await after(scene)
    await cluster.whenReady()
    expect(survived.wait).toBeLessThan(limit)
  }, 60_000)

test("an existing cluster client is copied", async () => {
  const client = new Cluster(cluster.nodes.slice(0, 1), { redisOptions: { connectionName: "application" } })
  expect(await roundTrip({ client })).toBe(42)
  expect(await client.set("still", "there")).toBe("OK")
  client.disconnect()
  expect(await roundTrip({ client: new Cluster([cluster.nodes[0]!.port], { lazyConnect: true }) })).toBe(42)
})

test("servers are reached under other addresses than they have themselves", async () => {
  const proxies = await Promise.all(cluster.nodes.map(({ port }) => startProxy(port)))
  const outside = cluster.nodes.map(({ host, port }, n) =>
    [`${host}:${port}`, { host, port: proxies[n]!.port }] as const
  )
  const natMap = Object.fromEntries(outside)
  const running = Effect.runFork(
    Layer.launch(RedisTransport.layer({ nodes: [`127.0.0.1:${proxies[0]!.port}`], natMap })).pipe(
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "None"))
    )
  )
  // a connection to every master, and one for subscriptions
  await expect.poll(() => proxies.reduce((sum, proxy) => sum + proxy.connections(), 0), { timeout: 5_000 }).toBe(4)
  await Effect.runPromise(Fiber.interrupt(running))
  expect(await roundTrip({ nodes: [`127.0.0.1:${proxies[0]!.port}`], natMap: (key) => natMap[key] ?? null })).toBe(42)
  await Promise.all(proxies.map((proxy) => proxy.close()))
})

test("slots are those of the server", async () => {
  for (const key of ["", "foo", "{}a", "{a}{b}", "a{b", "a}b{c}d", "{{a}}", "ä{ö🙂}ü", "123456789"]) {
    expect([key, slotOf(key)]).toEqual([key, await cluster.slotOf(key)])
  }
})

/** Sooner than a read that waits for jobs at the wrong master would end by itself, ms. */
const prompt = 4_000

/** Until somebody else has the slot. */
const replaced = (slot: number, master: ClusterServer) =>
  expect.poll(() => cluster.ownerOf(slot), { timeout: 15_000 }).not.toBe(master)

fault("a master is killed and its replica takes over", 10_000, async ({ master, slot }) => {
  await master.kill()
  await replaced(slot, master)
}, ({ master }) => master.restart())

fault("a master stands still, is replaced and wakes up", 10_000, async ({ master, slot }) => {
  master.signal("SIGSTOP")
  await replaced(slot, master)
  // what it has taken meanwhile is lost: nobody may take its answer for one
  await pause(1_500)
  master.signal("SIGCONT")
})

fault("a replica takes over by hand and the master lives on", prompt, async ({ master, slot }) => {
  const replica = await cluster.replicaOf(master)
  await replica.admin.call("CLUSTER", "FAILOVER")
  await replaced(slot, master)
})

const other = async (master: ClusterServer) => (await cluster.masters()).find((server) => server !== master)!

fault("the slot of a queue moves to another master", prompt, async ({ master, slot }) => {
  await cluster.move(slot, await other(master))
})

fault("a slot is half moved for longer than a lease", 8_000, async ({ master, slot }) => {
  let batches = 0
  await cluster.move(slot, await other(master), () => pause(++batches === 5 ? 2_500 : 0))
})

test("the server of the subscriptions is killed: messages arrive over another one", async () => {
  const topic = ["topic", "of", "subscriptions"] as const
  const heard: Array<string> = []
  const program = Effect.gen(function*() {
    const { bus } = yield* Transport
    yield* bus.subscribe(topic, ({ bytes }) => heard.push(Buffer.from(bytes).toString()))
    const connected = yield* Effect.promise(async () => {
      for (const server of cluster.servers) {
        if (String(await server.admin.client("LIST")).includes("name=troupe-subscriber")) return server
      }
      throw new Error("no server has the subscriptions")
    })
    yield* Effect.promise(() => connected.kill())
    // what is published before it is heard again is lost
    for (let n = 0; n < 200 && heard.length === 0; n++) {
      yield* Effect.ignore(bus.publish(topic, Buffer.from("heard")))
      yield* Effect.sleep(100)
    }
    yield* Effect.promise(() => connected.restart())
  })
  await Effect.runPromise(
    Effect.scoped(program).pipe(
      Effect.provide(RedisTransport.layer({ nodes: cluster.nodes.slice(0, 1) })),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "None"))
    )
  )
  expect(heard).toContain("heard")
  await cluster.whenReady()
}, 60_000)
