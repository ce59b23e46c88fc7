/**
 * Rounds that only Troupe can run here: JetStream 2.9 has neither keys nor due
 * times.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { startNats } from "../../test/servers/nats.ts"
import { freePort } from "../../test/servers/process.ts"
import type { Entrant } from "../scenario.ts"
import { server } from "./server.ts"

const name = "Troupe on NATS"
const keys = 1_000
const chunk = 1_000
const hour = 3_600_000

const quiet = Layer.succeed(References.MinimumLogLevel, "Warn")

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

let queues = 0

/** A queue of its own with this many jobs. */
const prepare = Effect.fnUntraced(function*(
  url: string,
  jobs: number,
  optionsOf: (n: number) => { readonly key?: string; readonly delay?: number }
) {
  const Step = Task.make("Step", { payload: Schema.Number, queue: `round${queues++}` })
  const layer = Layer.fresh(NatsTransport.layer({ servers: url }))
  const fill = Effect.gen(function*() {
    for (let from = 0; from < jobs; from += chunk) {
      const outcomes = yield* Step.enqueueMany(
        Array.from({ length: Math.min(chunk, jobs - from) }, (_, i) => ({
          payload: from + i,
          options: optionsOf(from + i)
        }))
      )
      for (const outcome of outcomes) if (Result.isFailure(outcome)) return yield* Effect.die(outcome.failure)
    }
  })
  yield* Effect.provide(fill, Layer.provideMerge(Client.layer, layer))
  return { Step, layer }
})

/** A queue full of jobs of 1,000 keys, then a worker. */
export const keyed: Entrant = {
  name,
  round: (jobs) =>
    Effect.runPromise(
      Effect.scoped(Effect.gen(function*() {
        const { layer, Step } = yield* prepare(
          yield* Effect.promise(server.url),
          jobs,
          (n) => ({ key: `key-${n % keys}` })
        )
        const last = new Map<number, number>()
        let outOfOrder = 0
        let done = 0
        const handler = (n: number) =>
          Effect.sync(() => {
            if ((last.get(n % keys) ?? -1) >= n) outOfOrder++
            last.set(n % keys, n)
            done++
          })
        const start = performance.now()
        yield* Layer.build(
          Worker.layer({ tasks: [Step], concurrency: 64 }).pipe(
            Layer.provide(Step.toLayer(handler)),
            Layer.provide(layer)
          )
        )
        while (done < jobs) yield* Effect.sleep(1)
        return { "jobs/s": jobs * 1e3 / (performance.now() - start), "out of order": outOfOrder }
      })).pipe(Effect.provide(quiet))
    )
}

/** A server of its own that collects its garbage when it is asked to: else it does every two minutes. */
const startCollecting = async () => {
  const port = await freePort()
  const server = await startNats(`prof_port: ${port}`)
  const collected = async () => {
    // a buffer for later use is given up by the third one
    for (let times = 0; times < 3; times++) {
      await (await fetch(`http://127.0.0.1:${port}/debug/pprof/heap?debug=1&gc=1`)).arrayBuffer()
      await pause(1_000)
    }
    // pages are given back by and by
    await pause(3_000)
    return server.memory()
  }
  return { server, collected }
}

/** What a job takes in the memory of the server while it waits for its time. */
export const waiting: Entrant = {
  name,
  round: async (jobs) => {
    const { collected, server } = await startCollecting()
    const before = await collected()
    const start = performance.now()
    await Effect.runPromise(prepare(server.url, jobs, () => ({ delay: hour })).pipe(Effect.provide(quiet)))
    const rate = jobs * 1e3 / (performance.now() - start)
    // with the garbage of the enqueue
    const most = server.memory()
    // it also keeps for ten seconds what it wrote or read last
    await pause(12_000)
    const after = await collected()
    await server.stop()
    return { "B/job": (after - before) / jobs, "B/job at first": (most - before) / jobs, "jobs/s": rate }
  }
}
