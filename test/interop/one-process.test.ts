/**
 * One scenario on every transport: what an application sees is the same. The
 * producer, two workers and whoever waits have connections of their own.
 */
import * as Client from "@troupe/core/Client"
import * as DeadLetter from "@troupe/core/DeadLetter"
import * as Job from "@troupe/core/Job"
import * as JobQueue from "@troupe/core/JobQueue"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let redis: RedisServer
let nats: NatsServer
beforeAll(async () => {
  ;[redis, nats] = await Promise.all([startRedis(), startNats()])
})
afterAll(() => Promise.all([redis.stop(), nats.stop()]))

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { item: Schema.String }) {}

class Order extends Task.make("Order", {
  payload: { item: Schema.String, at: Schema.Date, bytes: Schema.Uint8Array },
  success: Schema.Struct({ item: Schema.String, attempt: Schema.Number, length: Schema.Number }),
  error: OutOfStock,
  queue: "orders ☕ {1}",
  maxAttempts: 2,
  retry: Schedule.spaced("50 millis"),
  idempotencyKey: ({ item }) => item
}) {}

class Step extends Task.make("Step", { payload: Schema.Number, queue: "steps", key: () => "one" }) {}

type Log = (line: string) => void

const payload = (item: string) => ({ item, at: new Date(0), bytes: new Uint8Array([0, 13, 10, 255]) })

const workers = (log: Log) => {
  let repaired = false
  const handlers = Layer.mergeAll(
    Order.toLayer(({ at, bytes, item }, { attempt }) => {
      if (item === "flaky" && attempt === 1) return Effect.fail(new OutOfStock({ item }))
      if (item === "broken" && !repaired) return Effect.fail(new OutOfStock({ item }))
      return Effect.succeed({ item, attempt, length: bytes.length + at.getTime() })
    }),
    Step.toLayer((n) => Effect.andThen(Effect.sleep(n === 0 ? 100 : 1), Effect.sync(() => log(`step ${n}`))))
  )
  const worker = Worker.layer({ tasks: [Order, Step], concurrency: 4, idleTimeout: "2 seconds" }).pipe(
    Layer.provide(handlers)
  )
  return { worker, repair: () => void (repaired = true) }
}

const told = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onSuccess: (value) => JSON.stringify(value),
    onFailure: (error) => typeof error === "object" && error !== null && "_tag" in error ? String(error._tag) : "?"
  })

/** `connection`: another one each time, to the same broker. */
const scenario = (connection: () => Layer.Layer<Transport, unknown>, log: Log) =>
  Effect.gen(function*() {
    const { repair, worker } = workers(log)
    const withClient = <A, E>(use: Effect.Effect<A, E, Client.Client | Transport | Scope>) =>
      Effect.scoped(use).pipe(Effect.provide(Layer.provideMerge(Client.layer, connection())))

    // jobs wait before there is any worker
    const cancelled = yield* withClient(Effect.gen(function*() {
      const job = yield* Order.enqueue(payload("cancelled"), { delay: "1 hour" })
      log(`status ${yield* job.status}`)
      log(`cancel ${yield* job.cancel}`)
      log(`cancel again ${yield* job.cancel}`)
      for (const n of [0, 1, 2, 3]) yield* Step.enqueue(n)
      const { queued, running, scheduled } = yield* JobQueue.stats("steps")
      log(`steps ${scheduled} ${queued} ${running}`)
      return job.id
    }))

    yield* Layer.build(Layer.provide(worker, connection()))
    yield* Layer.build(Layer.provide(worker, connection()))

    // who enqueues is gone before anybody waits
    const ids = yield* withClient(Effect.gen(function*() {
      const plain = yield* Order.enqueue(payload("plain"))
      const again = yield* Order.enqueue(payload("plain"))
      log(`same job ${plain.id === again.id} ${again.duplicate}`)
      const flaky = yield* Order.enqueue(payload("flaky"))
      const delayed = yield* Order.enqueue(payload("delayed"), { delay: "200 millis", priority: "low" })
      const broken = yield* Order.enqueue(payload("broken"))
      const last = yield* Step.enqueue(4)
      return { plain: plain.id, flaky: flaky.id, delayed: delayed.id, broken: broken.id, last: last.id }
    }))

    yield* withClient(Effect.gen(function*() {
      const client = yield* Client.Client
      const order = (id: string) => Job.fromId(Order, id)
      log(`plain ${yield* told(Effect.flatMap(order(ids.plain), (job) => job.await))}`)
      log(`flaky ${yield* told(Effect.flatMap(order(ids.flaky), (job) => job.await))}`)
      log(`delayed ${yield* told(Effect.flatMap(order(ids.delayed), (job) => job.await))}`)
      log(`broken ${yield* told(Effect.flatMap(order(ids.broken), (job) => job.await))}`)
      log(`cancelled ${yield* told(Effect.flatMap(order(cancelled), (job) => job.await))}`)
      yield* client.job("steps", ids.last).awaitRecord
      log(`unknown ${yield* told(client.job("steps", "nobody").status)}`)
      const letters = yield* DeadLetter.list(Order.queue)
      log(`letters ${letters.items.map(({ attempts, id, reason }) => `${id === ids.broken} ${reason} ${attempts}`)}`)
      repair()
      log(`replay ${(yield* DeadLetter.replay(Order.queue, [ids.broken])).length}`)
      log(`replayed ${yield* told(Effect.flatMap(order(ids.broken), (job) => job.await))}`)
      const { dead, queued, running, scheduled } = yield* JobQueue.stats(Order.queue)
      log(`orders ${scheduled} ${queued} ${running} ${dead}`)
    }))
  })

const expected = [
  "status scheduled",
  "cancel cancelled",
  "cancel again cancelled",
  "steps 0 4 0",
  "same job true true",
  "plain {\"item\":\"plain\",\"attempt\":1,\"length\":4}",
  "flaky {\"item\":\"flaky\",\"attempt\":2,\"length\":4}",
  "delayed {\"item\":\"delayed\",\"attempt\":1,\"length\":4}",
  "broken OutOfStock",
  "cancelled JobCancelled",
  "unknown JobNotFound",
  "letters true Error 2",
  "replay 1",
  "replayed {\"item\":\"broken\",\"attempt\":1,\"length\":4}",
  "orders 0 0 0 0"
]

const silent = Layer.succeed(References.MinimumLogLevel, "Error")

type Connection = () => Layer.Layer<Transport, unknown>

const brokers: Readonly<Record<string, Effect.Effect<Connection, unknown, Scope>>> = {
  // one broker, and as many references to it
  memory: Effect.map(Layer.build(MemoryTransport.layer), (context) => () => Layer.succeedContext(context)),
  redis: Effect.sync(() => () => Layer.fresh(RedisTransport.layer({ url: redis.url }))),
  nats: Effect.sync(() => () => Layer.fresh(NatsTransport.layer({ servers: nats.url })))
}

for (const [name, broker] of Object.entries(brokers)) {
  test(`${name}: the scenario of all transports`, async () => {
    const lines: Array<string> = []
    await Effect.runPromise(
      Effect.scoped(Effect.flatMap(broker, (connection) => scenario(connection, (line) => lines.push(line)))).pipe(
        Effect.provide(silent)
      )
    )
    expect(lines.filter((line) => line.startsWith("step "))).toEqual([0, 1, 2, 3, 4].map((n) => `step ${n}`))
    expect(lines.filter((line) => !line.startsWith("step "))).toEqual(expected)
  }, 30_000)
}
