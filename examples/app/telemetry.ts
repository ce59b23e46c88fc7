/**
 * Traces, metrics and logs go where `OTEL_EXPORTER_OTLP_ENDPOINT` says; without
 * it logs go to the terminal alone, and spans are not made. `LOG_LEVEL` is how
 * much is logged.
 */
import * as Otel from "@troupe/otel/Otel"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"

const LogLevelLive = Layer.effect(
  References.MinimumLogLevel,
  Config.LogLevel("LOG_LEVEL").pipe(Config.withDefault("Info"))
)

const exporter = (serviceName: string) =>
  Layer.unwrap(Effect.map(
    Config.option(Config.NonEmptyString("OTEL_EXPORTER_OTLP_ENDPOINT")),
    Option.match({
      onNone: () => Layer.empty,
      onSome: (endpoint) => Otel.layerOtlp({ endpoint, serviceName })
    })
  ))

export const layer = (serviceName: string) => Layer.merge(exporter(serviceName), LogLevelLive)
