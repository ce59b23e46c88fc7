/**
 * A worker process with its endpoints: `node program.ts <port> [redis url]`. Tells its parent what happens. A job of `Long`
 * ends when the process no longer says that it is ready.
 */
import { NodeHttpServer } from "@effect/platform-node"
import * as Client from "@troupe/core/Client"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as WorkerHttp from "@troupe/core/WorkerHttp"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import { createServer } from "node:http"

const [port = "", url] = process.argv.slice(2)

const tell = (what: string) => Effect.sync(() => void process.send?.(what))

const status = (path: string) => Effect.promise(async () => (await fetch(`http://127.0.0.1:${port}${path}`)).status)

const Long = Task.make("Long", { queue: "long" })

const LongLive = Long.toLayer(() =>
  Effect.gen(function*() {
    yield* tell("started")
    const ready = yield* Effect.repeat(status("/ready"), {
      until: (code) => code !== 200,
      schedule: Schedule.spaced(20)
    })
    yield* tell(`ready ${ready}, live ${yield* status("/live")}`)
  })
)

// the example of the documentation, and a job
const onTop = Effect.acquireRelease(
  Long.enqueue(),
  () => Effect.flatMap(status("/ready"), (ready) => tell(`before the drain: ready ${ready}`))
)
const WorkerLive = Layer.effectDiscard(onTop).pipe(
  Layer.provideMerge(Worker.layer({ tasks: [Long], id: "worker", gracePeriod: "1 minute" })),
  Layer.provide([LongLive, Client.layer]),
  Layer.provide(url === undefined ? MemoryTransport.layer : RedisTransport.layer({ url })),
  Layer.provide(WorkerHttp.layer().pipe(Layer.provide(NodeHttpServer.layer(createServer, { port: Number(port) }))))
)

process.once("disconnect", () => process.exit())
Worker.runMain(WorkerLive)
