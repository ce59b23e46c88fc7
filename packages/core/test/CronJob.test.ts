import { assert, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as CronJob from "../src/CronJob.ts"
import * as CronScheduler from "../src/CronScheduler.ts"
import * as Job from "../src/Job.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import * as Signing from "../src/Signing.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { settle } from "./fixtures/kit.ts"

class Report extends Task.make("Report", { payload: { of: Schema.String }, success: Schema.String }) {}

const minute = 60_000

/** Lets time pass in steps: a scheduler that wakes up late would miss ticks. */
const pass = (milliseconds: number, step = minute / 2) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < milliseconds; passed += step) {
      yield* TestClock.adjust(Math.min(step, milliseconds - passed))
      yield* settle
      yield* settle
    }
  })

const reports = () => {
  const ran: Array<string> = []
  const worker = Worker.layer({ tasks: [Report], id: "worker" }).pipe(
    Layer.provide(Report.toLayer(({ of }) => Effect.sync(() => `report ${ran.push(of)}`)))
  )
  return { ran, worker }
}

const services = Layer.provideMerge(Client.layer, MemoryTransport.layer)

/** Layers are built anew: the scheduler is one value, and would be shared by all tests. */
const provide = <A, E>(layer: Layer.Layer<A, E, Layer.Success<typeof services>>) =>
  Effect.provide(Layer.orDie(Layer.provideMerge(layer, services)), { local: true })

it.effect("a job is listed with its next and its last run", () => {
  const { ran, worker } = reports()
  const cron = CronJob.layer("report", { cron: "*/5 * * * *", task: Report, payload: { of: "all" } })
  return Effect.gen(function*() {
    const before = Option.getOrThrow(yield* CronJob.get("report"))
    assert.deepStrictEqual([before.next, before.last, before.count], [5 * minute, undefined, 0])
    yield* pass(16 * minute)
    assert.deepStrictEqual(ran, ["all", "all", "all"])
    const { items: [info] } = yield* CronJob.list()
    assert.deepInclude(info, {
      name: "report",
      schedule: "*/5 * * * * UTC",
      task: "Report",
      queue: "default",
      origin: "code",
      next: 20 * minute,
      count: 3
    })
    assert.deepInclude(info?.last, {
      id: "cron/report/1970-01-01T00:15:00.000Z",
      tick: 15 * minute,
      status: "COMPLETED",
      trigger: "schedule",
      worker: "worker",
      attempt: 1,
      execution: 1,
      value: "report 3"
    })
    const { items: [scheduler] } = yield* CronScheduler.list()
    assert.deepInclude(scheduler, { jobs: 1, running: 0 })
    assert.isTrue(Option.isNone(yield* CronJob.get("other")))
  }).pipe(provide(Layer.mergeAll(worker, cron)))
})

it.effect("a payload may be a function of the tick, also for a run on request", () => {
  const { ran, worker } = reports()
  const cron = CronJob.layer("report", {
    cron: ["10 * * * *", "45 * * * *"],
    task: Report,
    payload: (tick) => ({ of: DateTime.formatIso(tick).slice(11, 16) })
  })
  return Effect.gen(function*() {
    yield* pass(50 * minute, 5 * minute)
    assert.deepStrictEqual(ran, ["00:10", "00:45"])
    const id = yield* CronJob.trigger("report")
    yield* settle
    const job = yield* Job.fromId(Report, id)
    assert.strictEqual(yield* job.await, "report 3")
    assert.strictEqual(ran[2], "00:50")
  }).pipe(provide(Layer.mergeAll(worker, cron)))
})

it.effect("a payload that does not fit fails its run only", () => {
  const { ran, worker } = reports()
  let count = 0
  const cron = CronJob.layer("report", {
    every: minute,
    task: Report,
    payload: () => {
      if (++count === 1) throw new Error("no such report")
      return { of: count === 2 ? 5 as never : "good" }
    }
  })
  return Effect.gen(function*() {
    yield* pass(3.5 * minute)
    assert.deepStrictEqual(ran, ["good"])
    const { items } = yield* CronJob.history("report")
    assert.deepStrictEqual(items.map(({ reason, status }) => [status, reason]), [
      ["COMPLETED", undefined],
      ["FAILED", "InvalidPayload"],
      ["FAILED", "InvalidPayload"]
    ])
    assert.include(items[2]?.message, "no such report")
  }).pipe(provide(Layer.mergeAll(worker, cron)))
})

it.effect("the history keeps so many ticks, is read page by page, and as a stream", () => {
  const { worker } = reports()
  const cron = CronJob.layer("report", {
    every: minute,
    task: Report,
    payload: { of: "all" },
    history: { count: 7 }
  })
  return Effect.gen(function*() {
    const live = yield* Effect.forkChild(
      CronJob.runs("report").pipe(
        Stream.filter(({ status }) => status === "COMPLETED"),
        Stream.take(12),
        Stream.runCollect
      ),
      { startImmediately: true }
    )
    yield* pass(12.5 * minute)
    const expected = [12, 11, 10, 9, 8, 7, 6].map((n) => n * minute)
    const all = yield* Stream.runCollect(CronJob.historyStream("report"))
    assert.deepStrictEqual(all.map(({ tick }) => tick), expected)
    const first = yield* CronJob.history("report", { limit: 4 })
    const second = yield* CronJob.history("report", { limit: 4, cursor: first.next })
    assert.deepStrictEqual([first, second].map(({ items }) => items.map(({ tick }) => tick)), [
      expected.slice(0, 4),
      expected.slice(4)
    ])
    assert.isUndefined(second.next)
    const pushed = yield* Fiber.join(live)
    assert.deepStrictEqual(pushed.map(({ tick }) => tick), Array.from({ length: 12 }, (_, n) => (n + 1) * minute))
  }).pipe(provide(Layer.mergeAll(worker, cron)))
})

it.effect("ticks keep within start, end and limit, and jitter only delays them", () => {
  const { ran, worker } = reports()
  const shared = { every: minute, task: Report, overlap: "allow" } as const
  const cron = CronJob.layerAll([
    CronJob.make("bounded", { ...shared, payload: { of: "bounded" }, startAt: 3 * minute, endAt: 5 * minute }),
    CronJob.make("limited", { ...shared, payload: { of: "limited" }, limit: 2 }),
    CronJob.make("off", { ...shared, payload: { of: "off" }, enabled: false }),
    CronJob.make("jittered", { ...shared, payload: { of: "jittered" }, limit: 5, jitter: "30 seconds" })
  ])
  return Effect.gen(function*() {
    yield* pass(10 * minute, 1_000)
    const count = (name: string) => ran.filter((one) => one === name).length
    assert.deepStrictEqual(["bounded", "limited", "off", "jittered"].map(count), [3, 2, 0, 5])
    const { items } = yield* CronJob.history("jittered")
    const delays = items.map(({ startedAt, tick }) => startedAt! - tick)
    for (const delay of delays) assert.isTrue(delay >= 0 && delay < 31_000, `a delay of ${delay} ms`)
    assert.isAbove(new Set(delays).size, 2)
    assert.isUndefined(Option.getOrThrow(yield* CronJob.get("limited")).next)
  }).pipe(provide(Layer.mergeAll(worker, cron)))
})

it.effect("a night in which the clock is set back, and one in which it is set forward", () => {
  const ran: Array<string> = []
  // without a task: a worker that says each second that it is alive would make the night long
  const of = (name: string, cron: string) =>
    CronJob.make(name, { cron, timezone: "Europe/Berlin", execute: Effect.sync(() => ran.push(name)) })
  const jobs = [of("hourly", "30 * * * *"), of("nightly", "30 2 * * *")]
  const night = (date: string) =>
    Effect.scoped(Effect.gen(function*() {
      ran.length = 0
      yield* TestClock.setTime(Date.parse(`${date}T20:00:00Z`))
      for (const { name } of jobs) yield* CronJob.remove(name)
      yield* Layer.build(Layer.fresh(CronJob.layerAll(jobs)))
      yield* pass(8 * 60 * minute, 10 * minute)
      const { items } = yield* CronJob.history("hourly")
      for (let i = 1; i < 8; i++) assert.strictEqual(items[i - 1]!.tick - items[i]!.tick, 60 * minute)
      return jobs.map(({ name }) => ran.filter((one) => one === name).length)
    }))
  return Effect.gen(function*() {
    // eight hours, whatever the clock on the wall does meanwhile
    assert.deepStrictEqual(yield* night("2026-03-28"), [8, 1])
    assert.deepStrictEqual(yield* night("2026-10-24"), [8, 1])
  }).pipe(provide(Layer.empty))
})

it.effect("what code no longer defines stays, until it is pruned", () => {
  const { worker } = reports()
  const options = { cron: "@daily", task: Report, payload: { of: "all" } } as const
  const names = Effect.map(CronJob.list(), ({ items }) => items.map(({ name }) => name).sort())
  const program = (jobs: ReadonlyArray<string>, prune: boolean) =>
    Effect.scoped(Layer.build(CronJob.layerAll(jobs.map((name) => CronJob.make(name, options)), { prune })))
  return Effect.gen(function*() {
    yield* CronJob.upsert("dynamic", options)
    yield* Layer.build(CronJob.layerAll(["a", "b", "c"].map((name) => CronJob.make(name, options))))
    yield* program(["a"], false)
    assert.deepStrictEqual(yield* names, ["a", "b", "c", "dynamic"])
    yield* program(["a"], true)
    assert.deepStrictEqual(yield* names, ["a", "dynamic"])
    assert.deepStrictEqual(yield* CronJob.prune({ keep: [] }), ["a"])
    assert.deepStrictEqual(yield* names, ["dynamic"])
  }).pipe(Effect.scoped, provide(worker))
})

it.effect("an operator's pause survives the next deployment", () => {
  const { ran, worker } = reports()
  const cron = (text: string) => CronJob.layer("report", { cron: text, task: Report, payload: { of: "all" } })
  return Effect.gen(function*() {
    yield* CronJob.pause("report")
    yield* Layer.build(Layer.fresh(cron("*/2 * * * *")))
    yield* pass(10 * minute)
    assert.deepStrictEqual(ran, [])
    assert.isTrue(Option.getOrThrow(yield* CronJob.get("report")).paused)
    yield* CronJob.resume("report")
    yield* pass(4 * minute)
    assert.strictEqual(ran.length, 2)
    const missing = yield* Effect.flip(CronJob.pause("other"))
    assert.strictEqual(missing._tag, "CronJobNotFound")
  }).pipe(Effect.scoped, provide(Layer.mergeAll(worker, cron("* * * * *"))))
})

it.effect("runs are signed like any other job", () => {
  const { ran, worker } = reports()
  const key = { id: "key", secret: Effect.runSync(Signing.generateKey) }
  const cron = CronJob.layer("report", { every: minute, task: Report, payload: { of: "all" } })
  return Effect.gen(function*() {
    yield* pass(2.5 * minute)
    assert.strictEqual(ran.length, 2)
  }).pipe(
    Effect.provide(
      Layer.orDie(
        Layer.mergeAll(worker, cron).pipe(
          Layer.provideMerge(services),
          Layer.provideMerge(Signing.layerHmac({ keys: [key] }))
        )
      ),
      { local: true }
    )
  )
})

it.effect("a scheduler that stops while it takes a tick runs it", () => {
  let runs = 0
  const execute = Effect.sync(() => void runs++)
  return Effect.gen(function*() {
    const inner = yield* Transport
    let isSlow = false
    let taken = 0
    // the answer to a write of the cursor comes late
    const put: typeof inner.store.put = (collection, key, value, options) => {
      const written = inner.store.put(collection, key, value, options)
      if (!isSlow || collection.name !== "cron-states") return written
      return Effect.tap(written, () => Effect.andThen(Effect.sync(() => taken++), Effect.sleep(1_000)))
    }
    const scope = yield* Scope.make()
    const cron = CronJob.layer("clean", { cron: "* * * * *", execute }).pipe(
      Layer.provide(Client.layer),
      Layer.provide(Layer.succeed(Transport, { ...inner, store: { ...inner.store, put } }))
    )
    yield* Layer.buildWithScope(cron, scope)
    isSlow = true
    yield* pass(minute)
    assert.deepStrictEqual([taken, runs], [1, 0])
    const stopped = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
    yield* pass(5_000, 500)
    yield* Fiber.join(stopped)
    assert.deepStrictEqual([taken, runs], [1, 1])
    const { items } = yield* CronJob.history("clean")
    assert.deepStrictEqual(items.map(({ status }) => status), ["COMPLETED"])
  }).pipe(Effect.provide(services, { local: true }))
})
