/**
 * OpenTelemetry's SDK for Node as a Layer.
 */
import type { NodeSDKConfiguration } from "@opentelemetry/sdk-node"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LazyArg } from "effect/Function"
import * as Layer from "effect/Layer"
import * as ApiMetrics from "./ApiMetrics.ts"
import * as ApiTracer from "./ApiTracer.ts"
import * as Globals from "./internal/globals.ts"
import { SdkUnavailable, TracerConflict } from "./OtelError.ts"

export interface NodeSdkOptions extends Partial<NodeSDKConfiguration> {
  /** How long the end of the layer waits for the last export. Default: 5 seconds. */
  readonly shutdownTimeout?: Duration.Input | undefined
}

const name = "Otel.layerNodeSdk"

const start = Effect.fnUntraced(function*({ shutdownTimeout = "5 seconds", ...configuration }: NodeSdkOptions) {
  if (Globals.hasTracer()) {
    return yield* new TracerConflict({
      layer: name,
      found: "an SDK that is registered already (use Otel.layer with it)"
    })
  }
  const { NodeSDK } = yield* Effect.tryPromise({
    try: () => import("@opentelemetry/sdk-node"),
    catch: (cause) => new SdkUnavailable({ reason: "install @opentelemetry/sdk-node beside @troupe/otel", cause })
  })
  yield* Effect.acquireRelease(
    Effect.try({
      try: () => {
        const sdk = new NodeSDK(configuration)
        sdk.start()
        return sdk
      },
      catch: (cause) => new SdkUnavailable({ reason: "see the cause", cause })
    }),
    (sdk) =>
      Effect.tryPromise(() => sdk.shutdown()).pipe(
        Effect.timeout(shutdownTimeout),
        Effect.catch((error) =>
          Effect.logWarning("OpenTelemetry's SDK did not export everything before it ended", error)
        ),
        Effect.ensuring(Effect.sync(Globals.clear))
      )
  )
})

/**
 * Starts `@opentelemetry/sdk-node`, an optional peer, with the configuration that its constructor takes; what it does not
 * say comes from the `OTEL_*` variables. Then come `layer` and, if there is a metric reader, `layerMetrics`. At the end
 * of the scope, when the layers that use it have ended, it exports what is left and gives the globals back.
 *
 * Instrumentations see calls from then on. Modules that were imported before are only seen if the process was started
 * with `node --import @troupe/otel/register`.
 */
export const layerNodeSdk = (
  options: NodeSdkOptions | LazyArg<NodeSdkOptions> = {}
): Layer.Layer<never, TracerConflict | SdkUnavailable> =>
  Layer.unwrap(
    Effect.gen(function*() {
      yield* start(typeof options === "function" ? options() : options)
      return Globals.hasMeter() ? Layer.merge(ApiTracer.layer(), ApiMetrics.layerMetrics()) : ApiTracer.layer()
    })
  )
