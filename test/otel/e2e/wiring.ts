/** What all processes of the test have in common. Arguments: broker, its URL, how to export, URL of a Redis for users. */
import { IORedisInstrumentation } from "@opentelemetry/instrumentation-ioredis"
import { Otel } from "@troupe/otel"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as OtlpLogger from "effect/observability/OtlpLogger"
import * as OtlpSerialization from "effect/observability/OtlpSerialization"
import * as References from "effect/References"

export const [broker = "", url = "", exporter = "", redisUrl = ""] = process.argv.slice(2)

export const TransportLive = broker === "redis" ? RedisTransport.layer({ url }) : NatsTransport.layer({ servers: url })

const endpoint = process.env["OTEL_EXPORTER_OTLP_ENDPOINT"]!

/** Log lines beside the SDK, as docs/opentelemetry.md has it. */
const logs = (serviceName: string) =>
  OtlpLogger.layer({ url: `${endpoint}/v1/logs`, resource: { serviceName }, exportInterval: "200 millis" }).pipe(
    Layer.provide([OtlpSerialization.layerJson, FetchHttpClient.layer])
  )

/** `sdk`: OpenTelemetry's, configured by its variables. `otlp`: without one. */
export const telemetry = (serviceName: string) =>
  exporter === "sdk"
    ? Layer.merge(
      Otel.layerNodeSdk({ serviceName, instrumentations: [new IORedisInstrumentation({ requireParentSpan: true })] }),
      logs(serviceName)
    )
    : Otel.layerOtlp({ endpoint, serviceName, exportInterval: "200 millis" })

/** Runs until the parent says stop, then ends everything in order, so that the last spans are sent. */
export const main = (program: Effect.Effect<never, unknown>): void => {
  const fiber = Effect.runFork(program.pipe(
    Effect.provideService(References.MinimumLogLevel, "Info")
  ))
  const stop = () => fiber.interruptUnsafe()
  process.on("message", (message) => {
    if (message === "stop") stop()
  })
  process.once("disconnect", stop)
  fiber.addObserver(() => process.exit())
}
