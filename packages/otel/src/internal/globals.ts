/**
 * What the globals of OpenTelemetry's API hold. Without an SDK they answer all the same, and record nothing.
 */
import * as Api from "@opentelemetry/api"

/** Tells spans and metrics of Troupe from others; the same name on every one. */
export const scope = "@troupe/otel"

const nobody = new Api.ProxyTracerProvider().getDelegate()

export const hasTracer = (): boolean => {
  const provider = Api.trace.getTracerProvider()
  return !(provider instanceof Api.ProxyTracerProvider) || provider.getDelegate() !== nobody
}

export const hasMeter = (): boolean => Api.metrics.getMeter(scope) !== Api.createNoopMeter()

/** Leaves the globals as they were before an SDK registered itself. */
export const clear = (): void => {
  Api.trace.disable()
  Api.metrics.disable()
  Api.propagation.disable()
  Api.context.disable()
}
