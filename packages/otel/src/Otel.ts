/**
 * Troupe's traces and metrics in OpenTelemetry.
 *
 * One of `layer`, `layerNodeSdk` and `layerOtlp` provides the tracer of an application, around all of its other layers:
 * jobs, and every other span of Effect, then go there. A second one is refused with `TracerConflict`.
 *
 * - `layer`: to the SDK that the application started itself. `layerMetrics` is its other half.
 * - `layerNodeSdk`: to an SDK that the layer starts and stops, metrics included.
 * - `layerOtlp`: traces, metrics and logs over HTTP, without an SDK.
 */
export { layerMetrics } from "./ApiMetrics.ts"
export { layer } from "./ApiTracer.ts"
export { layerNodeSdk, type NodeSdkOptions } from "./NodeSdk.ts"
export { SdkUnavailable, TracerConflict } from "./OtelError.ts"
export { layerOtlp, type OtlpOptions } from "./Otlp.ts"
