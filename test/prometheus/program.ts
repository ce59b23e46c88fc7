/**
 * A worker process that does a bit of everything: `node program.ts <port> <transport> [url]`. Starts each part of its jobs
 * when its parent says so; by then it was scraped.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Client from "@troupe/core/Client"
import * as CronJob from "@troupe/core/CronJob"
import { Health, type Report } from "@troupe/core/Health"
import * as JobQueue from "@troupe/core/JobQueue"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Signing from "@troupe/core/Signing"
import * as Task from "@troupe/core/Task"
import { QueueStatsInterval } from "@troupe/core/Telemetry"
import * as Worker from "@troupe/core/Worker"
import * as WorkerHttp from "@troupe/core/WorkerHttp"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { createServer } from "node:http"
import { counts } from "./counts.ts"

const [port = "", transport = "", url = ""] = process.argv.slice(2)

const TransportLive = transport === "redis"
  ? RedisTransport.layer({ url })
  : transport === "nats"
  ? NatsTransport.layer({ servers: url })
  : MemoryTransport.layer

class Refused extends Schema.TaggedError<Refused>()("Refused", {}) {}

const queue = "mail"
const Send = Task.make("Send", { payload: Schema.Number, queue })
const Flaky = Task.make("Flaky", { queue, error: Refused, retry: Schedule.spaced("100 millis"), maxAttempts: 3 })
const Broken = Task.make("Broken", { queue, error: Refused, maxAttempts: 1 })
const Later = Task.make("Later", { queue })
const Hold = Task.make("Hold", { queue })
const Block = Task.make("Block", { queue })
const Tick = Task.make("Tick", { queue })
const Parked = Task.make("Parked", { queue: "parked" })
const tasks = [Send, Flaky, Broken, Later, Hold, Block, Tick, Parked] as const

let blocked = false

/** Blocks the event loop for longer than the lease. */
const block = Effect.sync(() => {
  blocked = true
  const end = performance.now() + 1_600
  while (performance.now() < end);
})

const Handlers = Layer.mergeAll(
  Send.toLayer(() => Effect.sleep(30)),
  Flaky.toLayer((_, { attempt }) => attempt < 3 ? Effect.fail(new Refused()) : Effect.void),
  Broken.toLayer(() => Effect.fail(new Refused())),
  Later.toLayer(() => Effect.void),
  Hold.toLayer(() => Effect.never),
  // not by the count of deliveries: one that was never started has blocked nothing
  Block.toLayer(() => Effect.suspend(() => blocked ? Effect.void : Effect.andThen(block, Effect.never))),
  Tick.toLayer(() => Effect.void),
  Parked.toLayer(() => Effect.void)
)

/** Writes into the same queue without a key. */
const forge = Effect.scoped(
  Effect.flatMap(Effect.provideService(Client.make, Signing.Signing, undefined), (client) =>
    Effect.provideService(
      Send.enqueue(0),
      Client.Client,
      client
    ))
)

/** Another version of the task, whose payload this one cannot read. */
const SendText = Task.make("Send", { payload: Schema.String, queue })

const times = <A, E, R>(count: number, effect: Effect.Effect<A, E, R>) =>
  Effect.repeat(effect, Schedule.recurs(count - 1))

/** A series that appears is not one that rises: what has no series before its first job comes in two rounds. */
const round = Effect.gen(function*() {
  yield* times(counts.flaky / 2, Flaky.enqueue())
  yield* times(counts.broken / 2, Broken.enqueue())
  yield* times(counts.forged / 2, forge)
  yield* times(counts.unreadable / 2, SendText.enqueue("text"))
  yield* Send.enqueueMany(Array.from({ length: counts.sent / 2 }, (_, i) => ({ payload: i })))
  yield* Effect.flatMap(Later.enqueue(undefined, { delay: "1 hour" }), (job) => job.cancel)
})

let words = 0
let onWord = () => {}
process.on("message", () => {
  words++
  onWord()
})

/** A word of the parent, which waits for what comes of it. It may have been said already. */
const told = Effect.callback<void>((resume) => {
  onWord = () => {
    if (words === 0) return
    words--
    onWord = () => {}
    resume(Effect.void)
  }
  onWord()
})

const script = Effect.gen(function*() {
  yield* told
  yield* JobQueue.pause("parked")
  const { report } = yield* Health
  const isPaused = ({ workers }: Report) => workers.some(({ queues }) => queues.some(({ state }) => state === "paused"))
  yield* Effect.repeat(report, { until: isPaused, schedule: Schedule.spaced(50) })
  yield* Parked.enqueue()
  yield* Later.enqueue(undefined, { delay: "1 second" })
  yield* Later.enqueue(undefined, { delay: "1 hour" })
  yield* round
  yield* told
  yield* round
  // after the others: nothing else loses its lease
  yield* told
  yield* Effect.flatMap(Block.enqueue(), (job) => job.await)
  yield* Hold.enqueue()
})

const Keys = Layer.unwrap(
  Effect.map(Signing.generateKey, (secret) => Signing.layerHmac({ keys: [{ id: "test", secret }] }))
)

const ProgramLive = Layer.effectDiscard(
  Effect.forkScoped(Effect.tapCause(script, Effect.logError))
).pipe(
  // a process that stands still again and again loses what it holds each time: that is no poison here
  Layer.provideMerge(Worker.layer({ tasks, idleTimeout: "1 second", gracePeriod: 0, maxDeliveries: 1_000 })),
  Layer.provideMerge(CronJob.layer("every second", { every: "1 second", task: Tick })),
  Layer.provide(Handlers),
  Layer.provideMerge(Client.layer),
  Layer.provideMerge(TransportLive),
  Layer.provide([Keys, Layer.succeed(QueueStatsInterval, "500 millis")]),
  Layer.provide(WorkerHttp.layer().pipe(Layer.provide(NodeHttpServer.layer(createServer, { port: Number(port) }))))
)

process.once("disconnect", () => process.exit())
Worker.runMain(ProgramLive)
