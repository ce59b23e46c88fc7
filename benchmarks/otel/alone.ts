/**
 * What an SDK takes for the two spans of a job, without Troupe's tracing and bridge: a handler that makes the same calls of
 * OpenTelemetry's API with the same attributes. No way to trace over this SDK can cost less.
 */
import * as Otel from "@opentelemetry/api"
import * as Effect from "effect/Effect"
import { type Handler, noop } from "../payload.ts"

const send = () => ({
  "messaging.system": "troupe",
  "troupe.transport": "redis",
  "messaging.operation.name": "send",
  "messaging.operation.type": "send",
  "messaging.destination.name": "mail",
  "messaging.message.body.size": 200,
  "job.task": "Mail"
})

const process = (id: string) => ({
  "messaging.system": "troupe",
  "troupe.transport": "redis",
  "messaging.destination.name": "mail",
  "messaging.operation.name": "process",
  "messaging.operation.type": "process",
  "messaging.message.id": id,
  "messaging.message.conversation_id": id,
  "job.task": "Mail",
  "job.attempt": 1,
  "job.max_attempts": 3,
  "job.wait_ms": 1,
  "job.trigger": "api",
  "job.redelivered": false
})

export const handler: Handler = (payload) =>
  Effect.suspend(() => {
    const tracer = Otel.trace.getTracer("alone")
    const sent = tracer.startSpan("send mail", { kind: Otel.SpanKind.PRODUCER, attributes: send() }, Otel.ROOT_CONTEXT)
    const context = sent.spanContext()
    const around = Otel.trace.setSpan(Otel.ROOT_CONTEXT, sent)
    // below a span that is not sampled the bridge asks for none
    if (!sent.isRecording()) return Otel.context.with(around, () => noop(payload))
    sent.setAttribute("messaging.message.id", payload.id)
    sent.end()
    const span = tracer.startSpan("process mail", {
      kind: Otel.SpanKind.CONSUMER,
      attributes: process(payload.id),
      links: [{ context, attributes: { "job.link": "creation" } }]
    }, around)
    return Otel.context.with(Otel.trace.setSpan(around, span), () => {
      span.setAttribute("job.outcome", "succeeded")
      span.end()
      return noop(payload)
    })
  })
