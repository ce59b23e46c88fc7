/** Spans of jobs begin in the SDK at once, with what they say; of those that it does not record nothing more is made. */
import { assert, describe, it } from "@effect/vitest"
import * as Otel from "@opentelemetry/api"
import { type ReadableSpan, SamplingDecision, StackContextManager, TracerProvider } from "@opentelemetry/sdk-trace"
import * as Client from "@troupe/core/Client"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import { afterAll, beforeAll, vi } from "vitest"
import * as Bridge from "../src/internal/bridge.ts"

class Order extends Task.make("Order", { queue: "shop" }) {}

interface Told {
  readonly name: string
  readonly attributes: Otel.Attributes
  readonly links: ReadonlyArray<Otel.Link>
  readonly parent: Otel.SpanContext | undefined
}

/** Runs a job; the sampler decides the same of every span. */
const run = (decision: SamplingDecision, state?: string) =>
  Effect.gen(function*() {
    const told: Array<Told> = []
    const ended: Array<ReadableSpan> = []
    const provider = new TracerProvider({
      sampler: {
        shouldSample: (context, _traceId, name, _kind, attributes, links) => {
          told.push({ name, attributes: { ...attributes }, links, parent: Otel.trace.getSpanContext(context) })
          return { decision, ...(state === undefined ? {} : { traceState: Otel.createTraceState(state) }) }
        }
      },
      spanProcessors: [{
        onStart: () => {},
        onEnd: (span) => {
          ended.push(span)
        },
        forceFlush: () => Promise.resolve(),
        shutdown: () => Promise.resolve()
      }]
    })
    const seen: Array<{
      readonly headers: Readonly<Record<string, string>>
      readonly active: Otel.SpanContext | undefined
      readonly current: Tracer.Span
    }> = []
    const handler = Order.toLayer((_, { headers }) =>
      Effect.map(Effect.orDie(Effect.currentSpan), (current) => {
        seen.push({ headers, active: Otel.trace.getSpanContext(Otel.context.active()), current })
      })
    )
    yield* TestClock.adjust("5 seconds")
    yield* Effect.gen(function*() {
      yield* Order.enqueue()
      yield* TestClock.adjust("1 second")
    }).pipe(
      Effect.provide(
        Layer.mergeAll(Client.layer, Worker.layer({ tasks: [Order] })).pipe(
          Layer.provide(handler),
          Layer.provide(MemoryTransport.layer),
          Layer.provideMerge(Layer.succeed(Tracer.Tracer, Bridge.make(provider.getTracer("test"))))
        )
      )
    )
    assert.strictEqual(seen.length, 1)
    return { told, ended, ...seen[0]! }
  })

const identity = (of: Otel.SpanContext | undefined) => [of?.traceId, of?.spanId, of?.traceFlags]

beforeAll(() => {
  Otel.context.setGlobalContextManager(new StackContextManager().enable())
})
afterAll(() => Otel.context.disable())

describe("a job", () => {
  it.effect("that is dropped asks the sampler with all that it says, and hands its trace on", () =>
    Effect.gen(function*() {
      const { active, current, ended, headers, told } = yield* run(SamplingDecision.NOT_RECORD, "vendor=7")
      assert.deepStrictEqual(ended, [])
      const [send, process] = told
      assert.deepStrictEqual(told.map(({ name }) => name), ["send shop", "process shop"])
      assert.include(send!.attributes, { "job.task": "Order", "messaging.operation.name": "send" })
      assert.include(process!.attributes, { "job.task": "Order", "job.attempt": 1, "job.trigger": "api" })
      assert.isUndefined(send?.parent)
      const [, traceId, spanId, flags] = headers["traceparent"]?.split("-") ?? []
      assert.deepStrictEqual(identity(process!.parent), [traceId, spanId, Otel.TraceFlags.NONE])
      assert.deepStrictEqual(process?.links.map(({ attributes }) => attributes), [{ "job.link": "creation" }])
      assert.deepStrictEqual(identity(process!.links[0]!.context), identity(process!.parent))
      assert.strictEqual(flags, "00")
      assert.strictEqual(headers["tracestate"], "vendor=7")
      // clients that the handler calls are in the same trace
      assert.deepStrictEqual(identity(active), [traceId, current.spanId, Otel.TraceFlags.NONE])
      assert.deepStrictEqual([current.traceId, current.sampled], [traceId, false])
      assert.notStrictEqual(current.spanId, spanId)
      assert.strictEqual(active?.traceState?.serialize(), "vendor=7")
      assert.strictEqual(current.status._tag, "Ended")
    }))

  it.effect("that is recorded, and not sampled, says what it said at the start", () =>
    Effect.gen(function*() {
      const { ended, headers } = yield* run(SamplingDecision.RECORD)
      assert.deepStrictEqual(ended.map(({ name }) => name).sort(), ["process shop", "send shop"])
      for (const { attributes } of ended) assert.strictEqual(attributes["job.task"], "Order")
      assert.match(headers["traceparent"]!, /-00$/)
    }))

  it.effect("that is sampled begins by Effect's clock", () =>
    Effect.gen(function*() {
      const { active, current, ended } = yield* run(SamplingDecision.RECORD_AND_SAMPLED)
      assert.deepStrictEqual(ended.map(({ startTime }) => startTime), [[5, 0], [5, 0]])
      const process = ended.find(({ name }) => name === "process shop")
      assert.deepInclude(process!.attributes, { "job.outcome": "succeeded", "job.max_attempts": 3 })
      assert.strictEqual(process?.links.length, 1)
      assert.deepInclude(active!, { spanId: current.spanId, traceFlags: Otel.TraceFlags.SAMPLED })
    }))

  it.effect("is in the trace of the surroundings of the call", () =>
    Effect.gen(function*() {
      const around = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: Otel.TraceFlags.NONE }
      const context = Otel.trace.setSpanContext(Otel.ROOT_CONTEXT, around)
      const active = vi.spyOn(Otel.context, "active").mockReturnValue(context)
      const { headers, told } = yield* Effect.ensuring(
        run(SamplingDecision.NOT_RECORD),
        Effect.sync(() => active.mockRestore())
      )
      assert.deepStrictEqual(told[0]?.parent, around)
      assert.include(headers["traceparent"]!, around.traceId)
    }))
})
