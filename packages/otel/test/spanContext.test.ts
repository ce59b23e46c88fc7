/** A context around a span is to everybody what the API's own is. */
import { assert, describe, it } from "@effect/vitest"
import * as Api from "@opentelemetry/api"
import { ofSpanContext, setSpan } from "../src/internal/spanContext.ts"

const spanContext = (spanId: string) => ({ traceId: "1".repeat(32), spanId: spanId.repeat(16), traceFlags: 1 })
const span = (spanId: string) => Api.trace.wrapSpanContext(spanContext(spanId))
const key = Api.createContextKey("of a user")

describe("a context around a span", () => {
  it("has the span, and what was around it", () => {
    const around = Api.ROOT_CONTEXT.setValue(key, "kept")
    const [outer, inner] = [span("2"), span("3")]
    const context = setSpan(setSpan(around, outer), inner)
    assert.strictEqual(Api.trace.getSpan(context), inner)
    assert.strictEqual(context.getValue(key), "kept")
    assert.deepStrictEqual(Api.trace.getSpanContext(ofSpanContext(spanContext("4"))), spanContext("4"))
  })

  it("is replaced by one with another value, and stays as it is", () => {
    const own = span("2")
    const context = setSpan(Api.ROOT_CONTEXT, own)
    const more = context.setValue(key, 1)
    assert.strictEqual(more.getValue(key), 1)
    assert.strictEqual(Api.trace.getSpan(more), own)
    assert.strictEqual(Api.trace.getSpan(more.deleteValue(key)), own)
    assert.isUndefined(context.getValue(key))
  })

  it("loses its span, and that of a context below it", () => {
    const below = Api.trace.setSpan(Api.ROOT_CONTEXT.setValue(key, "kept"), span("2"))
    const without = Api.trace.deleteSpan(setSpan(below, span("3")))
    assert.isUndefined(Api.trace.getSpan(without))
    assert.strictEqual(without.getValue(key), "kept")
  })
})
