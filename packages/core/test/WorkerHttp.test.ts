/** The routes, without a server. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Health, make } from "../src/Health.ts"
import * as Recorder from "../src/internal/telemetry/recorder.ts"
import { metrics } from "../src/Telemetry.ts"
import * as WorkerHttp from "../src/WorkerHttp.ts"

const ask = Effect.fnUntraced(function*(path: string, options?: WorkerHttp.Options, method = "GET") {
  const health = make()
  health.enter("running")
  const own = Layer.mergeAll(
    Layer.succeed(Health, health),
    Layer.succeed(Metric.MetricRegistry, yield* Metric.MetricRegistry)
  )
  const { dispose, handler } = HttpRouter.toWebHandler(
    WorkerHttp.layerRoutes(options).pipe(Layer.provide(own), Layer.provideMerge(own)),
    { disableLogger: true }
  )
  return yield* Effect.promise(async () => {
    const response = await handler(new Request(`http://localhost${path}`, { method }))
    const text = await response.text()
    await dispose()
    return { status: response.status, text }
  })
})

/** A registry of the test's own. */
const alone = Effect.provideService(Metric.MetricRegistry, new Map())

describe("the endpoints", () => {
  it.effect("are where they are wanted", () =>
    Effect.gen(function*() {
      const options = { live: "/livez", ready: "/readyz", metrics: false } as const
      assert.deepStrictEqual(yield* ask("/livez", options), { status: 200, text: `{"status":"live"}` })
      assert.deepStrictEqual(yield* ask("/readyz", options), {
        status: 200,
        text: `{"status":"ready","workers":[],"clients":[]}`
      })
      assert.strictEqual((yield* ask("/metrics", options)).status, 404)
      assert.strictEqual((yield* ask("/live", options)).status, 404)
      assert.deepStrictEqual(yield* ask("/ready", {}, "HEAD"), { status: 200, text: "" })
    }))
})

describe("the metrics as Prometheus text", () => {
  it.effect("have the names, units and buckets that they have when they come by OTLP", () =>
    Effect.gen(function*() {
      const recorder = Recorder.of(yield* Effect.context())
      for (const definition of Object.values(metrics)) {
        const bound = recorder.bind(definition, { "messaging.destination.name": "mail", "job.task": "a\"b\\c\nd" })
        bound(0.3)
        bound(2)
      }
      yield* Metric.update(Metric.counter("orders.placed"), 3)
      const { text } = yield* ask("/metrics")
      const families = [...text.matchAll(/^# TYPE (.*)$/gm)].map(([, family]) => family!)
      assert.deepStrictEqual(families.toSorted(), [
        "job_active gauge",
        "job_cron_lateness_seconds histogram",
        "job_dead_lettered_total counter",
        "job_lease_lost_total counter",
        "job_payload_decode_errors_total counter",
        "job_queue_depth gauge",
        "job_queue_oldest_age_seconds gauge",
        "job_reclaimed_total counter",
        "job_retries_total counter",
        "job_signature_rejected_total counter",
        "job_wait_duration_seconds histogram",
        "job_worker_capacity gauge",
        "job_worker_ready gauge",
        "messaging_client_consumed_messages_total counter",
        "messaging_client_operation_duration_seconds histogram",
        "messaging_client_sent_messages_total counter",
        "messaging_process_duration_seconds histogram",
        // not ours
        "orders_placed counter"
      ])
      // no label says the unit
      const labels = `messaging_destination_name="mail",job_task="a\\"b\\\\c\\nd"`
      assert.include(text, `\njob_retries_total{${labels}} 2.3\n`)
      assert.include(text, `\njob_active{${labels}} 2.3\n`)
      assert.include(text, `\njob_queue_depth{${labels}} 2\n`)
      const waited = [...text.matchAll(/^job_wait_duration_seconds_(\w+)\{(.*)\} (.*)$/gm)].map((
        [, part, set, value]
      ) => `${part}${set!.replace(labels, "").replace(/^,le="(.*)"$/, " $1")} ${value}`)
      const counts = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25].map((le) => `bucket ${le} 0`)
      const one = [0.5, 1].map((le) => `bucket ${le} 1`)
      const two = [2.5, 5, 10, 30, 60, 300, 900, 3600, "+Inf"].map((le) => `bucket ${le} 2`)
      assert.deepStrictEqual(waited, [...counts, ...one, ...two, "sum 2.3", "count 2"])
    }).pipe(alone))
})
