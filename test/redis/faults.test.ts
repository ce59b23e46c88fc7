/**
 * Breaks Redis and the way to it while jobs run. Afterwards every accepted job
 * has one record, ran at least once, and nothing is left anywhere.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"

const jobs = 400
const silent = Layer.succeed(References.MinimumLogLevel, "Error")

let server: RedisServer
let admin: Redis
beforeEach(async () => {
  server = await startRedis(["--appendonly", "yes", "--appendfsync", "everysec"])
  admin = new Redis(server.url)
  admin.on("error", () => {})
})
afterEach(async () => {
  admin.disconnect()
  await server.stop()
})

interface Fault {
  /** The port that the worker uses; the client has a way of its own unless `shared`. */
  readonly port: number
  readonly shared?: boolean
  /** Called when a tenth of the jobs is done. */
  readonly strike: () => Promise<void>
  /** ms. */
  readonly handlerTime?: number
  readonly runsAtMost?: number
}

/** Sends, breaks, waits for the end and looks at what is left. */
const survive = async (fault: Fault) => {
  class Work extends Task.make("Work", { payload: Schema.Number, success: Schema.Number, queue: "work" }) {}
  const runs = new Map<number, number>()
  let struck: Promise<void> | undefined
  const handler = (n: number) =>
    Effect.gen(function*() {
      runs.set(n, (runs.get(n) ?? 0) + 1)
      if (runs.size >= jobs / 10) struck ??= fault.strike()
      yield* Effect.sleep(fault.handlerTime ?? 5)
      return n
    })
  const broker = (port: number) => Layer.fresh(RedisTransport.layer({ url: `redis://127.0.0.1:${port}` }))
  const WorkerLive = Worker.layer({ tasks: [Work], concurrency: 8, idleTimeout: "1 second" }).pipe(
    Layer.provide(Work.toLayer(handler)),
    Layer.provide(broker(fault.port))
  )
  const program = Effect.gen(function*() {
    const handles = yield* Effect.forEach(
      Array.from({ length: jobs }, (_, n) => n),
      (n) => Work.enqueue(n),
      { concurrency: 64 }
    )
    const results = yield* Effect.forEach(handles, (job) => job.await, { concurrency: "unbounded" })
    yield* Effect.promise(async () => struck)
    const { log } = yield* Transport
    // the last settlements may still be repeated
    let stats = yield* log.stats("work")
    for (let i = 0; i < 50 && stats.running + stats.queued > 0; i++) {
      yield* Effect.sleep(100)
      stats = yield* log.stats("work")
    }
    return { results, stats }
  })
  const { results, stats } = await Effect.runPromise(
    Effect.scoped(Effect.andThen(
      Layer.build(WorkerLive),
      Effect.provide(program, Layer.provideMerge(Client.layer, broker(fault.shared ? fault.port : server.port)))
    )).pipe(Effect.provide(silent))
  )
  expect(results).toEqual(Array.from({ length: jobs }, (_, n) => n))
  expect({ ...stats, oldestAge: undefined, consumers: 0 }).toEqual({
    scheduled: 0,
    queued: 0,
    running: 0,
    dead: 0,
    oldestAge: undefined,
    consumers: 0
  })
  expect(runs.size).toBe(jobs)
  const repeated = [...runs.values()].filter((count) => count > 1).length
  expect(repeated).toBeLessThanOrEqual(fault.runsAtMost ?? jobs)
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

for (const kind of ["normal", "pubsub"]) {
  test(`connections of kind ${kind} are killed again and again: nothing runs twice`, async () => {
    await survive({
      port: server.port,
      shared: true,
      runsAtMost: 0,
      strike: async () => {
        for (let round = 0; round < 5; round++) {
          await admin.call("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
          await pause(40)
        }
      }
    })
  }, 60_000)
}

test("replies are lost after their commands ran: nothing runs twice, nothing is orphaned", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    port: proxy.port,
    runsAtMost: 0,
    strike: async () => {
      for (let round = 0; round < 8; round++) {
        proxy.loseReplies(1)
        await pause(60)
      }
      proxy.loseReplies(0)
    }
  })
  await proxy.close()
}, 60_000)

test("a producer whose replies are lost adds no job twice", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    port: proxy.port,
    shared: true,
    runsAtMost: 0,
    strike: async () => {
      for (let round = 0; round < 8; round++) {
        proxy.loseReplies(1)
        await pause(60)
      }
      proxy.loseReplies(0)
    }
  })
  await proxy.close()
}, 60_000)

test("a silent peer is noticed and replaced", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    port: proxy.port,
    strike: async () => {
      proxy.freeze()
      await pause(300)
      proxy.thaw()
    }
  })
  await proxy.close()
}, 60_000)

test("scripts are flushed under load", async () => {
  await survive({
    port: server.port,
    shared: true,
    runsAtMost: 0,
    strike: async () => {
      for (let round = 0; round < 10; round++) {
        await admin.script("FLUSH")
        await pause(20)
      }
    }
  })
}, 60_000)

test("the server is killed and comes back with its append-only file", async () => {
  await survive({
    port: server.port,
    shared: true,
    strike: async () => {
      await server.kill()
      await pause(200)
      await server.restart()
    }
  })
}, 60_000)

test("the server stands still for longer than a lease: leases are not taken away at once", async () => {
  await survive({
    port: server.port,
    shared: true,
    handlerTime: 20,
    strike: async () => {
      server.signal("SIGSTOP")
      await pause(1_600)
      server.signal("SIGCONT")
    }
  })
}, 60_000)
