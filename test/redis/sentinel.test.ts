/**
 * Sentinels that promote a replica while jobs flow. They and the servers have
 * different passwords.
 */
import { TransportConformance } from "@troupe/core/testing"
import { Kit } from "@troupe/core/testing/conformance/kit"
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import type { RedisServer } from "../servers/redis.ts"
import { type SentinelSetup, startSentinel } from "../servers/sentinel.ts"
import { someGuarantees } from "./guarantees.ts"
import { refusal, roundTrip } from "./roundTrip.ts"
import { type Ordeal, survive } from "./survive.ts"

const passwords = { password: "of-the-servers", sentinelPassword: "of-the-Sentinels" }

let setup: SentinelSetup
beforeAll(async () => {
  setup = await startSentinel(passwords)
})
afterAll(() => setup.stop())

const transport = ({ name, sentinels }: SentinelSetup, replicas = 0) =>
  RedisTransport.layer({
    replicas,
    sentinels: sentinels.map(({ host, port }) => `${host}:${port}`),
    name,
    sentinelPassword: passwords.sentinelPassword,
    options: { password: passwords.password },
    patience: "3 seconds"
  })

const smoke = [
  "log: ",
  "leases: a lease that runs out",
  "keys: ",
  "settle: a revision",
  "bus: ",
  "store: a listable"
]

const layer = Layer.unwrap(Effect.sync(() => transport(setup)))

// most of their time is spent waiting for leases and delays
vi.setConfig({ maxConcurrency: 20 })

for (
  const { name, run } of TransportConformance.cases.filter(({ name }) => smoke.some((one) => name.startsWith(one)))
) {
  test.concurrent(
    `redis over Sentinel: ${name}`,
    () => Effect.runPromise(Effect.provide(Effect.scoped(run), layer)),
    60_000
  )
}

someGuarantees("redis over Sentinel", layer)

test("wrong passwords, and a Sentinel in place of its master, are refused in one line", async () => {
  const { name, sentinels } = setup
  const check = "check user name, password and ACL."
  const { password, sentinelPassword } = passwords
  expect(await refusal({ sentinels, name, sentinelPassword: "wrong", options: { password } })).toContain(check)
  expect(await refusal({ sentinels, name, options: { password } })).toContain(check)
  expect(await refusal({ sentinels, name, sentinelPassword, options: { password: "wrong" } })).toContain(check)
  expect(await refusal({ url: `redis://:${sentinelPassword}@127.0.0.1:${sentinels[0]!.port}` })).toBe(
    "The broker refused to start: the server is a Sentinel: give `sentinels` and `name`."
  )
})

test("an existing client of a Sentinel setup is copied", async () => {
  const client = new Redis({
    sentinels: setup.sentinels.map(({ host, port }) => ({ host, port })),
    name: setup.name,
    lazyConnect: true,
    ...passwords
  })
  expect(await roundTrip({ client })).toBe(42)
  client.disconnect()
})

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

/** With Sentinels of its own: a server that was a master is a replica for them only after a while. */
const fault = (
  name: string,
  /** ms that the jobs of the first queue may wait for a master. */
  limit: number,
  strike: (setup: SentinelSetup, master: RedisServer) => Promise<unknown>,
  { replicas = 0, ...special }: Pick<Ordeal, "before" | "forgetful"> & { readonly replicas?: number } = {}
) =>
  // most of its time it waits for the Sentinels to make a replica of the old master
  (replicas > 0 ? test.concurrent : test)(name, async () => {
    const own = await startSentinel(passwords)
    const master = await own.master()
    try {
      const survived = await survive({
        transport: transport(own, replicas),
        queues: ["one", "two", "three"],
        strike: async () => {
          await strike(own, master)
          await expect.poll(() => own.master(), { timeout: 20_000 }).not.toBe(master)
        },
        ...special
      })
      expect(survived.wait).toBeLessThan(limit)
    } finally {
      await own.stop()
    }
  }, 60_000)

fault("the master is killed and the replica takes over", 15_000, (_, master) => master.kill())

fault("the master stands still, is replaced and wakes up", 15_000, async (own, master) => {
  master.signal("SIGSTOP")
  await expect.poll(() => own.master(), { timeout: 20_000 }).not.toBe(master)
  // what it has taken meanwhile is lost: nobody may take its answer for one
  await pause(300)
  master.signal("SIGCONT")
})

const demote = async (own: SentinelSetup, master: RedisServer) => {
  const server = new Redis({ port: master.port, password: passwords.password })
  await server.wait(1, 5_000).finally(() => server.disconnect())
  const sentinel = new Redis({ port: own.sentinels[0]!.port, password: passwords.sentinelPassword })
  await sentinel.call("SENTINEL", "FAILOVER", own.name).finally(() => sentinel.disconnect())
}

// what a master takes while its replica is promoted is lost: no job is among it, settlements may be
fault("the master becomes a replica and lives on", 10_000, demote, { before: 150, forgetful: true })

// jobs neither if a replica must have them
fault("the same while jobs are enqueued that a replica must have", 20_000, demote, { replicas: 1, forgetful: true })

test.concurrent("a job is accepted when a replica has it", async () => {
  const own = await startSentinel(passwords)
  const [, replica] = own.servers
  try {
    await Effect.runPromise(
      Effect.gen(function*() {
        const kit = new Kit(yield* Transport, { elapse: Effect.sleep, wait: Effect.sleep, slack: 2_000 }, "replicas")
        const enqueued = (id: string) => kit.log.send([kit.envelope({ id })])
        expect(yield* enqueued("first")).toEqual(["sent"])
        replica.signal("SIGSTOP")
        const error = yield* Effect.flip(enqueued("second"))
        expect(String(error)).toContain("only 0 of 1 replicas have it")
        replica.signal("SIGCONT")
        // it was taken all the same
        expect(yield* enqueued("second")).toEqual(["duplicate"])
        expect(yield* enqueued("third")).toEqual(["sent"])
      }).pipe(
        Effect.provide(transport(own, 1)),
        Effect.provide(Layer.succeed(References.MinimumLogLevel, "None"))
      )
    )
  } finally {
    await own.stop()
  }
}, 30_000)
