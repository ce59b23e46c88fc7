/**
 * Traces, metrics and logs go where `OTEL_EXPORTER_OTLP_ENDPOINT` says; without
 * it logs go to the terminal, and spans are not made.
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as FetchHttpClient from "effect/http/FetchHttpClient"
import * as Layer from "effect/Layer"
import * as Otlp from "effect/observability/Otlp"
import * as Option from "effect/Option"

export const layer = (serviceName: string) =>
  Layer.unwrap(Effect.map(
    Config.option(Config.NonEmptyString("OTEL_EXPORTER_OTLP_ENDPOINT")),
    Option.match({
      onNone: () => Layer.empty,
      onSome: (baseUrl) =>
        Layer.provide(
          Otlp.layerJson({ baseUrl, resource: { serviceName }, loggerMergeWithExisting: true }),
          FetchHttpClient.layer
        )
    })
  ))
