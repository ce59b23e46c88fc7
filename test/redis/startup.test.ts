/**
 * What a transport says when it cannot start, and what it waits for.
 */
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { afterEach, expect, test } from "vitest"
import { freePort } from "../servers/process.ts"
import { startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"

const servers: Array<RedisServer> = []
const start = async (...settings: ReadonlyArray<string>) => {
  const server = await startRedis(settings)
  servers.push(server)
  return server
}
afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop()
})

const silent = Layer.succeed(References.MinimumLogLevel, "None")

/** The time at the broker, by a transport of these options. */
const ask = (options: RedisTransport.RedisTransportOptions) =>
  Transport.use(({ clock }) => clock).pipe(
    Effect.provide(RedisTransport.layer(options)),
    Effect.provide(silent),
    Effect.timeout("10 seconds")
  )

const refusal = async (options: RedisTransport.RedisTransportOptions) =>
  String((await Effect.runPromise(Effect.flip(ask(options)))).message)

test("an eviction policy other than noeviction is refused, or only warned of", async () => {
  const server = await start("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
  expect(await refusal({ url: server.url })).toBe(
    `The broker refused to start: maxmemory-policy is "allkeys-lru", so Redis may delete jobs: set it to "noeviction".`
  )
  expect(await Effect.runPromise(ask({ url: server.url, onEviction: "warn" }))).toBeGreaterThan(0)
})

test("a server that is too old is refused", async () => {
  const server = await start()
  const proxy = await startProxy(
    server.port,
    (reply) =>
      Buffer.from(reply.toString("latin1").replace(/redis_version:\d+\.\d+\.\d+/, "redis_version:6.0.16"), "latin1")
  )
  expect(await refusal({ url: `redis://127.0.0.1:${proxy.port}` })).toContain("Redis 6.0.1")
  await proxy.close()
})

test("a wrong password, a missing one and an unknown user are refused at once", async () => {
  const server = await start("--requirepass", "secret")
  const url = (user: string) => `redis://${user}127.0.0.1:${server.port}/0`
  for (const user of ["", ":wrong@", "nobody:secret@"]) {
    const started = Date.now()
    expect(await refusal({ url: url(user) })).toContain("check user name, password and ACL")
    // who waits for a server waits for ever
    expect(Date.now() - started).toBeLessThan(8_000)
  }
  expect(await Effect.runPromise(ask({ url: url(":secret@") }))).toBeGreaterThan(0)
})

test("a server that is not up yet is waited for", async () => {
  const server = await start()
  await server.kill()
  const asking = Effect.runFork(ask({ url: server.url }))
  await new Promise((resolve) => setTimeout(resolve, 500))
  expect(asking.pollUnsafe()).toBe(undefined)
  await server.restart()
  expect(await Effect.runPromise(Fiber.join(asking))).toBeGreaterThan(0)
})

test("layerConfig reads TROUPE_REDIS_URL, then REDIS_URL", async () => {
  const server = await start()
  const closed = `redis://127.0.0.1:${await freePort()}`
  for (const env of [{ TROUPE_REDIS_URL: server.url, REDIS_URL: closed }, { REDIS_URL: server.url }]) {
    const program = Transport.use(({ clock }) => clock).pipe(
      Effect.provide(RedisTransport.layerConfig()),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env))),
      Effect.provide(silent),
      Effect.timeout("10 seconds")
    )
    expect(await Effect.runPromise(program)).toBeGreaterThan(0)
  }
})
