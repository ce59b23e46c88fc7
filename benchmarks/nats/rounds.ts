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
import type { Entrant } from "../scenario.ts"
import { server } from "./server.ts"

const name = "Troupe on NATS"
const keys = 1_000
const chunk = 1_000
const hour = 3_600_000

const quiet = Layer.succeed(References.MinimumLogLevel, "Warn")

const transport = Effect.map(
  Effect.promise(server.url),
  (url) => Layer.fresh(NatsTransport.layer({ servers: url }))
)

let queues = 0

/** A queue of its own with this many jobs. */
const prepare = Effect.fnUntraced(function*(
  jobs: number,
  optionsOf: (n: number) => { readonly key?: string; readonly delay?: number }
) {
  const Step = Task.make("Step", { payload: Schema.Number, queue: `round${queues++}` })
  const layer = yield* transport
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
        const { layer, Step } = yield* prepare(jobs, (n) => ({ key: `key-${n % keys}` }))
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

/** What a job takes in the memory of the server while it waits for its time. */
export const waiting: Entrant = {
  name,
  round: async (jobs) => {
    const before = await server.memory()
    const start = performance.now()
    await Effect.runPromise(prepare(jobs, () => ({ delay: hour })).pipe(Effect.provide(quiet)))
    const rate = jobs * 1e3 / (performance.now() - start)
    // the collector of the server's language gives memory back late
    await new Promise((resolve) => setTimeout(resolve, 5_000))
    return { "B/job": (await server.memory() - before) / jobs, "jobs/s": rate }
  }
}
