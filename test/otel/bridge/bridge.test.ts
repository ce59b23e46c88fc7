/**
 * `Otel.layer` and `Otel.layerNodeSdk` on both generations of the SDK, in processes of their own: instrumentations patch
 * modules for good, and one process has one API.
 */
import { fork } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { type RedisServer, startRedis } from "../../servers/redis.ts"
import type { Told, ToldSpan } from "./program.ts"

const root = join(import.meta.dirname, "../../..")
const hook = (path: string) => ["--import", join(root, path)]

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

const run = async (generation: number, mode: string): Promise<Told> => {
  const child = fork(join(import.meta.dirname, "program.ts"), [mode, redis.url], {
    execArgv: [
      ...generation === 3 ? hook("test/otel/sdk3/resolve.ts") : [],
      ...hook("packages/otel/src/register.ts")
    ],
    stdio: ["ignore", "ignore", "inherit", "ipc"]
  })
  const [told] = await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => Promise.reject(new Error(`the program ended with ${code}`)))
  ])
  return told
}

describe.each([
  [2, "layer"],
  [2, "layerNodeSdk"],
  [3, "layer"],
  [3, "layerNodeSdk"]
])("on generation %i of the SDK, %s", (generation, mode) => {
  let told: Told
  beforeAll(async () => {
    told = await run(generation, mode)
  })

  const all = (name: string) => told.spans.filter((span) => span.name === name)
  const one = (name: string): ToldSpan => {
    const found = all(name)
    expect(found, name).toHaveLength(1)
    return found[0]!
  }
  const childrenOf = ({ spanId }: ToldSpan) => told.spans.filter(({ parent }) => parent === spanId)

  it("is on that generation", () => {
    expect(told.sdkVersion).toMatch(new RegExp(`^${generation}\\.`))
  })

  it("begins a span with its attributes, kind and links, for the sampler", () => {
    const attributes = { text: "a", list: ["x", "y"], big: 2, nested: "{\"a\":1}" }
    expect(told.sampled).toContainEqual({ name: "success", attributes, links: 0 })
    expect(told.sampled).toContainEqual({ name: "start attributes", attributes: { "job.task": "A" }, links: 0 })
    expect(told.sampled).toContainEqual({ name: "details", attributes: {}, links: 1 })
    expect(one("success")).toMatchObject({ kind: "CONSUMER", attributes, scope: "@troupe/otel" })
  })

  it("does as the sampler says, for the children, too", () => {
    expect(told.sampled).toContainEqual({ name: "dropped", attributes: { drop: true }, links: 0 })
    expect(all("dropped")).toEqual([])
    expect(all("child")).toEqual([])
  })

  it("does not call the SDK for what its sampler would drop with the parent", () => {
    expect(told.inVain).toEqual([])
  })

  it("leaves the status unset but for failures, which have a type", () => {
    expect(one("success").status).toEqual({ code: 0 })
    const failure = one("failure")
    expect(failure.status).toEqual({ code: 2, message: "Refused" })
    expect(failure.attributes).toEqual({ "error.type": "Refused" })
    expect(failure.events.map(({ attributes, name }) => [name, attributes?.["exception.type"]]))
      .toEqual([["exception", "Refused"]])
    expect(one("defect")).toMatchObject({
      status: { code: 2, message: "broken" },
      attributes: { "error.type": "TypeError" }
    })
    expect(one("own type").attributes).toEqual({ "error.type": "mine" })
    const interruption = one("interruption")
    expect(interruption.status).toEqual({ code: 0 })
    expect(interruption.attributes).toEqual({ "effect.fiber.interrupted": true })
    expect(interruption.events).toEqual([])
  })

  it("has links and events from before and after it began", () => {
    const { attributes, events, links } = one("details")
    expect(attributes).toEqual({ late: true })
    expect(events).toEqual([{ name: "happened", time: [1_700_000_000, 123], attributes: { count: 3 } }])
    expect(links).toMatchObject([
      {
        traceId: "3".repeat(32),
        spanId: "4".repeat(16),
        traceFlags: 0,
        isRemote: true,
        attributes: { "job.link": "early" }
      },
      {
        traceId: "1".repeat(32),
        spanId: "2".repeat(16),
        traceFlags: 1,
        isRemote: true,
        attributes: { "job.link": "late" }
      }
    ])
  })

  it("goes on with a trace from elsewhere, and its state", () => {
    expect(one("remote child")).toMatchObject({
      traceId: "5".repeat(32),
      parent: "6".repeat(16),
      remoteParent: true,
      state: "vendor=1"
    })
  })

  it("is the current span of instrumented clients", () => {
    const nesting = one("nesting")
    expect(childrenOf(nesting).map(({ kind, name }) => `${kind} ${name}`).sort())
      .toEqual([
        "CLIENT GET",
        "CLIENT GET",
        "CLIENT set",
        "INTERNAL inner",
        "INTERNAL run inside",
        "INTERNAL users own"
      ])
    expect(childrenOf(one("inner")).map(({ name }) => name)).toEqual(["get", "get"])
    const scopes = childrenOf(nesting).map(({ scope }) => scope)
    for (const client of ["http", "undici", "ioredis"]) {
      expect(scopes).toContain(`@opentelemetry/instrumentation-${client}`)
    }
    expect(new Set([...childrenOf(nesting), ...childrenOf(one("inner"))].map(({ traceId }) => traceId)))
      .toEqual(new Set([nesting.traceId]))
  })

  it("has the calls of a handler under the span of its job", () => {
    const process = one("process visits")
    expect(process).toMatchObject({ kind: "CONSUMER", parent: one("send visits").spanId })
    const calls = childrenOf(process)
    expect(calls.map(({ name, scope }) => `${name} ${scope.replace("@opentelemetry/instrumentation-", "")}`).sort())
      .toEqual(["GET http", "GET undici", "set ioredis"])
    expect(new Set(calls.map(({ traceId }) => traceId))).toEqual(new Set([one("send visits").traceId]))
  })

  it("ends the job of a handler outside of the span of its attempt", () => {
    // `null`: JSON has no undefined
    expect(told.settledIn).toEqual([null])
  })

  it("lends its span to no fiber that has none", () => {
    expect(childrenOf(one("waker"))).toEqual([])
    expect(one("outside").parent).toBeUndefined()
    expect(told.spans.filter(({ parent, name }) => name === "get" && parent !== one("inner").spanId)).toEqual([])
  })

  it("nests in the span of its surroundings, but for a root", () => {
    expect(one("in request").parent).toBe(one("request").spanId)
    expect(one("root in request").parent).toBeUndefined()
    expect(one("root in request").traceId).not.toBe(one("request").traceId)
  })

  it("makes no span where tracing is off", () => {
    expect(all("untraced")).toEqual([])
    expect(told.sampled.filter(({ name }) => name === "untraced")).toEqual([])
  })

  it("records metrics with their units and buckets", () => {
    // the worker of the job has its own series
    const metric = (name: string) => {
      const found = told.metrics.find((metric) => metric.name === name)
      return {
        ...found,
        points: found?.points.filter(({ attributes }) => attributes["troupe.transport"] === undefined)
      }
    }
    const boundaries = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600]
    const counts = boundaries.map((_, index) => index === 0 || index === 12 ? 1 : 0)
    expect(metric("job.wait.duration")).toMatchObject({
      type: "HISTOGRAM",
      unit: "s",
      points: [{
        attributes: { "job.task": "A" },
        value: { count: 2, sum: 42.003, buckets: { boundaries, counts: [...counts, 0] } }
      }]
    })
    const points = (
      value: number,
      attributes = { "job.task": "A" } as Record<string, string>
    ) => [{ attributes, value }]
    expect(metric("job.retries")).toMatchObject({
      type: "SUM",
      isMonotonic: true,
      unit: "{attempt}",
      points: points(2)
    })
    expect(metric("job.active")).toMatchObject({ type: "SUM", isMonotonic: false, unit: "{job}", points: points(2) })
    expect(metric("job.queue.depth")).toMatchObject({
      type: "GAUGE",
      unit: "{job}",
      points: points(7, { "job.state": "queued" })
    })
  })
})
