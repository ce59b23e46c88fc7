/** What is below a span that is not sampled costs no call of the SDK, where the sampler would drop it. */
import { assert, describe, it } from "@effect/vitest"
import * as Otel from "@opentelemetry/api"
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  StackContextManager
} from "@opentelemetry/sdk-trace"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import { afterAll, beforeAll } from "vitest"
import * as Bridge from "../src/internal/bridge.ts"
import { followsParents } from "../src/internal/unsampledContext.ts"

const traceId = "1".repeat(32)
const remote = Tracer.externalSpan({ traceId, spanId: "2".repeat(16), sampled: false })
const root = new AlwaysOnSampler()

/** A tracer as the SDK has it, and the names of the spans that it was asked for. */
const tracerWith = (sampler?: Sampler) => {
  const asked: Array<string> = []
  const tracer: Otel.Tracer = {
    ...(sampler === undefined ? {} : { _sampler: sampler }),
    startSpan: (name) => {
      asked.push(name)
      return Otel.trace.wrapSpanContext({ traceId, spanId: "3".repeat(16), traceFlags: Otel.TraceFlags.SAMPLED })
    },
    startActiveSpan: () => assert.fail("nobody calls it")
  }
  return { asked, tracer }
}

const current = Effect.sync(() => Otel.trace.getSpanContext(Otel.context.active()))

const below = (tracer: Otel.Tracer) =>
  current.pipe(
    Effect.withSpan("grandchild"),
    Effect.withSpan("child", { parent: remote }),
    Effect.provideService(Tracer.Tracer, Bridge.make(tracer))
  )

beforeAll(() => {
  Otel.context.setGlobalContextManager(new StackContextManager().enable())
})
afterAll(() => Otel.context.disable())

describe("below a parent that is not sampled", () => {
  it.effect("a span is not sampled either, and what it calls is in the same trace", () =>
    Effect.gen(function*() {
      const { asked, tracer } = tracerWith(new ParentBasedSampler({ root }))
      const around = yield* below(tracer)
      assert.deepStrictEqual(asked, [])
      assert.strictEqual(around?.traceId, traceId)
      assert.strictEqual(around?.traceFlags, Otel.TraceFlags.NONE)
    }))

  it.effect("a sampler that may say otherwise is asked", () =>
    Effect.gen(function*() {
      for (
        const sampler of [
          undefined,
          root,
          new ParentBasedSampler({ root, remoteParentNotSampled: root }),
          new ParentBasedSampler({ root, localParentNotSampled: root })
        ]
      ) {
        const { asked, tracer } = tracerWith(sampler)
        const around = yield* below(tracer)
        assert.deepStrictEqual(asked, ["child", "grandchild"])
        assert.strictEqual(around?.traceFlags, Otel.TraceFlags.SAMPLED)
      }
    }))

  it("only a sampler that never begins in the middle of a trace follows parents", () => {
    const follows = (sampler: Sampler) => followsParents(tracerWith(sampler).tracer)
    assert.isTrue(follows(new ParentBasedSampler({ root })))
    assert.isTrue(follows(new ParentBasedSampler({ root: new AlwaysOffSampler() })))
    assert.isFalse(follows(new AlwaysOffSampler()))
    assert.isFalse(followsParents(Otel.trace.getTracer("nobody's")))
  })
})
