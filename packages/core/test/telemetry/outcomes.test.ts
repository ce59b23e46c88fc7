/** How attempts end, and what their spans say of it. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type * as Client from "../../src/Client.ts"
import * as Signing from "../../src/Signing.ts"
import * as Task from "../../src/Task.ts"
import * as Telemetry from "../../src/Telemetry.ts"
import { Transport } from "../../src/Transport.ts"
import * as Worker from "../../src/Worker.ts"
import { program, run, settle } from "../fixtures/kit.ts"
import { Logs } from "../fixtures/logs.ts"
import { make as makeTraces, type Recorded, traced, type Traces } from "../fixtures/traces.ts"
import { bareEnvelope } from "../samples.ts"
import { Order, pass, withWorker, worker } from "./kit.ts"

const says = (span: Recorded | undefined) => [
  span?.state,
  span?.attr("job.outcome"),
  span?.attr("error.type"),
  span?.eventList
]

/** One order, and the span of its first attempt. */
const first = (what: string, seconds: number) =>
  withWorker((traces) =>
    Effect.gen(function*() {
      yield* Order.enqueue({ what })
      yield* pass(seconds)
      return traces.named("process shop")[0]!
    })
  )

const retry = [["job.retry_scheduled", { delay_ms: 5_000, next_attempt: 2 }]]

describe("an attempt", () => {
  const cases: ReadonlyArray<readonly [string, number, ReadonlyArray<unknown>]> = [
    ["book", 1, ["unset", "succeeded", undefined, []]],
    ["sold", 1, ["error", "retried", "Sold", retry]],
    ["defect", 1, ["error", "retried", "TypeError", retry]],
    ["never", 21, ["error", "retried", "timeout", retry]],
    ["discard", 1, ["error", "failed", "Discard", [["job.dead_lettered", { reason: "Discarded" }]]]],
    ["snooze", 1, ["unset", "snoozed", undefined, [["job.snoozed", { delay_ms: 60_000 }]]]]
  ]
  it.effect.each(cases)(
    "of %s",
    ([what, seconds, expected]) =>
      Effect.map(first(what, seconds), (span) => assert.deepStrictEqual(says(span), expected))
  )

  it.effect("ends with what went wrong", () =>
    Effect.gen(function*() {
      const span = yield* first("defect", 1)
      assert(span.status._tag === "Ended" && Exit.isFailure(span.status.exit))
      assert.include(Cause.pretty(span.status.exit.cause), "no such thing")
    }))

  it.effect("after a snooze is no retry: same parent, no link to the one before", () =>
    withWorker((traces) =>
      Effect.gen(function*() {
        yield* Order.enqueue({ what: "snooze" })
        yield* pass(62)
        const send = traces.one("send shop")
        const [, again] = traces.named("process shop")
        assert.deepStrictEqual([again?.parentId, again?.linksTo], [send.spanId, [["creation", send.spanId]]])
        assert.deepStrictEqual([again?.attr("job.attempt"), again?.attr("job.trigger")], [1, "api"])
      })
    ))

  it.effect("that a shutdown released is no failure", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        const { stop, stopNow } = yield* run(worker())
        yield* Order.enqueue({ what: "never" })
        yield* pass(1)
        const stopping = yield* Effect.forkChild(stop, { startImmediately: true })
        yield* stopNow
        yield* Fiber.join(stopping)
        assert.deepStrictEqual(says(traces.one("process shop")), ["unset", "released", undefined, [[
          "job.released",
          {}
        ]]])
      }))
    ))
})

describe("a tracer that fails", () => {
  const broken = (what: "span" | "end") =>
    Tracer.make({
      span: (options) => {
        if (what === "span" && options.kind === "consumer") throw new Error("no spans today")
        const span = new Tracer.NativeSpan(options)
        if (options.kind === "consumer") {
          span.end = () => {
            throw new Error("no end")
          }
        }
        return span
      }
    })

  it.effect.each(["span", "end"] as const)(
    "at its %s harms no job, and is logged once",
    (what) =>
      program(Effect.gen(function*() {
        const { matching } = yield* Logs
        yield* run(worker())
        const jobs = yield* Effect.forEach(["book", "sold", "pen"], (item) => Order.enqueue({ what: item }))
        yield* pass(30)
        assert.deepStrictEqual(yield* Effect.forEach(jobs, (job) => job.status), ["succeeded", "failed", "succeeded"])
        assert.strictEqual(matching("The tracer of queue \"shop\" fails").length, 1)
      })).pipe(Effect.provideService(Tracer.Tracer, broken(what)))
  )
})

describe("a job that is not run", () => {
  const refused = (change: object, options: { readonly signed?: boolean } = {}) =>
    Effect.gen(function*() {
      const secret = yield* Signing.generateKey
      const signing = Signing.layerHmac({ keys: [{ id: "k", secret }] })
      return yield* traced((traces) =>
        program(Effect.gen(function*() {
          const { log } = yield* Transport
          yield* options.signed === true ? Effect.provide(run(worker()), signing, { local: true }) : run(worker())
          const headers = { traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01` }
          const envelope = { ...bareEnvelope, queue: "shop", task: "Order", priority: "normal", headers, ...change }
          yield* log.send([envelope])
          yield* pass(2)
          return traces.named("process shop")
        }))
      )
    })

  it.effect("because of its signature has a span in no trace of its writer's", () =>
    Effect.gen(function*() {
      const [span] = yield* refused({}, { signed: true })
      assert.deepStrictEqual(says(span), [
        "error",
        "failed",
        "signature",
        [["job.dead_lettered", { reason: "Signature" }]]
      ])
      assert.deepStrictEqual([span?.parentId, span?.linksTo], [undefined, []])
    }))

  it.effect("because of its bytes says so", () =>
    Effect.gen(function*() {
      const [span] = yield* refused({ contentType: "application/x-thing" })
      assert.deepStrictEqual(says(span).slice(0, 3), ["error", "failed", "decode"])
    }))

  it.effect("because it expired is no failure, and is in its trace", () =>
    Effect.gen(function*() {
      const [span, ...others] = yield* refused({ expiresAt: -1 })
      assert.deepStrictEqual(says(span), ["unset", "expired", undefined, []])
      assert.strictEqual(span?.traceId, "a".repeat(32))
      assert.deepStrictEqual(others, [])
    }))

  it.effect("because it expired while it waited for a slot says so, too", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(worker({ concurrency: 1 }))
        yield* Order.enqueue({ what: "never" })
        yield* Order.enqueue({ what: "book" }, { expiresIn: "10 seconds" })
        yield* pass(21)
        assert.deepStrictEqual(traces.named("process shop").map((span) => span.attr("job.outcome")), [
          "retried",
          "expired"
        ])
      }))
    ))

  it.effect("but waits for a worker that knows its task has no span", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* refused({ task: "Unknown" }), [])
    }))
})

describe("a trace", () => {
  const Look = Task.make("Look", { queue: "look" })
  const looked = (body: (traces: Traces) => Effect.Effect<unknown, unknown, Client.Client>, traces = makeTraces()) =>
    program(Effect.gen(function*() {
      const seen: Array<Readonly<Record<string, string>>> = []
      const live = Look.toLayer((_, { headers }) => Effect.sync(() => void seen.push(headers)))
      yield* run(Worker.layer({ tasks: [Look] }).pipe(Layer.provide(live)))
      yield* body(traces)
      yield* settle
      return { seen, traces }
    })).pipe(Effect.provideService(Tracer.Tracer, traces.tracer))

  const elsewhere = (sampled: boolean, state?: string) =>
    Tracer.externalSpan({
      traceId: "a".repeat(32),
      spanId: "b".repeat(16),
      sampled,
      annotations: Telemetry.TraceState.context(state ?? "")
    })

  it.effect("carries its state, through a span and to the span of the job", () =>
    Effect.gen(function*() {
      const { seen, traces } = yield* looked(() =>
        Look.enqueue().pipe(Effect.withSpan("here"), Effect.withParentSpan(elsewhere(true, "vendor=1")))
      )
      const send = traces.one("send look")
      const traceparent = `00-${"a".repeat(32)}-${send.spanId}-01`
      assert.deepStrictEqual(seen, [{ traceparent, tracestate: "vendor=1" }])
      const { annotations } = Option.getOrThrow(traces.one("process look").parent)
      assert.strictEqual(Context.get(annotations, Telemetry.TraceState), "vendor=1")
    }))

  it.effect("that is not sampled stays so", () =>
    Effect.gen(function*() {
      const many = Look.enqueueMany([{ payload: undefined }])
      const both = Effect.andThen(Look.enqueue(), many)
      const { seen, traces } = yield* looked(() => Effect.withParentSpan(both, elsewhere(false)))
      assert.deepStrictEqual(seen.map(({ traceparent }) => traceparent?.slice(-3)), ["-00", "-00"])
      assert.deepStrictEqual(traces.named("create look"), [])
      for (const span of traces.spans) {
        assert.deepStrictEqual([span.sampled, span.attributes.size, span.state], [false, 0, "unset"])
      }
      assert.strictEqual(traces.named("process look").length, 2)
      assert.strictEqual(traces.named("process look")[0]?.startAttributes["job.task"], "Look")
    }))

  it.effect("that a caller names in the headers stands", () =>
    Effect.gen(function*() {
      const traceparent = `00-${"c".repeat(32)}-${"d".repeat(16)}-01`
      const { seen, traces } = yield* looked(() => Look.enqueue(undefined, { headers: { traceparent } }))
      assert.deepStrictEqual(seen, [{ traceparent }])
      assert.strictEqual(traces.one("process look").parentId, "d".repeat(16))
    }))

  it.effect("is begun anew where the header is none", () =>
    Effect.gen(function*() {
      for (const traceparent of ["", "nonsense", `00-${"0".repeat(32)}-${"d".repeat(16)}-01`]) {
        const { traces } = yield* looked(() => Look.enqueue(undefined, { headers: { traceparent } }))
        const span = traces.one("process look")
        assert.deepStrictEqual([span.parentId, span.linksTo], [undefined, []])
      }
    }))
})
