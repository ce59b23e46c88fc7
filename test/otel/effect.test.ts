/**
 * Core alone, exported by Effect's own `effect/observability` to a real backend: no package beside it is needed for
 * traces, metrics and logs that belong together.
 */
import * as Client from "@troupe/core/Client"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as Schema from "effect/Schema"
import { afterAll, beforeAll, expect, it, vi } from "vitest"
import { type Backend, type Span, startBackend } from "./e2e/backend.ts"

class Busy extends Schema.TaggedError<Busy>()("Busy", {}) {}

class Order extends Task.make("Order", { queue: "shop", error: Busy, maxAttempts: 1 }) {}

class Receipt extends Task.make("Receipt", { queue: "shop" }) {}

const HandlersLive = Layer.mergeAll(
  Order.toLayer(Effect.fnUntraced(function*() {
    yield* Effect.orDie(Effect.flatMap(Receipt.enqueue(), (job) => job.await))
    yield* Effect.logInfo("charging")
    return yield* new Busy()
  })),
  Receipt.toLayer(() => Effect.void)
)

let backend: Backend
let id = ""

beforeAll(async () => {
  backend = await startBackend()
  const TelemetryLive = Otlp.layer({
    baseUrl: backend.url,
    resource: { serviceName: "shop" },
    loggerMergeWithExisting: false
  }).pipe(Layer.provide([OtlpSerialization.layerJson, FetchHttpClient.layer]))
  const AppLive = Worker.layer({ tasks: [Order, Receipt], concurrency: 2 }).pipe(
    Layer.provide(HandlersLive),
    Layer.provideMerge(Client.layer),
    Layer.provide(MemoryTransport.layer),
    Layer.provideMerge(TelemetryLive)
  )
  const program = Effect.gen(function*() {
    const job = yield* Order.enqueue()
    yield* Effect.flip(job.await)
    return job.id
  })
  // what is left is exported when the layers end
  id = await Effect.runPromise(program.pipe(Effect.withSpan("request"), Effect.provide(AppLive)))
}, 60_000)
afterAll(() => backend.stop())

it("sends the spans of jobs, as a tree", async () => {
  const spans = await vi.waitFor(async () => {
    const spans = await backend.spans()
    expect(spans.length).toBeGreaterThanOrEqual(5)
    return spans
  }, 20_000)
  const below = (parent: Span | undefined): ReadonlyArray<Span> =>
    spans.filter(({ parentSpanId }) => parentSpanId === parent?.spanId)
  const tree = (span: Span): unknown => [`${span.name} ${span.kind}`, ...below(span).map(tree)]
  expect(below(undefined).map(tree)).toEqual([
    ["request INTERNAL", ["send shop PRODUCER", ["process shop CONSUMER", ["send shop PRODUCER", [
      "process shop CONSUMER"
    ]]]]]
  ])
  const process = spans.find(({ attributes, kind }) => kind === "CONSUMER" && attributes["job.task"] === "Order")
  expect(process).toMatchObject({
    status: { code: "ERROR" },
    attributes: { "messaging.message.id": id, "job.outcome": "failed", "error.type": "Busy" },
    links: [{ spanId: process!.parentSpanId, attributes: { "job.link": "creation" } }]
  })
  expect(process!.events).toContainEqual(
    expect.objectContaining({ name: "job.dead_lettered", attributes: { reason: "Error" } })
  )
})

it("sends the log lines of a handler, found by the trace of its job", async () => {
  const [process] = (await backend.spans()).filter(({ attributes }) => attributes["job.outcome"] === "failed")
  await vi.waitFor(
    async () =>
      expect(await backend.logs(`trace_id = ${process!.traceId}`)).toContainEqual(expect.objectContaining({
        body: "charging",
        spanId: process!.spanId,
        attributes: expect.objectContaining({ "job.id": id, "job.task": "Order", "job.attempt": 1 })
      })),
    20_000
  )
})

it("sends the metrics", async () => {
  const metrics = await vi.waitFor(async () => {
    const metrics = await backend.metrics()
    expect(metrics.length).toBeGreaterThan(0)
    return metrics
  }, 20_000)
  expect(metrics.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["job.wait.duration", "messaging.process.duration", "job.dead_lettered", "job.active"])
  )
})
