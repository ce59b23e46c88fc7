/**
 * Ways to say where Redis is, and what is said of wrong ones.
 */
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { Redis } from "ioredis"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { freePort } from "../servers/process.ts"
import { startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"
import { refusal, roundTrip } from "./roundTrip.ts"

let server: RedisServer
beforeAll(async () => {
  server = await startRedis(["--unixsocket", "redis.sock"])
  const admin = new Redis(server.url)
  await admin.call("ACL", "SETUSER", "troupe", "on", ">secret", "~troupe:*", "&troupe:*", ...RedisTransport.acl)
  admin.disconnect()
})
afterAll(() => server.stop())

test("a unix socket, a database, a user with the documented rights and ioredis options lead to jobs", async () => {
  expect(await roundTrip({ options: { path: join(server.directory, "redis.sock") } })).toBe(42)
  expect(await roundTrip({ url: `redis://127.0.0.1:${server.port}/7` })).toBe(42)
  expect(await roundTrip({ url: `redis://troupe:secret@127.0.0.1:${server.port}` })).toBe(42)
  expect(await roundTrip({ options: { port: server.port, username: "troupe", password: "secret", db: 3 } })).toBe(42)
})

test("an existing client is copied, whatever it is made for", async () => {
  const client = new Redis(server.port, {
    db: 5,
    keyPrefix: "app:",
    replyMapping: "resp3",
    stringNumbers: true,
    commandTimeout: 1_000,
    socketTimeout: 2_000,
    enableReadyCheck: false,
    readOnly: true,
    lazyConnect: true
  })
  expect(await roundTrip({ client })).toBe(42)
  await client.set("still", "there")
  expect(await client.get("still")).toBe("there")
  client.disconnect()
})

/** As plain JavaScript would call it. */
const given = (options: object) => refusal(options as RedisTransport.RedisTransportOptions)

const starting = "The broker refused to start: "

test("options that contradict each other or lack something are refused in one line", async () => {
  const client = new Redis({ lazyConnect: true })
  const cases: ReadonlyArray<readonly [object, string]> = [
    [{ url: "redis://a", nodes: ["b"] }, "`url` and `nodes` exclude each other: say in one way where Redis is."],
    [{ client, url: "redis://a" }, "`url` and `client` exclude each other: say in one way where Redis is."],
    [{ client, options: { db: 1 } }, "`client` and `options` exclude each other: the client has options."],
    [{ sentinels: ["a:26379"] }, "`sentinels` needs the `name` by which they know the master."],
    [{ sentinels: [], name: "m" }, "`sentinels` is empty: name at least one."],
    [{ url: "redis://a", sentinelPassword: "x" }, "`sentinelPassword` needs `sentinels`."],
    [{ nodes: [] }, "`nodes` is empty: name at least one."],
    [{ nodes: ["http://user:secret@a:1"] }, "`nodes` has \"…@a:1\", which is not host:port."],
    [{ nodes: ["redis://a:1/2"] }, "a cluster has database 0 only, not 2."],
    [{ nodes: ["a:1"], options: { db: 1 } }, "a cluster has database 0 only, not 1."],
    [{ prefix: "a{b}" }, "`prefix` has a brace: the slot of a key would no longer be the slot of its queue."]
  ]
  for (const [options, message] of cases) expect(await given(options)).toBe(starting + message)
})

test("a server of another kind is refused in one line", async () => {
  const member = await startRedis(["--cluster-enabled", "yes", "--cluster-port", String(await freePort())])
  expect(await given({ nodes: [server] })).toBe(`${starting}the server is in no cluster: give \`url\`.`)
  expect(await given({ url: member.url })).toBe(`${starting}the server is part of a cluster: give \`nodes\`.`)
  await member.stop()
})

test("a replica is waited for, and refused if it stays one", async () => {
  const replica = await startRedis(["--replicaof", `127.0.0.1 ${server.port}`])
  expect(await refusal({ url: replica.url, patience: "1 second" })).toBe(
    `${starting}the server is a replica, and jobs are written: name its master.`
  )
  const asking = roundTrip({ url: replica.url })
  const admin = new Redis(replica.port)
  await admin.replicaof("NO", "ONE").finally(() => admin.disconnect())
  expect(await asking).toBe(42)
  await replica.stop()
})

test("lost connections, and what keeps a new one from being opened, are logged", async () => {
  const lines: Array<string> = []
  const logger = Logger.layer([
    Logger.make(({ logLevel, message }) => lines.push(`${logLevel}: ${String([message].flat()[0])}`))
  ])
  const proxy = await startProxy(server.port)
  const port = await freePort()
  const running = Effect.runFork(
    Layer.launch(RedisTransport.layer({ url: `redis://127.0.0.1:${proxy.port}` })).pipe(Effect.provide(logger))
  )
  await expect.poll(() => proxy.connections()).toBe(2)
  proxy.cut()
  await expect.poll(() => lines.length).toBe(2)
  expect(lines[0]).toBe("Warn: The command connection to Redis is lost, connecting again")
  expect(lines[1]).toMatch(/^Info: The command connection to Redis is back after \d+ ms$/)
  await Effect.runPromise(Fiber.interrupt(running))
  const waiting = Effect.runFork(
    Layer.launch(RedisTransport.layer({ url: `redis://127.0.0.1:${port}` })).pipe(Effect.provide(logger))
  )
  await expect.poll(() => lines.length).toBe(3)
  expect(lines[2]).toContain("The command connection to Redis is not there, trying again: connect ECONNREFUSED")
  await Effect.runPromise(Fiber.interrupt(waiting))
  await proxy.close()
})
