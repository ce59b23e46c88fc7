/** The trace policy, row by row: what is a child of what, and what is linked. */
import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Client from "../../src/Client.ts"
import * as CronJob from "../../src/CronJob.ts"
import * as DeadLetter from "../../src/DeadLetter.ts"
import type { EnqueueOptions } from "../../src/EnqueueOptions.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Task from "../../src/Task.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import * as Worker from "../../src/Worker.ts"
import { program, run } from "../fixtures/kit.ts"
import { traced } from "../fixtures/traces.ts"
import { Order, pass, withWorker, worker } from "./kit.ts"
import { child, root, standing } from "./standing.ts"

const enqueue = (options?: EnqueueOptions) => Order.enqueue({ what: "book" }, options)

describe("a delay", () => {
  const cases: ReadonlyArray<readonly [string, EnqueueOptions, object]> = [
    ["of a minute keeps the trace", { delay: "1 minute" }, child],
    ["of more begins one", { delay: 60_001 }, root],
    ["until a time in a minute keeps the trace", { at: 60_000 }, child],
    ["until a later time begins one", { at: DateTime.makeUnsafe(61_000) }, root],
    ["until a date begins one", { at: new Date(61_000) }, root]
  ]
  it.effect.each(cases)("%s", ([, options, expected]) =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* enqueue(options)
        yield* pass(62)
        assert.deepStrictEqual(standing(traces), [expected])
        assert.isAtMost(Number(traces.one("process shop").attr("job.wait_ms")), 1_000)
      })
    ))
})

describe("a batch", () => {
  const many = (count: number) =>
    Order.enqueueMany(Array.from({ length: count }, () => ({ payload: { what: "book" } })))

  it.effect("of 32 has a create span per job, and each job is in the trace of its own", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* many(32)
        yield* pass(1)
        const send = traces.one("send shop")
        const created = traces.named("create shop")
        assert.deepStrictEqual([send.kind, send.attr("messaging.batch.message_count")], ["client", 32])
        assert.isFalse(send.attributes.has("job.task"))
        assert.strictEqual(created.length, 32)
        for (const span of created) {
          assert.deepStrictEqual([span.kind, span.state, span.parentId], ["producer", "unset", send.spanId])
          assert.strictEqual(span.attr("job.task"), "Order")
        }
        const ran = traces.named("process shop")
        assert.strictEqual(ran.length, 32)
        for (const span of ran) {
          const creation = created.find((one) => one.attr("messaging.message.id") === span.attr("messaging.message.id"))
          assert.strictEqual(span.parentId, creation?.spanId)
          assert.deepStrictEqual(span.linksTo, [["creation", creation!.spanId]])
        }
      })
    ))

  it.effect.each([33, 600])(
    "of %s has none, and each job begins a trace",
    (count) =>
      withWorker((traces) =>
        Effect.gen(function*() {
          yield* many(count)
          yield* pass(1)
          const sent = traces.named("send shop")
          assert.strictEqual(
            sent.reduce((sum, span) => sum + Number(span.attr("messaging.batch.message_count")), 0),
            count
          )
          assert.deepStrictEqual(traces.named("create shop"), [])
          const ran = traces.named("process shop")
          assert.strictEqual(ran.length, count)
          assert.strictEqual(new Set(ran.map((span) => span.traceId)).size, count)
          for (const span of ran) {
            assert.isUndefined(span.parentId)
            assert.isTrue(sent.some((one) => span.linksTo.length === 1 && span.linksTo[0]![1] === one.spanId))
          }
        })
      )
  )

  it.effect("says which of its jobs were not accepted", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Order.enqueueMany([{ payload: { what: "book" } }, { payload: { what: "book" }, options: { id: "" } }])
        assert.deepStrictEqual(traces.named("create shop").map((span) => span.state), ["unset", "error"])
        assert.strictEqual(traces.named("create shop")[1]?.attr("error.type"), "InvalidOption")
        assert.strictEqual(traces.one("send shop").state, "unset")
      })
    ))

  it.effect("for several queues names none", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const { codec, send } = yield* Client.Client
        const job = { body: new TextEncoder().encode(`{"what":"x"}`), contentType: codec.contentType }
        yield* send([{ ...job, task: "Order", queue: "shop" }, { ...job, task: "Parcel", queue: "post" }])
        yield* pass(1)
        assert.isFalse(traces.one("send").attributes.has("messaging.destination.name"))
        assert.strictEqual(traces.one("process shop").parentId, traces.one("create shop").spanId)
        assert.strictEqual(traces.one("process post").parentId, traces.one("create post").spanId)
      })
    ))
})

describe("retries", () => {
  it.effect("are siblings, each linked to the attempt before", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Order.enqueue({ what: "sold" })
        yield* pass(30)
        const send = traces.one("send shop")
        const [one, two, three, ...others] = traces.named("process shop")
        assert.deepStrictEqual(others, [])
        const all = [one!, two!, three!]
        assert.deepStrictEqual(all.map((span) => span.parentId), [send.spanId, send.spanId, send.spanId])
        assert.deepStrictEqual(all.map((span) => span.linksTo), [
          [["creation", send.spanId]],
          [["creation", send.spanId], ["previous_attempt", one!.spanId]],
          [["creation", send.spanId], ["previous_attempt", two!.spanId]]
        ])
        assert.deepStrictEqual(all.map((span) => span.attr("job.attempt")), [1, 2, 3])
        assert.deepStrictEqual(all.map((span) => span.attr("job.trigger")), ["api", "retry", "retry"])
        assert.deepStrictEqual(all.map((span) => span.attr("job.outcome")), ["retried", "retried", "failed"])
        assert.deepStrictEqual(all.map((span) => [span.state, span.attr("error.type")]), [
          ["error", "Sold"],
          ["error", "Sold"],
          ["error", "Sold"]
        ])
        assert.deepStrictEqual(all.map((span) => span.eventList), [
          [["job.retry_scheduled", { delay_ms: 5_000, next_attempt: 2 }]],
          [["job.retry_scheduled", { delay_ms: 5_000, next_attempt: 3 }]],
          [["job.dead_lettered", { reason: "Error" }]]
        ])
      })
    ))

  it.effect("of a job that is no part of what enqueued it begin traces of their own", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Order.enqueue({ what: "sold once" }, { delay: "2 minutes" })
        yield* pass(130)
        const [one, two] = traces.named("process shop")
        assert.deepStrictEqual(standing(traces).map(({ isRoot }) => isRoot), [true, true])
        assert.notStrictEqual(one!.traceId, two!.traceId)
        assert.deepStrictEqual(two!.linksTo.at(-1), ["previous_attempt", one!.spanId])
      })
    ))
})

describe("a dead letter", () => {
  it.effect("that is replayed begins a trace, linked to the first one", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* Order.enqueue({ what: "discard" })
        yield* pass(1)
        assert.deepStrictEqual(yield* DeadLetter.replay("shop", [job.id]), ["done"])
        yield* pass(1)
        assert.deepStrictEqual(standing(traces), [child, root])
        const [first, second] = traces.named("process shop")
        assert.deepStrictEqual(first!.eventList, [["job.dead_lettered", { reason: "Discarded" }]])
        assert.deepStrictEqual([first, second].map((span) => span!.attr("job.trigger")), ["api", "replay"])
        assert.deepStrictEqual([first, second].map((span) => span!.attr("job.attempt")), [1, 1])
      })
    ))
})

describe("a cron job", () => {
  it.effect("begins a trace per tick, linked to the span of the scheduler", () =>
    traced((traces) =>
      Effect.gen(function*() {
        const cron = CronJob.layer("daily", { cron: "* * * * *", task: Order, payload: { what: "book" } })
        const services = Layer.provideMerge(Client.layer, MemoryTransport.layer)
        yield* Effect.gen(function*() {
          yield* run(worker())
          yield* pass(125)
          const sent = [...traces.named("create shop"), ...traces.named("send shop")]
          const ran = traces.named("process shop")
          assert.strictEqual(ran.length, 2)
          assert.strictEqual(new Set(ran.map((span) => span.traceId)).size, 2)
          for (const span of ran) {
            assert.isUndefined(span.parentId)
            assert.isTrue(sent.some((one) => one.spanId === span.linksTo[0]?.[1]))
            assert.deepStrictEqual([span.attr("job.trigger"), span.attr("job.cron.name")], ["cron", "daily"])
          }
        }).pipe(Effect.provide(Layer.orDie(Layer.provideMerge(cron, services)), { local: true }))
      })
    ))
})

describe("what says where attempts stand", () => {
  const Linked = Task.make("Linked", { queue: "shop", trace: "link" })
  const Kept = Task.make("Kept", { queue: "shop", trace: "parent" })
  const live = Layer.mergeAll(Linked.toLayer(() => Effect.void), Kept.toLayer(() => Effect.void))
  const both = Worker.layer({ tasks: [Linked, Kept] }).pipe(Layer.provide(live))

  const cases: ReadonlyArray<
    readonly [
      string,
      Effect.Effect<unknown, unknown, Client.Client>,
      Telemetry.TracePolicy,
      object
    ]
  > = [
    ["the call", Order.enqueue({ what: "x" }, { trace: "link" }), "auto", root],
    ["the call, for long delays", Order.enqueue({ what: "x" }, { trace: "parent", delay: "2 minutes" }), "auto", child],
    ["the task", Linked.enqueue(), "auto", root],
    ["the task, for long delays", Kept.enqueue(undefined, { delay: "2 minutes" }), "auto", child],
    ["the client", Order.enqueue({ what: "x" }), "link", root],
    ["the client, for long delays", Order.enqueue({ what: "x" }, { delay: "2 minutes" }), "parent", child],
    ["the task before the client", Kept.enqueue(), "link", child],
    ["the call before the task", Linked.enqueue(undefined, { trace: "parent" }), "link", child],
    ["the call, back to auto", Linked.enqueue(undefined, { trace: "auto" }), "link", child]
  ]
  it.effect.each(cases)("is %s", ([, call, policy, expected]) =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(worker())
        yield* run(both)
        yield* call
        yield* pass(125)
        assert.deepStrictEqual(standing(traces), [expected])
      })).pipe(Effect.provideService(Telemetry.TracePolicy, policy))
    ))

  it.effect("is the span that the worker runs in, whatever else is said", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(worker())
        yield* enqueue()
        yield* enqueue({ trace: "link" })
        yield* pass(1)
        const { spanId } = traces.one("test")
        const sent = traces.named("send shop")
        for (const [index, span] of traces.named("process shop").entries()) {
          assert.deepStrictEqual([span.parentId, span.linksTo], [spanId, [["creation", sent[index]?.spanId]]])
        }
      })).pipe(Effect.withSpan("test"))
    ))

  it.effect("is not the span of a start that is over", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* Effect.withSpan(run(worker()), "start")
        yield* enqueue()
        yield* pass(1)
        assert.strictEqual(traces.one("start").state, "unset")
        assert.deepStrictEqual(standing(traces), [child])
      }))
    ))
})
