import { describe, expect, it } from "@effect/vitest"
import * as Telemetry from "@troupe/core/Telemetry"
import { Otel } from "@troupe/otel"
import * as Effect from "effect/Effect"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

interface Received {
  readonly path: string
  readonly body: string
  readonly key: unknown
}

/** A receiver that keeps what it gets. */
const receiver = Effect.acquireRelease(
  Effect.promise(async () => {
    const received: Array<Received> = []
    const server = createServer((request, response) => {
      let body = ""
      request.setEncoding("utf8").on("data", (text: string) => {
        body += text
      }).once("end", () => {
        received.push({ path: request.url!, body, key: request.headers["x-key"] })
        response.end("{}")
      })
    }).listen(0, "127.0.0.1")
    await once(server, "listening")
    return { received, server, endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` }
  }),
  ({ server }) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
)

describe("Otel.layerOtlp", () => {
  it.live("sends traces, logs of their spans and metrics, all of them before it ends", () =>
    Effect.scoped(Effect.gen(function*() {
      const { endpoint, received } = yield* receiver
      const span = yield* Effect.gen(function*() {
        const { bind } = yield* Telemetry.Recorder
        bind(Telemetry.metrics.waitDuration, { "job.task": "Otlp" })(0.1)
        yield* Effect.logInfo("inside")
        return yield* Effect.currentSpan
      }).pipe(
        Effect.withSpan("work"),
        Effect.provide(Otel.layerOtlp({ endpoint, serviceName: "test", headers: { "x-key": "secret" } }))
      )
      const bodies = (signal: string) =>
        received.filter(({ path }) => path === `/v1/${signal}`).map(({ body }) => JSON.parse(body))
      expect(received.map(({ path }) => path).sort()).toEqual(["/v1/logs", "/v1/metrics", "/v1/traces"])
      expect(received.map(({ key }) => key)).toEqual(["secret", "secret", "secret"])

      const [{ resource, scopeSpans: [{ scope, spans }] }] = bodies("traces")[0].resourceSpans
      expect(resource.attributes).toContainEqual({ key: "service.name", value: { stringValue: "test" } })
      expect(scope).toEqual({ name: "@troupe/otel" })
      expect(spans).toMatchObject([{ name: "work", traceId: span.traceId, spanId: span.spanId, status: { code: 0 } }])

      const [{ scopeLogs: [{ logRecords }] }] = bodies("logs")[0].resourceLogs
      expect(logRecords).toMatchObject([{
        body: { stringValue: "inside" },
        traceId: span.traceId,
        spanId: span.spanId
      }])

      const [{ scopeMetrics: [{ metrics }] }] = bodies("metrics")[0].resourceMetrics
      const wait = metrics.find(({ name }: { readonly name: string }) => name === "job.wait.duration")
      expect(wait.unit).toBe("s")
      const [point] = wait.histogram.dataPoints
      expect(point.attributes).toEqual([{ key: "job.task", value: { stringValue: "Otlp" } }])
      expect(point.explicitBounds).toEqual([...Telemetry.metrics.waitDuration.boundaries])
    })))

  it.live("sends no more than it is told to", () =>
    Effect.scoped(Effect.gen(function*() {
      const { endpoint, received } = yield* receiver
      yield* Effect.logInfo("inside").pipe(
        Effect.withSpan("work"),
        Effect.provide(Otel.layerOtlp({ endpoint, sampleRatio: 0, metrics: false, logs: false }))
      )
      expect(received).toEqual([])
    })))
})
