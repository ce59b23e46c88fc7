/** The ways to trace that are compared. */
import { Otel } from "@troupe/otel"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Tracer from "effect/Tracer"
import { fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"

let sink: Promise<string> | undefined

/** Where this process exports to. */
const endpoint = (): Promise<string> =>
  sink ??= (async () => {
    const child = fork(join(import.meta.dirname, "sink.ts"), [], { execArgv: [] })
    const [port] = await once(child, "message")
    child.unref()
    child.channel?.unref()
    return `http://127.0.0.1:${port}`
  })()

/** Effect's own spans, made for each job and exported nowhere. */
const native = Layer.succeed(Tracer.Tracer, Tracer.make({ span: (options) => new Tracer.NativeSpan(options) }))

const otlp = (sampleRatio: number) =>
  Layer.unwrap(Effect.map(
    Effect.promise(endpoint),
    (endpoint) => Otel.layerOtlp({ endpoint, serviceName: "bench", sampleRatio })
  ))

/** As the variables of OpenTelemetry set it up: a batch processor and OTLP as protobuf. */
const sdk = (sampleRatio: number) =>
  Layer.unwrap(Effect.map(Effect.promise(endpoint), (endpoint) => {
    process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    process.env["OTEL_TRACES_SAMPLER"] = "parentbased_traceidratio"
    process.env["OTEL_TRACES_SAMPLER_ARG"] = String(sampleRatio)
    return Otel.layerNodeSdk({ serviceName: "bench", metricReaders: [], logRecordProcessors: [] })
  }))

/** The SDK runs, and Troupe does not trace. */
const unused = (sampleRatio: number) =>
  Layer.provideMerge(Layer.succeed(Tracer.Tracer, Tracer.nativeTracer), Layer.fresh(sdk(sampleRatio)))

export const tracers = {
  "no tracer": Layer.empty,
  "Effect's own spans": native,
  "OTLP, 10 %": otlp(0.1),
  "OTLP, all": otlp(1),
  "SDK's own calls, 10 %": unused(0.1),
  "SDK, 10 %": sdk(0.1),
  "SDK, all": sdk(1)
}

export type Name = keyof typeof tracers
