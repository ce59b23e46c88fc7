/**
 * Spans of every kind through `Otel.layer` or `Otel.layerNodeSdk`, on the generation of the SDK that the resolver gives.
 * Says what was recorded, as JSON.
 */
import * as Api from "@opentelemetry/api"
import { HttpInstrumentation } from "@opentelemetry/instrumentation-http"
import { IORedisInstrumentation } from "@opentelemetry/instrumentation-ioredis"
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici"
import * as Metrics from "@opentelemetry/sdk-metrics"
import { NodeSDK } from "@opentelemetry/sdk-node"
import * as Trace from "@opentelemetry/sdk-trace"
import * as Client from "@troupe/core/Client"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Telemetry from "@troupe/core/Telemetry"
import * as Transport from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import { Otel } from "@troupe/otel"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import { Redis } from "ioredis"
import { once } from "node:events"
import * as Http from "node:http"
import type { AddressInfo } from "node:net"

const [mode, redisUrl] = process.argv.slice(2)

/** What the sampler was told; a span that says so is dropped. */
const sampled: Array<{ readonly name: string; readonly attributes: Record<string, unknown>; readonly links: number }> =
  []
const sampler: Trace.Sampler = {
  shouldSample: (_context, _traceId, name, _kind, attributes, links) => {
    sampled.push({ name, attributes: { ...attributes }, links: links.length })
    const drop = attributes["drop"] === true
    return { decision: drop ? Trace.SamplingDecision.NOT_RECORD : Trace.SamplingDecision.RECORD_AND_SAMPLED }
  }
}

/** Spans for which the SDK was called though their parent is not sampled. */
const inVain: Array<string> = []
const never: Trace.Sampler = {
  shouldSample: (_context, _traceId, name) => {
    inVain.push(name)
    return { decision: Trace.SamplingDecision.NOT_RECORD }
  },
  toString: () => "AlwaysOffSampler"
}

const finished: Array<Trace.ReadableSpan> = []
const spanProcessor: Trace.SpanProcessor = {
  onStart: () => {},
  onEnd: (span) => {
    finished.push(span)
  },
  forceFlush: () => Promise.resolve(),
  shutdown: () => Promise.resolve()
}

const metricExporter = new Metrics.InMemoryMetricExporter(Metrics.AggregationTemporality.CUMULATIVE)
const metricReader = new Metrics.PeriodicExportingMetricReader({
  exporter: metricExporter,
  exportIntervalMillis: 60_000
})

const configuration = {
  serviceName: "bridge",
  autoDetectResources: false,
  sampler: new Trace.ParentBasedSampler({ root: sampler, localParentSampled: sampler, localParentNotSampled: never }),
  spanProcessors: [spanProcessor],
  metricReaders: [metricReader],
  logRecordProcessors: [],
  instrumentations: [
    new HttpInstrumentation({ disableIncomingRequestInstrumentation: true }),
    new UndiciInstrumentation(),
    new IORedisInstrumentation({ requireParentSpan: true })
  ]
}

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

class Visit extends Task.make("Visit", { payload: { url: Schema.String }, queue: "visits" }) {}

/** The spans in which the broker was called at the end of a job. */
const settledIn: Array<string | undefined> = []

const activeSpan = () => Api.trace.getActiveSpan()?.spanContext().spanId

/** A memory transport that looks for the current span when a job is settled. */
const watched = Layer.effect(
  Transport.Transport,
  Effect.map(Transport.Transport, (transport) => ({
    ...transport,
    log: {
      ...transport.log,
      subscribe: (options) =>
        Effect.map(transport.log.subscribe(options), (subscription) => ({
          ...subscription,
          settle: (settlements) =>
            Effect.suspend(() => {
              settledIn.push(activeSpan())
              return subscription.settle(settlements)
            })
        }))
    }
  }))
).pipe(Layer.provide(MemoryTransport.layer))

/** A job whose handler uses the clients, over the memory transport. */
const visit = (redis: Redis, url: string) =>
  Effect.gen(function*() {
    const job = yield* Visit.enqueue({ url })
    yield* job.await
    // the span ends after the record is there
    const worker = yield* Worker.Worker
    yield* Effect.repeat(Effect.sleep(1), { until: () => Effect.map(worker.finished, (jobs) => jobs === 1) })
  }).pipe(
    Effect.provide(
      Layer.mergeAll(Client.layer, Worker.layer({ tasks: [Visit] })).pipe(
        Layer.provide(Visit.toLayer(({ url }) =>
          Effect.gen(function*() {
            yield* Effect.promise(() => redis.set("visited", url))
            yield* Effect.promise(() => fetch(url).then((response) => response.text()))
            yield* Effect.callback<void>((resume) => {
              Http.get(url, (response) => {
                response.resume().once("end", () => resume(Effect.void))
              })
            })
          })
        )),
        Layer.provide(watched)
      )
    )
  )

const run = Effect.fnUntraced(function*(redis: Redis, url: string) {
  const tracer = Api.trace.getTracer("user")
  const current = yield* Effect.tracer

  yield* Effect.void.pipe(
    Effect.withSpan("success", {
      attributes: { text: "a", list: ["x", "y"], big: 2n, nested: { a: 1 } },
      kind: "consumer"
    })
  )
  yield* Effect.exit(Effect.fail(new Refused({ why: "no" })).pipe(Effect.withSpan("failure")))
  yield* Effect.exit(Effect.die(new TypeError("broken")).pipe(Effect.withSpan("defect")))
  yield* Effect.exit(Effect.interrupt.pipe(Effect.withSpan("interruption")))
  yield* Effect.exit(
    Effect.fail("no").pipe(Effect.withSpan("own type", { attributes: { "error.type": "mine" } }))
  )

  yield* Effect.log("inside").pipe(Effect.withSpan("child"), Effect.withSpan("dropped", { attributes: { drop: true } }))
  yield* Effect.void.pipe(Effect.withSpan("start attributes", {
    annotations: Context.make(Telemetry.StartAttributes, { "job.task": "A" })
  }))

  // links and events, before and after the span has begun
  yield* Effect.gen(function*() {
    const span = yield* Effect.currentSpan
    const other = Tracer.externalSpan({ traceId: "1".repeat(32), spanId: "2".repeat(16), sampled: true })
    void span.spanId
    span.event("happened", 1_700_000_000_000_000_123n, { count: 3 })
    span.addLinks([{ span: other, attributes: { "job.link": "late" } }])
    span.attribute("late", true)
  }).pipe(
    Effect.withSpan("details", {
      links: [{
        span: Tracer.externalSpan({ traceId: "3".repeat(32), spanId: "4".repeat(16), sampled: false }),
        attributes: { "job.link": "early" }
      }]
    })
  )

  // a parent from elsewhere, with a state
  yield* Effect.void.pipe(
    Effect.withSpan("remote child", {
      parent: Tracer.externalSpan({
        traceId: "5".repeat(32),
        spanId: "6".repeat(16),
        annotations: Context.add(Context.empty(), Telemetry.TraceState, "vendor=1")
      })
    })
  )

  // calls of instrumented clients, in every way that a fiber gets to run them
  yield* Effect.gen(function*() {
    yield* Effect.promise(() => redis.set("key", "value"))
    yield* Effect.yieldNow
    yield* Effect.sleep(1)
    yield* Effect.promise(() => fetch(url).then((response) => response.text()))
    yield* Effect.callback<void>((resume) => {
      Http.get(`${url}/http`, (response) => {
        response.resume().once("end", () => resume(Effect.void))
      })
    })
    yield* Effect.sync(() => tracer.startActiveSpan("users own", (span) => span.end()))
    // a program of its own, started by code that knows nothing of this one
    yield* Effect.promise(() =>
      Effect.runPromise(Effect.void.pipe(Effect.withSpan("run inside"), Effect.provideService(Tracer.Tracer, current)))
    )
    yield* Effect.forEach([1, 2], (n) => Effect.promise(() => redis.get(`fork ${n}`)), { concurrency: 2 }).pipe(
      Effect.withSpan("inner")
    )
  }).pipe(Effect.withSpan("nesting"))

  yield* visit(redis, url)

  // a fiber without a span, resumed from within the span of another one
  let open = () => {}
  const gate = Effect.callback<void>((resume) => {
    open = () => resume(Effect.void)
  })
  const outside = yield* Effect.forkChild(
    gate.pipe(
      Effect.andThen(Effect.promise(() => redis.get("outside"))),
      Effect.andThen(Effect.void.pipe(Effect.withSpan("outside")))
    ),
    { startImmediately: true }
  )
  yield* Effect.sync(() => open()).pipe(Effect.andThen(Fiber.join(outside)), Effect.withSpan("waker"))

  // inside a span of the surroundings
  yield* Effect.promise(() =>
    tracer.startActiveSpan("request", { root: true }, (span) =>
      Effect.runPromise(
        Effect.void.pipe(
          Effect.withSpan("in request"),
          Effect.andThen(Effect.void.pipe(Effect.withSpan("root in request", { root: true }))),
          Effect.provideService(Tracer.Tracer, current)
        )
      ).finally(() => span.end()))
  )

  yield* Effect.void.pipe(Effect.withSpan("untraced", { attributes: { secret: 1 } }), Effect.withTracerEnabled(false))

  const recorder = yield* Telemetry.Recorder
  const wait = recorder.bind(Telemetry.metrics.waitDuration, { "job.task": "A" })
  wait(0.003)
  wait(42)
  recorder.bind(Telemetry.metrics.retries, { "job.task": "A" })(2)
  recorder.bind(Telemetry.metrics.active, { "job.task": "A" })(3)
  recorder.bind(Telemetry.metrics.active, { "job.task": "A" })(-1)
  recorder.bind(Telemetry.metrics.queueDepth, { "job.state": "queued" })(7)
  yield* Effect.promise(() => metricReader.forceFlush())
  return metricExporter.getMetrics()
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics }) => metrics)
    .map(({ dataPointType, dataPoints, descriptor: { name, unit }, ...more }) => ({
      name,
      type: Metrics.DataPointType[dataPointType],
      isMonotonic: "isMonotonic" in more && more.isMonotonic,
      unit,
      points: dataPoints.map(({ attributes, value }) => ({ attributes, value }))
    }))
})

const told = (span: Trace.ReadableSpan) => ({
  name: span.name,
  kind: Api.SpanKind[span.kind],
  traceId: span.spanContext().traceId,
  spanId: span.spanContext().spanId,
  state: span.spanContext().traceState?.serialize(),
  parent: span.parentSpanContext?.spanId,
  remoteParent: span.parentSpanContext?.isRemote === true,
  status: span.status,
  attributes: span.attributes,
  events: span.events.map(({ attributes, name, time }) => ({ name, time, attributes })),
  links: span.links.map(({ attributes, context }) => ({ ...context, attributes })),
  scope: span.instrumentationScope.name
})

export type ToldSpan = ReturnType<typeof told>

const server = Http.createServer((_request, response) => response.end("ok")).listen(0, "127.0.0.1")
await once(server, "listening")
const { port } = server.address() as AddressInfo
const redis = new Redis(redisUrl!)
await once(redis, "ready")

let live: Layer.Layer<never, Otel.TracerConflict | Otel.SdkUnavailable>
let sdk: NodeSDK | undefined
if (mode === "layerNodeSdk") {
  live = Otel.layerNodeSdk(configuration)
} else {
  sdk = new NodeSDK(configuration)
  sdk.start()
  live = Layer.merge(Otel.layer(), Otel.layerMetrics())
}
const metrics = await Effect.runPromise(run(redis, `http://127.0.0.1:${port}`).pipe(Effect.provide(live)))
await sdk?.shutdown()
server.close()
redis.disconnect()

const sdkVersion = finished[0]?.resource.attributes["telemetry.sdk.version"]
const everything = { sdkVersion, sampled, inVain, spans: finished.map(told), metrics, settledIn }
export type Told = typeof everything
process.send?.(everything)
