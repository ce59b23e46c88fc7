/** What is counted and measured, read as an exporter reads it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../../src/Client.ts"
import * as CronJob from "../../src/CronJob.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Signing from "../../src/Signing.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import { Transport } from "../../src/Transport.ts"
import { type Env, program, run, settle } from "../fixtures/kit.ts"
import { bareEnvelope } from "../samples.ts"
import { Order, pass, worker } from "./kit.ts"

type Name = keyof typeof Telemetry.metrics

/** A test with a registry of its own. */
const measured = <A, E>(body: Effect.Effect<A, E, Env>) =>
  Effect.suspend(() => Effect.provideService(program(body), Metric.MetricRegistry, new Map()))

/** Series of a metric: what they say beside the names of system and transport, and their state. */
const series = (name: Name) =>
  Effect.map(
    Metric.snapshot,
    (all) =>
      all.filter(({ id }) => id === Telemetry.metrics[name].name).map(({ attributes, state }) => {
        const { "messaging.system": system, "troupe.transport": transport, unit, ...own } = attributes ?? {}
        assert.deepStrictEqual([system, transport, unit], ["troupe", "memory", Telemetry.metrics[name].unit])
        return { own, state }
      })
  )

/** By label: counts of counters and histograms, values of gauges; those of 0 are left out. */
const values = (name: Name, ...labels: ReadonlyArray<string>) =>
  Effect.map(series(name), (all) =>
    Object.fromEntries(
      all.map(({ own, state }) => {
        const value = "value" in state ? state.value : "count" in state ? state.count : undefined
        return [labels.map((label) => own[label] ?? "-").join(" "), value] as const
      }).filter(([, value]) => value !== 0)
    ))

const labels = {
  queue: Telemetry.attributes.queue,
  task: Telemetry.attributes.task,
  outcome: Telemetry.attributes.outcome,
  error: Telemetry.attributes.errorType,
  state: Telemetry.attributes.state,
  operation: Telemetry.attributes.operationName
}

describe("a client", () => {
  it.effect("counts what it sends, and measures each call", () =>
    measured(Effect.gen(function*() {
      yield* Order.enqueue({ what: "a" })
      yield* Order.enqueueMany(Array.from({ length: 300 }, () => ({ payload: { what: "b" } })))
      yield* Effect.exit(Order.enqueue({ what: "a" }, { priority: "no such level" }))
      const job = yield* Order.enqueue({ what: "c" }, { delay: "1 hour" })
      yield* job.cancel
      assert.deepStrictEqual(yield* values("sentMessages", labels.queue, labels.task, labels.error), {
        "shop Order -": 302,
        "shop Order InvalidOption": 1
      })
      assert.deepStrictEqual(yield* values("operationDuration", labels.queue, labels.operation, labels.error), {
        "shop send -": 4,
        "shop send InvalidOption": 1,
        "shop cancel -": 1
      })
    })))
})

describe("a worker", () => {
  it.effect("says at once what it could say: an alert sees a counter rise only from where it was", () =>
    measured(Effect.gen(function*() {
      yield* run(worker({ concurrency: 7 }))
      yield* settle
      for (const name of ["retries", "deadLettered", "leaseLost", "reclaimed", "payloadDecodeErrors"] as const) {
        const tasks = (yield* series(name)).map(({ own, state }) => [own[labels.task], state])
        assert.deepInclude(tasks, ["Order", { count: 0, incremental: true }])
      }
      assert.deepStrictEqual((yield* series("signatureRejected")).map(({ own }) => own[labels.queue]), ["shop", "post"])
      assert.deepStrictEqual(yield* values("workerCapacity", labels.queue), { shop: 7, post: 7 })
    })))

  it.effect("counts and measures by task and outcome", () =>
    measured(Effect.gen(function*() {
      yield* run(worker())
      for (const what of ["book", "sold", "defect", "discard", "snooze", "never once"]) yield* Order.enqueue({ what })
      yield* pass(50)
      assert.deepStrictEqual(
        yield* values("processDuration", labels.queue, labels.task, labels.outcome, labels.error),
        {
          "shop Order succeeded -": 2,
          "shop Order retried Sold": 2,
          "shop Order failed Sold": 1,
          "shop Order retried TypeError": 2,
          "shop Order failed TypeError": 1,
          "shop Order failed Discard": 1,
          "shop Order snoozed -": 1,
          "shop Order retried timeout": 1
        }
      )
      assert.deepStrictEqual(yield* values("retries", labels.task), { Order: 5 })
      assert.deepStrictEqual(yield* values("deadLettered", labels.task), { Order: 3 })
      assert.deepStrictEqual(yield* values("consumedMessages", labels.task, labels.operation), { "Order process": 11 })
      assert.deepStrictEqual(yield* values("waitDuration", labels.task), { Order: 11 })
      assert.deepStrictEqual(yield* values("active", labels.task), {})
      const [timedOut] = (yield* series("processDuration")).filter(({ own }) => own[labels.error] === "timeout")
      assert.deepInclude(timedOut?.state, { count: 1, sum: 20, min: 20, max: 20 })
    })))

  it.effect("measures how long an attempt waited from when it was due", () =>
    measured(Effect.gen(function*() {
      yield* TestClock.adjust("1 hour")
      yield* Order.enqueue({ what: "book" })
      yield* Order.enqueue({ what: "book" }, { delay: "8 seconds" })
      yield* Order.enqueue({ what: "book" }, { at: 3_609_000 })
      yield* TestClock.adjust("10 seconds")
      yield* run(worker())
      yield* settle
      const [wait] = (yield* series("waitDuration")).filter(({ own }) => own[labels.task] === "Order")
      assert.deepInclude(wait?.state, { count: 3, sum: 10 + 2 + 1, min: 1, max: 10 })
    })))

  it.effect("counts handlers that run, and gives its capacity back", () =>
    measured(Effect.gen(function*() {
      const { stop, stopNow } = yield* run(worker({ concurrency: 3 }))
      for (let i = 0; i < 5; i++) yield* Order.enqueue({ what: "never" })
      yield* settle
      assert.deepStrictEqual(yield* values("active", labels.queue, labels.task), { "shop Order": 3 })
      yield* stopNow
      yield* stop
      assert.deepStrictEqual(yield* values("active", labels.queue, labels.task), {})
      assert.deepStrictEqual(yield* values("workerCapacity", labels.queue), {})
      assert.deepStrictEqual(yield* values("processDuration", labels.outcome), { released: 3 })
    })))

  it.effect("asks how long its queues are, again and again", () =>
    measured(Effect.gen(function*() {
      const { stop, stopNow } = yield* run(worker({ concurrency: 1, prefetch: 0 })).pipe(
        Effect.provideService(Telemetry.QueueStatsInterval, "4 seconds")
      )
      const depths = values("queueDepth", labels.queue, labels.state)
      yield* settle
      assert.deepStrictEqual(yield* depths, {})
      yield* Order.enqueue({ what: "discard" })
      yield* settle
      for (const what of ["never", "book", "book"]) yield* Order.enqueue({ what })
      yield* Order.enqueue({ what: "book" }, { delay: "1 hour" })
      yield* pass(5)
      assert.deepStrictEqual(yield* depths, {
        "shop scheduled": 1,
        "shop queued": 2,
        "shop running": 1,
        "shop dead": 1
      })
      const [oldest] = yield* series("queueOldestAge")
      assert.deepStrictEqual(oldest?.own, { [labels.queue]: "shop" })
      const [age] = Object.values(yield* values("queueOldestAge", labels.queue))
      assert.isAbove(Number(age), 0)
      assert.isAtMost(Number(age), 5)
      // the first one gave up
      yield* pass(80)
      assert.deepStrictEqual(yield* depths, { "shop scheduled": 1, "shop dead": 2 })
      // nobody would correct them any more
      yield* stopNow
      yield* stop
      assert.deepStrictEqual(yield* depths, {})
    })))

  it.effect("does not ask where that is switched off", () =>
    measured(Effect.gen(function*() {
      yield* Effect.provideService(run(worker()), Telemetry.QueueStatsInterval, 0)
      yield* pass(60)
      assert.deepStrictEqual(yield* series("queueDepth"), [])
    })))

  it.effect("counts leases that it lost, and jobs that others did", () =>
    measured(Effect.gen(function*() {
      yield* run(worker({ id: "first", concurrency: 1 }))
      yield* Order.enqueue({ what: "never once" })
      yield* Order.enqueue({ what: "book" })
      yield* settle
      yield* MemoryTransport.crash("first")
      yield* run(worker({ id: "second" }))
      yield* pass(20)
      // one ran and one waited for its slot
      assert.deepStrictEqual(yield* values("leaseLost", labels.queue, labels.task), { "shop Order": 2 })
      assert.deepStrictEqual(yield* values("reclaimed", labels.queue, labels.task), { "shop Order": 2 })
      const outcomes = yield* values("processDuration", labels.outcome)
      assert.deepStrictEqual(outcomes, { succeeded: 1, lease_lost: 1 })
    })))

  it.effect("counts what it refuses", () =>
    measured(Effect.gen(function*() {
      const secret = yield* Signing.generateKey
      const { log } = yield* Transport
      const queue = (queue: string) => ({ ...bareEnvelope, queue, task: "Order", priority: "normal" })
      yield* log.send([
        { ...queue("post"), id: "1", task: "anything" },
        { ...queue("shop"), id: "2", contentType: "application/x-thing" },
        { ...queue("shop"), id: "3", body: new TextEncoder().encode("no JSON") },
        { ...queue("shop"), id: "4", expiresAt: -1 }
      ])
      yield* run(worker({ queues: ["shop"] }))
      const signed = Signing.layerHmac({ keys: [{ id: "k", secret }] })
      yield* Effect.provide(run(worker({ id: "strict", queues: ["post"] })), signed, { local: true })
      yield* settle
      assert.deepStrictEqual(yield* values("signatureRejected", labels.queue), { post: 1 })
      assert.deepStrictEqual(yield* values("payloadDecodeErrors", labels.queue, labels.task), { "shop Order": 2 })
      assert.deepStrictEqual(yield* values("deadLettered", labels.queue, labels.task), {
        "shop Order": 2,
        "post _OTHER": 1
      })
    })))

  it.effect("measures how late the runs of a cron job start", () =>
    Effect.gen(function*() {
      const cron = CronJob.layer("daily", { cron: "* * * * *", task: Order, payload: { what: "book" } })
      const services = Layer.provideMerge(Client.layer, MemoryTransport.layer)
      const environment = Layer.orDie(Layer.provideMerge(cron, services))
      yield* Effect.gen(function*() {
        yield* pass(65)
        yield* run(worker())
        yield* pass(60)
        const [lateness, ...others] = yield* series("cronLateness")
        assert.deepStrictEqual(others, [])
        assert.deepStrictEqual(lateness?.own, { [labels.queue]: "shop", [labels.task]: "Order" })
        assert.deepInclude(lateness?.state, { count: 2, sum: 5, min: 0, max: 5 })
      }).pipe(Effect.provide(environment, { local: true }), Effect.provideService(Metric.MetricRegistry, new Map()))
    }))
})

describe("a scheduler", () => {
  it.effect("measures how late it starts what it runs itself", () => {
    const cron = CronJob.layer("inline", { cron: "* * * * *", execute: Effect.void })
    const environment = Layer.orDie(Layer.provideMerge(cron, Layer.provideMerge(Client.layer, MemoryTransport.layer)))
    return Effect.gen(function*() {
      yield* pass(125)
      const [lateness, ...others] = yield* series("cronLateness")
      assert.deepStrictEqual([lateness?.own, others], [{}, []])
      assert.deepInclude(lateness?.state, { count: 2, sum: 0 })
    }).pipe(Effect.provide(environment, { local: true }), Effect.provideService(Metric.MetricRegistry, new Map()))
  })
})

describe("a recorder of one's own", () => {
  it.effect("gets everything, each series bound once", () =>
    Effect.gen(function*() {
      const bound: Array<string> = []
      let observed = 0
      const recorder: Telemetry.Recorder = {
        bind: ({ name }, attributes) => {
          bound.push(`${name} ${JSON.stringify(Object.entries(attributes).sort())}`)
          return () => void observed++
        }
      }
      yield* measured(Effect.gen(function*() {
        yield* run(worker())
        for (let i = 0; i < 100; i++) yield* Order.enqueue({ what: i % 2 === 0 ? "book" : "sold" })
        yield* pass(20)
        assert.deepStrictEqual(yield* Metric.snapshot, [])
      })).pipe(Effect.provideService(Telemetry.Recorder, recorder))
      assert.isAbove(observed, 1_000)
      assert.deepStrictEqual(bound.filter((one, index) => bound.indexOf(one) < index), [])
    }))
})
