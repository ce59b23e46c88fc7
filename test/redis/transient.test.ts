/**
 * Errors of Redis that pass: whatever is asked meanwhile waits, and nothing is
 * refused.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { Redis } from "ioredis"
import { rmSync } from "node:fs"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
let admin: Redis
beforeAll(async () => {
  server = await startRedis(["--lua-time-limit", "50"])
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

class Work extends Task.make("Work", { payload: Schema.Number, success: Schema.Number, queue: "transient" }) {}

const WorkerLive = Worker.layer({ tasks: [Work] }).pipe(Layer.provide(Work.toLayer(Effect.succeed)))

/** A job that is asked for in between ends only when it is over. */
const passes = (name: string, begin: () => Promise<unknown>, end: () => Promise<unknown>) =>
  test(`${name} passes`, () =>
    Effect.gen(function*() {
      yield* Effect.flatMap(Work.enqueue(1), (job) => job.await)
      yield* Effect.promise(begin)
      const job = yield* Effect.forkChild(Effect.flatMap(Work.enqueue(2), (job) => job.await))
      yield* Effect.sleep(500)
      expect(job.pollUnsafe()).toBe(undefined)
      yield* Effect.promise(end)
      expect(yield* Fiber.join(job)).toBe(2)
    }).pipe(
      Effect.provide(Layer.provideMerge(
        Layer.merge(Client.layer, WorkerLive),
        RedisTransport.layer({ url: server.url })
      )),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "None")),
      Effect.runPromise
    ))

passes(
  "NOREPLICAS",
  () => admin.config("SET", "min-replicas-to-write", "1"),
  () => admin.config("SET", "min-replicas-to-write", "0")
)

passes(
  "MISCONF",
  async () => {
    await admin.config("SET", "save", "3600 1000000")
    // no file can be written any more
    rmSync(server.directory, { recursive: true })
    await admin.bgsave().catch(() => {})
    await expect.poll(() => admin.info("persistence")).toContain("rdb_last_bgsave_status:err")
  },
  () => admin.config("SET", "stop-writes-on-bgsave-error", "no")
)

passes(
  "READONLY, when a master becomes a replica and a master again,",
  () => admin.replicaof("127.0.0.1", "1"),
  () => admin.replicaof("NO", "ONE")
)

passes(
  "BUSY",
  async () => {
    const other = new Redis(server.url)
    other.eval("while true do end", 0).catch(() => other.disconnect())
    await expect.poll(() => admin.ping().catch(String)).toContain("BUSY")
  },
  () => admin.script("KILL")
)

test("a server that takes over and may evict keys is told of", async () => {
  const lines: Array<string> = []
  const logger = Logger.layer([Logger.make(({ message }) => lines.push(String([message].flat()[0])))])
  const proxy = await startProxy(server.port)
  const running = Effect.runFork(
    Layer.launch(RedisTransport.layer({ url: `redis://127.0.0.1:${proxy.port}` })).pipe(Effect.provide(logger))
  )
  await expect.poll(() => proxy.connections()).toBe(2)
  await admin.config("SET", "maxmemory-policy", "allkeys-lru")
  proxy.cut()
  await expect.poll(() => lines).toContain(
    `Redis may lose jobs: maxmemory-policy is "allkeys-lru", so Redis may delete jobs: set it to "noeviction"`
  )
  await admin.config("SET", "maxmemory-policy", "noeviction")
  await Effect.runPromise(Fiber.interrupt(running))
  await proxy.close()
})
