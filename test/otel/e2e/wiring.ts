/** What all processes of the test have in common. Arguments: broker, its URL, how to export, URL of a Redis for users. */
import { IORedisInstrumentation } from "@opentelemetry/instrumentation-ioredis"
import { Otel } from "@troupe/otel"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as References from "effect/References"

export const [broker = "", url = "", exporter = "", redisUrl = ""] = process.argv.slice(2)

export const TransportLive = broker === "redis" ? RedisTransport.layer({ url }) : NatsTransport.layer({ servers: url })

/** `sdk`: OpenTelemetry's, configured by its variables. `otlp`: without one. */
export const telemetry = (serviceName: string) =>
  exporter === "sdk"
    ? Otel.layerNodeSdk({ serviceName, instrumentations: [new IORedisInstrumentation({ requireParentSpan: true })] })
    : Otel.layerOtlp({
      endpoint: process.env["OTEL_EXPORTER_OTLP_ENDPOINT"]!,
      serviceName,
      exportInterval: "200 millis"
    })

/** Runs until the parent says stop, then ends everything in order, so that the last spans are sent. */
export const main = (program: Effect.Effect<never, unknown>): void => {
  const fiber = Effect.runFork(program.pipe(
    Effect.provideService(References.MinimumLogLevel, exporter === "otlp" ? "Info" : "Warn")
  ))
  const stop = () => fiber.interruptUnsafe()
  process.on("message", (message) => {
    if (message === "stop") stop()
  })
  process.once("disconnect", stop)
  fiber.addObserver(() => process.exit())
}
