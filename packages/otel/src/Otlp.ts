/**
 * Traces, metrics and logs over OTLP, without an SDK.
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as OtlpExporter from "effect/observability/OtlpExporter"
import * as OtlpLogger from "effect/observability/OtlpLogger"
import * as OtlpMetrics from "effect/observability/OtlpMetrics"
import * as OtlpResource from "effect/observability/OtlpResource"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as Globals from "./internal/globals.ts"
import * as OnlyTracer from "./internal/onlyTracer.ts"
import * as OtlpTracer from "./internal/otlpTracer.ts"
import * as Serialization from "./internal/serialization.ts"
import * as Spool from "./internal/spool.ts"
import type { TracerConflict } from "./OtelError.ts"

export interface OtlpOptions {
  /** The base address of an OTLP receiver over HTTP, `http://localhost:4318`; `/v1/traces` and so on are appended. */
  readonly endpoint: string
  /** Default: `OTEL_SERVICE_NAME`, then `unknown_service`. */
  readonly serviceName?: string | undefined
  readonly serviceVersion?: string | undefined
  /** More attributes of the resource; those of `OTEL_RESOURCE_ATTRIBUTES` are beside them. */
  readonly attributes?: Readonly<Record<string, unknown>> | undefined
  /** Sent with every request: keys of a vendor. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** The share of traces that is recorded, from 0 to 1, of those that begin here; others do as their parent. Default: 1. */
  readonly sampleRatio?: number | undefined
  /** Default: true. */
  readonly metrics?: boolean | undefined
  /** Log lines, with the trace and span that they belong to, beside the loggers that are there. Default: true. */
  readonly logs?: boolean | undefined
  /** Default: `none`. */
  readonly compression?: "gzip" | "none" | undefined
  /** How often spans and log lines are sent; metrics are every 10 seconds. Default: 2 seconds. */
  readonly exportInterval?: Duration.Input | undefined
  /** Bytes of traces and logs that are kept while the backend does not take them; then the oldest go. Default: 16 MiB. */
  readonly bufferSize?: number | undefined
  /** How long the end of the layer tries to send what is left. Default: 5 seconds. */
  readonly shutdownTimeout?: Duration.Input | undefined
}

const withoutSdk = "An OpenTelemetry SDK is registered, too: calls that it instruments do not nest under spans of " +
  "Otel.layerOtlp. Otel.layer makes them"

const signals = (options: OtlpOptions) =>
  Effect.gen(function*() {
    const { attributes = {}, compression, endpoint, headers, sampleRatio = 1, serviceVersion, shutdownTimeout } =
      options
    const base = endpoint.replace(/\/+$/, "")
    const named = options.serviceName ??
      (yield* Config.String("OTEL_SERVICE_NAME").pipe(Config.withDefault("unknown_service"), Effect.orDie))
    const resource = { serviceName: named, serviceVersion, attributes: { ...attributes } }
    const exportInterval = options.exportInterval ?? "2 seconds"
    const common = { resource, headers, compression, shutdownTimeout: shutdownTimeout ?? "5 seconds" }

    const tracer = Effect.gen(function*() {
      if (Globals.hasTracer()) yield* Effect.logWarning(withoutSdk)
      const serialization = yield* OtlpSerialization.OtlpSerialization
      const known = yield* OtlpResource.fromConfig(resource)
      const exporter = yield* OtlpExporter.make({
        ...common,
        label: "Traces",
        url: `${base}/v1/traces`,
        exportInterval,
        maxBatchSize: 1_000,
        body: (spans) => [
          serialization.traces({
            resourceSpans: [{ resource: known, scopeSpans: [{ scope: { name: Globals.scope }, spans }] }]
          }),
          Effect.void
        ]
      })
      return OtlpTracer.make(sampleRatio, exporter.push)
    })

    return Layer.mergeAll(
      OnlyTracer.layer("Otel.layerOtlp", tracer),
      options.metrics === false ? Layer.empty : OtlpMetrics.layer({ ...common, url: `${base}/v1/metrics` }),
      options.logs === false ? Layer.empty : OtlpLogger.layer({ ...common, exportInterval, url: `${base}/v1/logs` })
    )
  })

/** The client of the exporters. */
const spool = ({ bufferSize, shutdownTimeout }: OtlpOptions) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.flatMap(HttpClient.HttpClient, (client) =>
      Spool.make(client, {
        capacity: bufferSize ?? 16 * 1024 * 1024,
        timeout: "10 seconds",
        shutdownTimeout: shutdownTimeout ?? "5 seconds"
      }))
  )

/**
 * Sends traces, metrics and logs to an OTLP receiver over HTTP, as JSON, over `effect/observability`. It needs no SDK
 * and makes the least work; calls of instrumented clients do not nest, as there is nobody who instruments them.
 *
 * A trace that begins here is recorded with the probability `sampleRatio`; a span with a parent, also one that came with
 * a job from elsewhere, does as that did. What the backend does not take is kept, within `bufferSize`, and sent again.
 */
export const layerOtlp = (options: OtlpOptions): Layer.Layer<never, TracerConflict> =>
  Layer.unwrap(signals(options)).pipe(
    Layer.provide([OtlpExporter.layerFlusher, Serialization.layer]),
    Layer.provide(spool(options).pipe(Layer.provide(FetchHttpClient.layer)))
  )
