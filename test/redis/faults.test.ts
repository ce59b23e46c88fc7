/**
 * Breaks Redis and the way to it while jobs flow. The invariant checker judges
 * every history; beside that, a fault may only repeat what it must.
 */
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type Proxy, startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"
import { survive, type Survived } from "./survive.ts"

let server: RedisServer
let proxy: Proxy
let admin: Redis
beforeEach(async () => {
  // with everysec Redis may answer before it writes, while the disk is busy
  server = await startRedis(["--appendonly", "yes", "--appendfsync", "always"])
  proxy = await startProxy(server.port)
  admin = new Redis(server.url)
  admin.on("error", () => {})
})
afterEach(async () => {
  admin.disconnect()
  await proxy.close()
  await server.stop()
})

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

const transport = (port: number) => RedisTransport.layer({ url: `redis://127.0.0.1:${port}` })

/** Runs of all workers at once: what a crash of the broker may repeat. */
const running = 16

/** `straight`: who goes around the proxy. */
const endure = (
  strike: () => Promise<unknown>,
  straight: "none" | "producer" | "all" = "all",
  lease?: number
): Promise<Survived> =>
  survive({
    transport: transport(straight === "all" ? server.port : proxy.port),
    producer: transport(straight === "none" ? proxy.port : server.port),
    queues: ["faults"],
    strike,
    ...(lease === undefined ? {} : { lease })
  })

/** Every job ran as often as its handler failed and once more, and no hand-out was counted twice. */
const expectNothingRepeated = async (strike: () => Promise<unknown>, straight?: "none" | "producer" | "all") => {
  // what comes back with its lease is counted; no machine stands still for as long
  const { jobs, recounted, repeated } = await endure(strike, straight, 10_000)
  expect(jobs).toBeGreaterThan(50)
  expect({ recounted, repeated }).toEqual({ recounted: 0, repeated: 0 })
}

const rounds = async (count: number, milliseconds: number, strike: () => unknown) => {
  for (let round = 0; round < count; round++) {
    await strike()
    await pause(milliseconds)
  }
}

for (const kind of ["normal", "pubsub"]) {
  test(`connections of kind ${kind} are killed again and again: nothing runs twice`, async () => {
    const kill = () => admin.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    await expectNothingRepeated(() => rounds(12, 40, kill))
  }, 60_000)
}

test("replies are lost after their commands ran: nothing runs twice, nothing is orphaned", async () => {
  await expectNothingRepeated(() => rounds(15, 60, () => proxy.loseReplies(1)), "producer")
}, 60_000)

test("a producer whose replies are lost adds no job twice", async () => {
  await expectNothingRepeated(() => rounds(15, 60, () => proxy.loseReplies(1)), "none")
}, 60_000)

test("a silent peer is noticed and replaced", async () => {
  const { jobs, pause: silence, repeated } = await endure(
    async () => {
      proxy.freeze()
      await pause(300)
      proxy.thaw()
      // until it is noticed
      await pause(6_000)
    },
    "producer",
    5_000
  )
  expect(jobs).toBeGreaterThan(50)
  expect(repeated).toBeLessThanOrEqual(running)
  // five seconds without an answer, and ten times what a busy machine needs to go on
  expect(silence).toBeGreaterThan(1_000)
  expect(silence).toBeLessThan(15_000)
}, 60_000)

test("scripts are flushed under load", async () => {
  await expectNothingRepeated(() => rounds(20, 20, () => admin.script("FLUSH")))
}, 60_000)

test("the server is killed and comes back with its append-only file", async () => {
  const { repeated } = await endure(
    async () => {
      await server.kill()
      await pause(200)
      await server.restart()
    },
    "all",
    5_000
  )
  expect(repeated).toBeLessThanOrEqual(running)
}, 60_000)

test("the server stands still for longer than a lease: leases are not taken away at once", async () => {
  const { pause: silence, repeated } = await endure(async () => {
    server.signal("SIGSTOP")
    await pause(3_000)
    server.signal("SIGCONT")
  })
  expect(silence).toBeGreaterThan(2_500)
  expect(repeated).toBeLessThanOrEqual(running)
}, 60_000)
