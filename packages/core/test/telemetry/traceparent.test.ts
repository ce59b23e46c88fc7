import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Tracer from "effect/Tracer"
import * as Traceparent from "../../src/internal/telemetry/traceparent.ts"
import { TraceState } from "../../src/Telemetry.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

describe("traceparent", () => {
  it("is read as it was written", () => {
    for (const sampled of [true, false]) {
      const text = Traceparent.write(Tracer.externalSpan({ traceId, spanId, sampled }))
      assert.strictEqual(text, `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`)
      const span = Traceparent.read(text, "a=1")
      assert.deepStrictEqual([span?.traceId, span?.spanId, span?.sampled], [traceId, spanId, sampled])
      assert.strictEqual(Context.get(span!.annotations, TraceState), "a=1")
    }
  })

  it.each([
    `00-${traceId}-${spanId}-03`,
    `cc-${traceId}-${spanId}-01`,
    `cc-${traceId}-${spanId}-01-what the future brings`
  ])("of another flag or version is read: %s", (text) => {
    assert.deepInclude(Traceparent.read(text, undefined), { traceId, spanId, sampled: true })
  })

  it.each([
    undefined,
    "",
    "00",
    `00-${traceId}-${spanId}`,
    `00-${traceId}-${spanId}-01-more`,
    `00-${traceId}-${spanId}-01 `,
    `cc-${traceId}-${spanId}-01more`,
    `ff-${traceId}-${spanId}-01`,
    `00-${traceId.toUpperCase()}-${spanId}-01`,
    `00-${"0".repeat(32)}-${spanId}-01`,
    `00-${traceId}-${"0".repeat(16)}-01`,
    `00-${traceId.slice(1)}-${spanId}-01`,
    `00-${traceId}-${spanId.slice(1)}g-01`,
    `00-${traceId}-${spanId.slice(1)}\uff11-01`,
    `00-${traceId}-${spanId.slice(1)}\u0131-01`,
    `00-${traceId}-${spanId}-0\u0131`,
    `00-${traceId}-${spanId}-\u{1f600}`
  ])("that is none is not read: %s", (text) => {
    // nothing is left of the one before
    assert.isDefined(Traceparent.read(`00-${traceId}-${spanId}-01`, undefined))
    assert.isUndefined(Traceparent.read(text, undefined))
  })

  it("of a span that is none is not written", () => {
    assert.isUndefined(Traceparent.write(Tracer.externalSpan({ traceId: "noop", spanId: "noop" })))
    assert.isUndefined(Traceparent.write(Tracer.externalSpan({ traceId, spanId: "0".repeat(16) })))
    assert.isUndefined(Traceparent.write(Tracer.externalSpan({ traceId: "0".repeat(32), spanId })))
  })
})
