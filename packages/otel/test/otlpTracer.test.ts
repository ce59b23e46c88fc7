import { describe, expect, it } from "@effect/vitest"
import * as Telemetry from "@troupe/core/Telemetry"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Tracer from "effect/Tracer"
import * as OtlpTracer from "../src/internal/otlpTracer.ts"

const collect = (ratio = 1) => {
  const spans: Array<OtlpTracer.WireSpan> = []
  return { spans, traced: Effect.withTracer(OtlpTracer.make(ratio, (span) => spans.push(span))) }
}

const parent = (sampled: boolean) => Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16), sampled })

class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}

describe("the sampler", () => {
  it.effect("takes its share of the traces that begin here, whole", () =>
    Effect.gen(function*() {
      const { spans, traced } = collect(0.1)
      const trace = Effect.void.pipe(Effect.withSpan("inner"), Effect.withSpan("outer"))
      yield* Effect.repeat(trace, { times: 9_999 }).pipe(traced)
      const outer = spans.filter(({ name }) => name === "outer")
      const inner = spans.filter(({ name }) => name === "inner")
      // ten standard deviations
      expect(outer.length).toBeGreaterThan(700)
      expect(outer.length).toBeLessThan(1_300)
      expect(new Set(inner.map(({ traceId }) => traceId))).toEqual(new Set(outer.map(({ traceId }) => traceId)))
    }))

  it.effect("does as the parent did", () =>
    Effect.gen(function*() {
      const none = collect(0)
      yield* Effect.void.pipe(Effect.withSpan("sampled", { parent: parent(true) }), none.traced)
      yield* Effect.void.pipe(Effect.withSpan("root"), none.traced)
      expect(none.spans.map(({ name, parentSpanId, traceId }) => ({ name, parentSpanId, traceId }))).toEqual([
        { name: "sampled", parentSpanId: "b".repeat(16), traceId: "a".repeat(32) }
      ])
      const all = collect(1)
      yield* Effect.void.pipe(Effect.withSpan("unsampled", { parent: parent(false) }), all.traced)
      yield* Effect.void.pipe(Effect.withSpan("no", { sampled: false }), all.traced)
      expect(all.spans).toEqual([])
    }))

  it.effect("knows the identity of what it does not record", () =>
    Effect.gen(function*() {
      const { traced } = collect(0)
      const span = yield* Effect.currentSpan.pipe(Effect.withSpan("root"), traced)
      expect(span.sampled).toBe(false)
      expect(span.traceId).toMatch(/^[0-9a-f]{32}$/)
      expect(span.spanId).toMatch(/^[0-9a-f]{16}$/)
      expect(span.attributes.size).toBe(0)
    }))
})

describe("a span on the wire", () => {
  it.effect("has its time, kind, attributes, links and events", () =>
    Effect.gen(function*() {
      const { spans, traced } = collect()
      yield* TestClock.setTime(5)
      yield* Effect.gen(function*() {
        const span = yield* Effect.currentSpan
        yield* TestClock.adjust(2)
        span.event("happened", 6_000_000n, { count: 3 })
        span.addLinks([{ span: parent(true), attributes: { "job.link": "late" } }])
        span.attribute("undefined", undefined)
      }).pipe(
        Effect.withSpan("all", {
          kind: "producer",
          attributes: { n: 1, x: 1.5, yes: true },
          annotations: Context.make(Telemetry.StartAttributes, { "job.task": "A" })
        }),
        traced
      )
      expect(spans).toMatchObject([{
        name: "all",
        kind: 4,
        parentSpanId: undefined,
        startTimeUnixNano: "5000000",
        endTimeUnixNano: "7000000",
        attributes: [
          { key: "job.task", value: { stringValue: "A" } },
          { key: "n", value: { intValue: 1 } },
          { key: "x", value: { doubleValue: 1.5 } },
          { key: "yes", value: { boolValue: true } }
        ],
        events: [{ name: "happened", timeUnixNano: "6000000", attributes: [{ key: "count", value: { intValue: 3 } }] }],
        links: [{
          traceId: "a".repeat(32),
          spanId: "b".repeat(16),
          attributes: [{ key: "job.link", value: { stringValue: "late" } }]
        }]
      }])
    }))

  it.effect("has a status only if it failed, with the type of the error", () =>
    Effect.gen(function*() {
      const { spans, traced } = collect()
      yield* Effect.void.pipe(Effect.withSpan("success"), traced)
      yield* Effect.exit(new Refused({ why: "no" })).pipe(Effect.withSpan("caught"), traced)
      yield* Effect.exit(Effect.fail(new Refused({ why: "no" })).pipe(Effect.withSpan("failure"), traced))
      yield* Effect.exit(Effect.die(new TypeError("broken")).pipe(Effect.withSpan("defect"), traced))
      yield* Effect.exit(Effect.interrupt.pipe(Effect.withSpan("interruption"), traced))
      const type = (name: string) => [{ key: "error.type", value: { stringValue: name } }]
      expect(spans.map(({ attributes, events, status }) => ({ attributes, status, events: events.length }))).toEqual([
        { status: { code: 0 }, attributes: [], events: 0 },
        { status: { code: 0 }, attributes: [], events: 0 },
        { status: { code: 2, message: "Refused" }, attributes: type("Refused"), events: 1 },
        { status: { code: 2, message: "broken" }, attributes: type("TypeError"), events: 1 },
        {
          status: { code: 0 },
          attributes: [{ key: "effect.fiber.interrupted", value: { boolValue: true } }],
          events: 0
        }
      ])
    }))

  it.effect("does not change after its end", () =>
    Effect.gen(function*() {
      const { spans, traced } = collect()
      const span = yield* Effect.currentSpan.pipe(Effect.withSpan("once"), traced)
      span.attribute("late", 1)
      span.event("late", 1n)
      span.addLinks([{ span: parent(true), attributes: {} }])
      span.end(9n, yield* Effect.exit(Effect.die("late")))
      expect(spans).toMatchObject([{ attributes: [], events: [], links: [], status: { code: 0 } }])
      expect(span.attributes.size).toBe(0)
    }))
})
