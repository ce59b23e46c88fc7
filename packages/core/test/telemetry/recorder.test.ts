import { describe, expect, it } from "@effect/vitest"
import { Telemetry } from "@troupe/core"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as RecorderOf from "../../src/internal/telemetry/recorder.ts"

const isolated = () => Context.make(Metric.MetricRegistry, new Map())

const only = (context: Context.Context<never>) => {
  const [first, ...others] = Metric.snapshotUnsafe(context)
  expect(others).toEqual([])
  return first!
}

describe("the default recorder", () => {
  it("counts in the registry of its context", () => {
    const context = isolated()
    const add = RecorderOf.of(context).bind(Telemetry.metrics.retries, { "job.task": "A" })
    add(1)
    add(2)
    expect(only(context)).toEqual({
      id: "job.retries",
      type: "Counter",
      description: Telemetry.metrics.retries.description,
      attributes: { "job.task": "A", unit: "{attempt}" },
      state: { count: 3, incremental: true }
    })
  })

  it("fills the same buckets as a histogram of Effect", () => {
    const context = isolated()
    const definition = Telemetry.metrics.waitDuration
    const record = RecorderOf.of(context).bind(definition, {})
    const reference = Metric.histogram("reference", { boundaries: definition.boundaries })
    const values = [0, 0.005, 0.0051, 0.3, 1, 59.9, 60, 3_600, 3_601, 100_000]
    const other = isolated()
    for (const value of values) {
      record(value)
      reference.updateUnsafe(value, other)
    }
    expect(only(context).state).toEqual(only(other).state)
  })

  it("lets a gauge stand and an upDownCounter go both ways", () => {
    const context = isolated()
    const { bind } = RecorderOf.of(context)
    const depth = bind(Telemetry.metrics.queueDepth, {})
    const active = bind(Telemetry.metrics.active, {})
    for (const value of [3, 5]) depth(value)
    for (const value of [1, 1, -1]) active(value)
    expect(Metric.snapshotUnsafe(context).map(({ id, state }) => [id, state])).toEqual([
      ["job.queue.depth", { value: 5 }],
      ["job.active", { value: 1 }]
    ])
  })

  it("makes one series of what is bound twice, and keeps common attributes apart", () => {
    const context = isolated()
    const inTest = Context.add(context, Metric.CurrentMetricAttributes, { stage: "test" })
    for (const one of [context, context, inTest]) {
      RecorderOf.of(one).bind(Telemetry.metrics.leaseLost, { a: "1", b: "2" })(1)
      RecorderOf.of(one).bind(Telemetry.metrics.leaseLost, { b: "2", a: "1" })(1)
    }
    expect(Metric.snapshotUnsafe(context).map(({ attributes, state }) => [attributes, state])).toEqual([
      [{ a: "1", b: "2", unit: "{job}" }, { count: 4, incremental: true }],
      [{ a: "1", b: "2", unit: "{job}", stage: "test" }, { count: 2, incremental: true }]
    ])
  })

  it.effect("gives way to another one in context", () =>
    Effect.gen(function*() {
      const seen: Array<readonly [string, number]> = []
      const recorder: Telemetry.Recorder = { bind: ({ name }) => (value) => void seen.push([name, value]) }
      const context = yield* Effect.provideService(Effect.context<never>(), Telemetry.Recorder, recorder)
      RecorderOf.of(context).bind(Telemetry.metrics.deadLettered, {})(1)
      expect(seen).toEqual([["job.dead_lettered", 1]])
    }))
})
