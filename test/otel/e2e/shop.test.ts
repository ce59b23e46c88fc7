/**
 * A producer and a worker as two processes over a real broker, exporting to a real backend: the traces that arrived
 * there, span by span.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { startNats } from "../../servers/nats.ts"
import { type RedisServer, startRedis } from "../../servers/redis.ts"
import { type Backend, type Span, startBackend } from "./backend.ts"
import { Shop } from "./processes.ts"

/** Generous: nothing here waits for it unless something is wrong. */
const patience = 60_000

let redis: RedisServer
beforeAll(async () => {
  redis = await startRedis()
})
afterAll(() => redis.stop())

/** What of ioredis is the transport's own business. */
const isOfTransport = ({ name, scope }: Span) => scope.name.endsWith("instrumentation-ioredis") && name !== "set"

class Traces {
  private readonly all: ReadonlyArray<Span>

  constructor(all: ReadonlyArray<Span>) {
    this.all = all
  }

  where(is: (span: Span) => boolean): ReadonlyArray<Span> {
    return this.all.filter(is)
  }

  root(scenario: string): Span {
    const [found, ...others] = this.where(({ name }) => name === `scenario ${scenario}`)
    expect(found, `scenario ${scenario}`).toBeDefined()
    expect(others).toEqual([])
    return found!
  }

  children({ spanId }: Span): ReadonlyArray<Span> {
    return this.all.filter((span) => span.parentSpanId === spanId && !isOfTransport(span))
  }

  /** A line per span, indented: name, kind, and how it ended unless well. */
  tree(span: Span, depth = 0): ReadonlyArray<string> {
    const { attributes, kind, name, status } = span
    const end = status.code === "UNSET" ? "" : ` ${status.code} ${String(attributes["error.type"])}`
    const below = this.children(span).map((child) => this.tree(child, depth + 1))
    // spans of one parent may arrive in any order
    return [`${"  ".repeat(depth)}${name} ${kind}${end}`, ...below.sort((a, b) => a[0]! < b[0]! ? -1 : 1).flat()]
  }

  processes(id: string): ReadonlyArray<Span> {
    return this.all
      .filter(({ attributes, kind }) => kind === "CONSUMER" && attributes["messaging.message.id"] === id)
      .sort((a, b) => Number(a.attributes["job.attempt"]) - Number(b.attributes["job.attempt"]))
  }
}

const linkTo = ({ spanId, traceId }: Span, what: string) => ({ traceId, spanId, attributes: { "job.link": what } })

describe.each([
  { broker: "redis", exporter: "sdk" },
  { broker: "nats", exporter: "sdk" },
  { broker: "nats", exporter: "otlp" }
])("over $broker, exported by $exporter", { timeout: 2 * patience }, ({ broker, exporter }) => {
  let backend: Backend
  let setting: ConstructorParameters<typeof Shop>[1]
  const ids = new Map<string, ReadonlyArray<string>>()
  const ends: Array<() => Promise<unknown>> = []

  /** The traces, once they satisfy this. */
  const eventually = async (check: (traces: Traces) => unknown): Promise<Traces> => {
    for (const deadline = Date.now() + patience;;) {
      const traces = new Traces(await backend.spans())
      try {
        await check(traces)
        return traces
      } catch (error) {
        if (Date.now() > deadline) throw error
      }
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  const idOf = (scenario: string) => ids.get(scenario)![0]!

  beforeAll(async () => {
    backend = await startBackend()
    ends.push(backend.stop)
    const nats = broker === "nats" ? await startNats() : undefined
    if (nats !== undefined) ends.push(nats.stop)
    setting = { broker, exporter, url: nats?.url ?? redis.url, redisUrl: redis.url, backendUrl: backend.url }
    const worker = new Shop("worker", setting)
    const producer = new Shop("producer", setting)
    ends.push(() => producer.stop(), () => worker.stop())
    await Promise.all([worker.ready(), producer.ready()])
    const run = async (scenario: string, id?: string) => ids.set(scenario, await producer.run(scenario, id))

    const first = [
      "order",
      "retry",
      "batch",
      "large batch",
      "short delay",
      "long delay",
      "long delay, kept",
      "dead letter"
    ]
    for (const scenario of first) await run(scenario)
    await run("replay", idOf("dead letter"))
    await run("wait")
    await run("cancel", await worker.started("Wait"))
    await run("link")
    // a process that dies takes along what it did not send yet
    await eventually(async (traces) => {
      expect(await backend.logs("charging")).toHaveLength(1)
      expect(traces.processes(idOf("link"))).toHaveLength(1)
      expect(traces.processes(idOf("wait"))).toHaveLength(1)
      expect(traces.processes(idOf("dead letter"))).toHaveLength(2)
    })
    await run("crash")
    await worker.died()
    const second = new Shop("worker", setting)
    ends.push(() => second.stop())
    await second.ready()
  }, 2 * patience)

  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  })

  it("an order: send, process, the user's own spans, and its child", async () => {
    const expected = [
      "scenario order INTERNAL",
      "  send shop PRODUCER",
      "    process shop CONSUMER",
      "      charge card INTERNAL",
      ...exporter === "sdk" ? ["        set CLIENT"] : [],
      "      send shop PRODUCER",
      "        process shop CONSUMER"
    ]
    const traces = await eventually((traces) => expect(traces.tree(traces.root("order"))).toEqual(expected))
    const [send] = traces.children(traces.root("order"))
    const [process] = traces.children(send!)
    const id = idOf("order")
    expect(send!.attributes).toMatchObject({
      "service.name": "shop-api",
      "messaging.system": "troupe",
      "troupe.transport": broker,
      "messaging.destination.name": "shop",
      "messaging.operation.name": "send",
      "messaging.operation.type": "send",
      "messaging.message.id": id,
      "job.task": "Order"
    })
    expect(process!.attributes).toMatchObject({
      "service.name": "shop-worker",
      "messaging.system": "troupe",
      "troupe.transport": broker,
      "messaging.destination.name": "shop",
      "messaging.operation.name": "process",
      "messaging.operation.type": "process",
      "messaging.message.id": id,
      "messaging.message.conversation_id": id,
      "job.task": "Order",
      "job.attempt": 1,
      "job.max_attempts": 3,
      "job.trigger": "api",
      "job.redelivered": false,
      "job.outcome": "succeeded"
    })
    expect(process!.attributes["job.wait_ms"]).toBeGreaterThanOrEqual(0)
    expect(process!.links).toEqual([linkTo(send!, "creation")])
    const [, childSend] = traces.children(process!)
    const [child] = traces.children(traces.children(process!).find(({ kind }) => kind === "PRODUCER")!)
    expect(childSend).toBeDefined()
    expect(child!.attributes).toMatchObject({
      "job.task": "Receipt",
      "job.trigger": "child",
      "messaging.message.conversation_id": id
    })
    expect(child!.attributes["messaging.message.id"]).not.toBe(id)
    // no payload in any span of ours
    for (const span of [send!, process!, child!]) expect(JSON.stringify(span.attributes)).not.toContain("tea")
  })

  it("a retry: a sibling, with a link to the attempt before it", async () => {
    const traces = await eventually((traces) =>
      expect(traces.tree(traces.root("retry"))).toEqual([
        "scenario retry INTERNAL",
        "  send shop PRODUCER",
        "    process shop CONSUMER",
        "    process shop CONSUMER ERROR Busy"
      ])
    )
    const [send] = traces.children(traces.root("retry"))
    const [first, second] = traces.processes(idOf("retry"))
    expect(first!.attributes).toMatchObject({ "job.attempt": 1, "job.outcome": "retried", "error.type": "Busy" })
    expect(first!.events).toContainEqual(
      expect.objectContaining({ name: "job.retry_scheduled", attributes: { delay_ms: 50, next_attempt: 2 } })
    )
    expect(first!.links).toEqual([linkTo(send!, "creation")])
    expect(second!.attributes).toMatchObject({ "job.attempt": 2, "job.outcome": "succeeded", "job.trigger": "retry" })
    expect(second!.links).toEqual([linkTo(send!, "creation"), linkTo(first!, "previous_attempt")])
  })

  it("a batch: one send, a create per job", async () => {
    const create = ["    create shop PRODUCER", "      process shop CONSUMER"]
    const traces = await eventually((traces) =>
      expect(traces.tree(traces.root("batch"))).toEqual([
        "scenario batch INTERNAL",
        "  send shop CLIENT",
        ...create,
        ...create,
        ...create
      ])
    )
    const [send] = traces.children(traces.root("batch"))
    expect(send!.attributes).toMatchObject({ "messaging.batch.message_count": 3 })
    expect(send!.attributes).not.toHaveProperty("job.task")
    for (const id of ids.get("batch")!) {
      const [process] = traces.processes(id)
      const creation = traces.where(({ spanId }) => spanId === process!.parentSpanId)[0]!
      expect(creation.attributes).toMatchObject({ "messaging.message.id": id, "job.task": "Count" })
      expect(process!.links).toEqual([linkTo(creation, "creation")])
    }
  })

  it("a large batch, and a job that asks for it: traces of their own, with a link", async () => {
    const traces = await eventually((traces) => {
      for (const id of [...ids.get("large batch")!, idOf("link")]) expect(traces.processes(id)).toHaveLength(1)
      expect(traces.tree(traces.root("large batch"))).toEqual(["scenario large batch INTERNAL", "  send shop CLIENT"])
      expect(traces.tree(traces.root("link"))).toEqual(["scenario link INTERNAL", "  send shop PRODUCER"])
    })
    for (const scenario of ["large batch", "link"]) {
      const [send] = traces.children(traces.root(scenario))
      const processes = ids.get(scenario)!.flatMap((id) => traces.processes(id))
      for (const { links, parentSpanId } of processes) {
        expect(parentSpanId).toBeUndefined()
        expect(links).toEqual([linkTo(send!, "creation")])
      }
      expect(new Set([send!, ...processes].map(({ traceId }) => traceId)).size).toBe(processes.length + 1)
    }
  })

  it("a delay: longer than a minute begins a trace, unless the call says otherwise", async () => {
    const child = ["  send shop PRODUCER", "    process shop CONSUMER"]
    const traces = await eventually((traces) => {
      expect(traces.tree(traces.root("short delay"))).toEqual(["scenario short delay INTERNAL", ...child])
      expect(traces.tree(traces.root("long delay, kept"))).toEqual(["scenario long delay, kept INTERNAL", ...child])
      expect(traces.tree(traces.root("long delay"))).toEqual(["scenario long delay INTERNAL", child[0]])
      expect(traces.processes(idOf("long delay"))).toHaveLength(1)
    })
    for (const [scenario, delay] of [["short delay", 50], ["long delay", 120_000], ["long delay, kept", 120_000]]) {
      const [send] = traces.children(traces.root(String(scenario)))
      const [process] = traces.processes(idOf(String(scenario)))
      expect(send!.attributes).toMatchObject({ "job.delay_ms": delay })
      expect(process!.attributes).toMatchObject({ "job.trigger": "api", "job.outcome": "succeeded" })
      expect(process!.links).toEqual([linkTo(send!, "creation")])
    }
    const [late] = traces.processes(idOf("long delay"))
    expect(late!.parentSpanId).toBeUndefined()
    expect(late!.traceId).not.toBe(traces.root("long delay").traceId)
  })

  it("a job that fails for good: an error and a dead letter; its replay begins a trace", async () => {
    const traces = await eventually((traces) => {
      expect(traces.tree(traces.root("dead letter"))).toEqual([
        "scenario dead letter INTERNAL",
        "  send shop PRODUCER",
        "    process shop CONSUMER ERROR Unpaid"
      ])
      expect(traces.processes(idOf("dead letter"))).toHaveLength(2)
    })
    const [send] = traces.children(traces.root("dead letter"))
    const both = traces.processes(idOf("dead letter"))
    const first = both.find(({ attributes }) => attributes["job.trigger"] === "api")!
    const replay = both.find(({ attributes }) => attributes["job.trigger"] === "replay")!
    expect(first.parentSpanId).toBe(send!.spanId)
    expect(first.status).toMatchObject({ code: "ERROR" })
    for (const span of both) {
      expect(span.attributes).toMatchObject({ "job.outcome": "failed", "error.type": "Unpaid", "job.attempt": 1 })
      expect(span.events).toContainEqual(
        expect.objectContaining({ name: "job.dead_lettered", attributes: { reason: "Error" } })
      )
      expect(span.events!.map(({ name }) => name)).toContain("exception")
    }
    expect(replay.parentSpanId).toBeUndefined()
    expect(replay.traceId).not.toBe(first.traceId)
    expect(replay.links).toEqual([linkTo(send!, "creation")])
  })

  it("a cancel: a call of its own, and no error of the job", async () => {
    const id = idOf("wait")
    const traces = await eventually((traces) => {
      expect(traces.tree(traces.root("cancel"))).toEqual(["scenario cancel INTERNAL", "  cancel shop CLIENT"])
      expect(traces.tree(traces.root("wait"))).toEqual([
        "scenario wait INTERNAL",
        "  send shop PRODUCER",
        "    process shop CONSUMER"
      ])
    })
    const [cancel] = traces.children(traces.root("cancel"))
    expect(cancel!.attributes).toMatchObject({
      "messaging.operation.name": "cancel",
      "messaging.operation.type": "settle",
      "messaging.message.id": id,
      "job.outcome": "cancelled"
    })
    expect(traces.processes(id)[0]!.attributes).toMatchObject({ "job.outcome": "cancelled" })
  })

  it("a worker that is killed: the job goes on in its trace, and counts as the same attempt", async () => {
    const traces = await eventually((traces) =>
      expect(traces.tree(traces.root("crash"))).toEqual([
        "scenario crash INTERNAL",
        "  send shop PRODUCER",
        "    process shop CONSUMER"
      ])
    )
    const [process] = traces.processes(idOf("crash"))
    expect(process!.attributes).toMatchObject({ "job.redelivered": true, "job.attempt": 1, "job.outcome": "succeeded" })
  })

  it("a tick of a cron job: a trace of its own, with a link to what sent it", async () => {
    // a worker that died may have sent the run, and not what sent it; the lock that it left skips what comes next
    const whole = (traces: Traces) =>
      traces.where(({ attributes, kind, links }) =>
        kind === "CONSUMER" && attributes["job.task"] === "Tick" && attributes["job.outcome"] !== "cancelled" &&
        traces.where(({ spanId }) => spanId === links?.[0]?.spanId).length === 1
      )
    const traces = await eventually((traces) => expect(whole(traces).length).toBeGreaterThanOrEqual(2))
    const ticks = whole(traces)
    for (const tick of ticks) {
      const [creation] = traces.where(({ spanId }) => spanId === tick.links![0]!.spanId)
      expect(tick.parentSpanId).toBeUndefined()
      expect(tick.links).toEqual([linkTo(creation!, "creation")])
      expect(creation).toMatchObject({ kind: "PRODUCER", attributes: { "job.task": "Tick" } })
      expect(tick.attributes).toMatchObject({
        "job.trigger": "cron",
        "job.cron.name": "tick",
        "job.outcome": "succeeded"
      })
    }
    expect(new Set(ticks.map(({ traceId }) => traceId)).size).toBe(ticks.length)
  })

  it("nothing else: polls, heartbeats and promotions make no spans", async () => {
    const traces = new Traces(await backend.spans())
    const ours = traces.where(({ scope }) => scope.name === "@troupe/otel").map(({ name }) =>
      name.replace(/^scenario .*/, "scenario")
    )
    expect([...new Set(ours)].sort()).toEqual([
      "cancel shop",
      "charge card",
      "create shop",
      "process shop",
      "scenario",
      "send shop"
    ])
    expect(traces.where((span) => isOfTransport(span) && span.parentSpanId === undefined)).toEqual([])
  })

  it("a log line is found by the trace of its job", async () => {
    const traces = await eventually((traces) => traces.root("order"))
    const { traceId } = traces.root("order")
    const [charge] = traces.where(({ name }) => name === "charge card")
    const lines = await backend.logs(`trace_id = ${traceId}`)
    expect(lines).toMatchObject([{
      body: "charging for tea",
      traceId,
      spanId: charge!.spanId,
      attributes: { "job.id": idOf("order"), "job.task": "Order", "job.attempt": 1 }
    }])
  })
})
