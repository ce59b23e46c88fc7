/** What spans there are, and what they say. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Tracer from "effect/Tracer"
import * as Client from "../../src/Client.ts"
import type { EnqueueOptions } from "../../src/EnqueueOptions.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Task from "../../src/Task.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import { Transport } from "../../src/Transport.ts"
import * as Worker from "../../src/Worker.ts"
import { program, run, settle } from "../fixtures/kit.ts"
import { traced } from "../fixtures/traces.ts"
import { Order, pass, secret, withWorker, worker } from "./kit.ts"
import { child, standing } from "./standing.ts"

const enqueue = (options?: EnqueueOptions) => Order.enqueue({ what: "book" }, options)

describe("a job", () => {
  it.effect("is sent and run in one trace", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* enqueue({ id: "job-1", key: "k" })
        yield* pass(1)
        const [send, process] = [traces.one("send shop"), traces.one("process shop")]
        assert.deepStrictEqual([send.kind, send.state, send.parentId], ["producer", "unset", undefined])
        assert.deepStrictEqual([process.kind, process.state], ["consumer", "unset"])
        assert.deepStrictEqual(standing(traces), [child])
        assert.deepStrictEqual(Object.fromEntries(send.attributes), {
          "messaging.system": "troupe",
          "troupe.transport": "memory",
          "messaging.destination.name": "shop",
          "messaging.operation.name": "send",
          "messaging.operation.type": "send",
          "messaging.message.body.size": 15,
          "messaging.message.id": "job-1",
          "job.task": "Order"
        })
        assert.deepStrictEqual(Object.fromEntries(process.attributes), {
          "messaging.system": "troupe",
          "troupe.transport": "memory",
          "messaging.destination.name": "shop",
          "messaging.operation.name": "process",
          "messaging.operation.type": "process",
          "messaging.message.id": "job-1",
          "messaging.message.conversation_id": "job-1",
          "job.task": "Order",
          "job.key": "k",
          "job.attempt": 1,
          "job.max_attempts": 3,
          "job.wait_ms": 0,
          "job.trigger": "api",
          "job.redelivered": false,
          "job.outcome": "succeeded"
        })
        // samplers decide before anything else is known
        const { "job.outcome": _, ...start } = Object.fromEntries(process.attributes)
        assert.deepStrictEqual(process.startAttributes, start)
        assert.strictEqual((yield* job.info).attempts, 1)
      })
    ))

  it.effect("is in the trace of whoever enqueues it", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Effect.withSpan(enqueue(), "checkout")
        yield* pass(1)
        assert.strictEqual(traces.one("send shop").parentId, traces.one("checkout").spanId)
        assert.deepStrictEqual(standing(traces), [child])
      })
    ))

  it.effect("says after the answer which id it got, and that it was there already", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* enqueue()
        yield* enqueue({ id: "twice", delay: "1 hour" })
        const again = yield* enqueue({ id: "twice" })
        assert.isTrue(again.duplicate)
        const sent = traces.named("send shop")
        assert.deepStrictEqual(sent.map((span) => span.attr("messaging.message.id")), [job.id, "twice", "twice"])
        assert.deepStrictEqual(sent.map((span) => span.attr("job.deduplicated")), [undefined, undefined, true])
        assert.deepStrictEqual(sent.map((span) => span.attr("job.delay_ms")), [undefined, 3_600_000, undefined])
      })
    ))

  it.effect("that is not accepted ends its send span with the reason", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Effect.exit(enqueue({ priority: "no such level" }))
        const send = traces.one("send shop")
        assert.deepStrictEqual([send.state, send.attr("error.type")], ["error", "InvalidOption"])
      })
    ))

  it.effect("leaves no payload, no result and no error of a schema in a span, and no id in a name", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* Order.enqueue({ what: secret }, { headers: { secret } })
        yield* Order.enqueue({ what: "sold" })
        yield* Order.enqueueMany([{ payload: { what: secret } }])
        // what a parser says of bytes that are no JSON quotes them
        const client = yield* Client.Client
        const body = new TextEncoder().encode(secret)
        yield* client.sendOne({ task: "Order", queue: "shop", body, contentType: "application/json" })
        yield* pass(30)
        for (const { attributes, eventList, links, name, startAttributes, status } of traces.spans) {
          const error = status._tag === "Ended" && Exit.isFailure(status.exit) ? Cause.pretty(status.exit.cause) : ""
          const all = JSON.stringify([
            name,
            [...attributes],
            eventList,
            startAttributes,
            links.map((one) => one.attributes)
          ])
          assert.notInclude(all + error, secret)
          assert.notInclude(name, job.id)
        }
        // a schema of the user's may quote what it met: what it says is for the dead letter
        const unread = traces.named("process shop").find((span) => span.attr("error.type") === "decode")
        assert(unread?.status._tag === "Ended" && Exit.isFailure(unread.status.exit))
        assert.match(Cause.pretty(unread.status.exit.cause), /^decode: the job failed: decode/)
        assert.deepStrictEqual(
          traces.named("process shop").map((span) => span.attr("error.type")).sort(),
          ["Sold", "Sold", "Sold", "decode", undefined, undefined]
        )
      })
    ))

  it.effect("has no key in its spans where that is switched off", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* Effect.provideService(run(worker()), Telemetry.KeyAttribute, false)
        yield* enqueue({ key: "ada@example.org" })
        yield* pass(1)
        assert.isFalse(traces.one("process shop").attributes.has("job.key"))
      }))
    ))
})

describe("a send", () => {
  it.effect("is the current span of what the transport does for it", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        const inner = yield* Transport
        const seen: Array<string> = []
        const note = Effect.map(Effect.currentSpan, ({ name }) => void seen.push(name))
        const send: typeof inner.log.send = (...args) => Effect.andThen(Effect.orDie(note), inner.log.send(...args))
        const transport = { ...inner, log: { ...inner.log, send } }
        const client = yield* Effect.provideService(Client.make, Transport, transport)
        const many = Order.enqueueMany([{ payload: { what: "x" } }])
        yield* Effect.provideService(Effect.andThen(enqueue(), many), Client.Client, client)
        assert.deepStrictEqual(seen, ["send shop", "send shop"])
        assert.strictEqual(traces.named("create shop").length, 1)
      }))
    ))
})

describe("a child job", () => {
  it.effect("is sent in the span that its handler is in, and knows the job at the root", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* Order.enqueue({ what: "parcel" })
        yield* pass(1)
        const spans = ["process shop", "packing", "send post", "process post"].map(traces.one)
        assert.deepStrictEqual(
          spans.slice(1).map((span) => span.parentId),
          spans.slice(0, 3).map((span) => span.spanId)
        )
        assert.deepStrictEqual(new Set(spans.map((span) => span.traceId)).size, 1)
        const last = traces.one("process post")
        assert.strictEqual(last.attr("messaging.message.conversation_id"), job.id)
        assert.notStrictEqual(last.attr("messaging.message.id"), job.id)
        assert.strictEqual(last.attr("job.trigger"), "child")
      })
    ))

  it.effect("of a child has the same root", () => {
    const Deep = Task.make("Deep", { payload: { left: Schema.Number }, queue: "deep" })
    const live = Deep.toLayer(({ left }) => left === 0 ? Effect.void : Effect.orDie(Deep.enqueue({ left: left - 1 })))
    return traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(Worker.layer({ tasks: [Deep] }).pipe(Layer.provide(live)))
        const job = yield* Deep.enqueue({ left: 2 })
        yield* pass(1)
        const ran = traces.named("process deep")
        assert.deepStrictEqual(ran.map((span) => span.attr("messaging.message.conversation_id")), [
          job.id,
          job.id,
          job.id
        ])
        assert.strictEqual(new Set(traces.spans.map((span) => span.traceId)).size, 1)
      }))
    )
  })
})

describe("a handler", () => {
  it.effect("has its process span as the current one", () => {
    const seen: Array<string> = []
    const Look = Task.make("Look", { queue: "shop" })
    const live = Look.toLayer(() =>
      Effect.gen(function*() {
        seen.push((yield* Effect.orDie(Effect.currentSpan)).spanId)
        yield* Effect.annotateCurrentSpan("mine", 1)
        yield* Effect.withSpan(Effect.void, "inner")
      })
    )
    return traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(Worker.layer({ tasks: [Look] }).pipe(Layer.provide(live)))
        yield* Look.enqueue()
        yield* pass(1)
        const process = traces.one("process shop")
        assert.deepStrictEqual(seen, [process.spanId])
        assert.strictEqual(process.attr("mine"), 1)
        assert.strictEqual(traces.one("inner").parentId, process.spanId)
      }))
    )
  })
})

describe("a cancel", () => {
  it.effect("is a span, and that of the attempt is no failure", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const job = yield* Order.enqueue({ what: "never" })
        yield* pass(1)
        yield* job.cancel
        yield* pass(1)
        const cancel = traces.one("cancel shop")
        assert.deepStrictEqual([cancel.kind, cancel.state, cancel.parentId], ["client", "unset", undefined])
        assert.strictEqual(cancel.attr("messaging.message.id"), job.id)
        assert.strictEqual(cancel.attr("job.outcome"), "cancelled")
        const process = traces.one("process shop")
        assert.deepStrictEqual([process.state, process.attr("job.outcome")], ["unset", "cancelled"])
        assert.isFalse(process.attributes.has("error.type"))
      })
    ))

  it.effect("of a job that is unknown fails", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        const client = yield* Client.Client
        yield* Effect.exit(client.job("shop", "nobody").cancel)
        const cancel = traces.one("cancel shop")
        assert.deepStrictEqual([cancel.state, cancel.attr("error.type")], ["error", "JobNotFound"])
      })
    ))
})

describe("a crash", () => {
  it.effect("leaves the job's place in the traces: same parent, redelivered", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(worker({ id: "first" }))
        yield* Order.enqueue({ what: "never once" })
        yield* pass(1)
        yield* MemoryTransport.crash("first")
        yield* run(worker({ id: "second" }))
        yield* pass(40)
        const send = traces.one("send shop")
        const [lost, again] = traces.named("process shop")
        assert.deepStrictEqual([lost, again].map((span) => span!.parentId), [send.spanId, send.spanId])
        assert.deepStrictEqual([lost, again].map((span) => span!.attr("job.redelivered")), [false, true])
        assert.deepStrictEqual([lost, again].map((span) => span!.attr("job.attempt")), [1, 1])
        assert.deepStrictEqual(again!.linksTo, [["creation", send.spanId]])
        // the first worker lives on in this test, and notices
        assert.deepStrictEqual([lost!.state, lost!.attr("job.outcome")], ["error", "lease_lost"])
        assert.strictEqual(lost!.attr("error.type"), "lease_lost")
      }))
    ))
})

describe("without a tracer", () => {
  const headersOf = (enqueued: Effect.Effect<unknown, unknown, Client.Client>) =>
    program(Effect.gen(function*() {
      const seen: Array<Readonly<Record<string, string>>> = []
      const live = Order.toLayer((_, { headers }) => Effect.as(Effect.sync(() => seen.push(headers)), ""))
      yield* run(Worker.layer({ tasks: [Order] }).pipe(Layer.provide(live)))
      yield* enqueued
      yield* settle
      return seen
    }))
  const came = Tracer.externalSpan({ traceId: "a".repeat(32), spanId: "b".repeat(16) })

  it.effect("no header is written", () =>
    Effect.gen(function*() {
      const many = Order.enqueueMany([{ payload: { what: "x" } }])
      const seen = yield* headersOf(Effect.withSpan(Effect.andThen(enqueue(), many), "nobody listens"))
      assert.deepStrictEqual(seen, [{}, {}])
    }))

  it.effect("a span that came from elsewhere is passed on", () =>
    Effect.gen(function*() {
      const many = Order.enqueueMany([{ payload: { what: "x" }, options: { headers: { mine: "1" } } }])
      const both = Effect.andThen(enqueue({ trace: "link" }), Effect.withSpan(many, "nobody listens"))
      const traceparent = `00-${came.traceId}-${came.spanId}-01`
      assert.deepStrictEqual(yield* headersOf(Effect.withParentSpan(both, came)), [
        { traceparent, "troupe-trace": "link" },
        { traceparent, mine: "1" }
      ])
    }))
})
