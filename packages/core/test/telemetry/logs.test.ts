/** What the log lines of a handler say of its job. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Client from "../../src/Client.ts"
import * as Task from "../../src/Task.ts"
import * as Worker from "../../src/Worker.ts"
import { program, run } from "../fixtures/kit.ts"
import { traced } from "../fixtures/traces.ts"
import { pass } from "./kit.ts"

const Talk = Task.make("Talk", { queue: "talk", retry: Schedule.spaced("1 second"), maxAttempts: 2 })

const live = Talk.toLayer((_, { attempt }) =>
  Effect.gen(function*() {
    yield* Effect.log("outer")
    yield* Effect.annotateLogs(Effect.log("inner"), "mine", 1)
    const fiber = yield* Effect.forkChild(Effect.log("forked"))
    yield* Fiber.join(fiber)
    if (attempt === 1) return yield* Effect.die("again")
  })
)

type Line = readonly [string, Readonly<Record<string, unknown>>]

/** The lines of handlers, with what they are annotated with. */
const lines = Effect.gen(function*() {
  const seen: Array<Line> = []
  const logger = Logger.make(({ fiber, message }) => {
    const text = String(Array.isArray(message) ? message[0] : message)
    if (["outer", "inner", "forked"].includes(text)) seen.push([text, fiber.getRef(References.CurrentLogAnnotations)])
  })
  const worker = Worker.layer({ tasks: [Talk] }).pipe(Layer.provide(live), Layer.provide(Logger.layer([logger])))
  yield* run(worker)
  yield* Talk.enqueue(undefined, { id: "job-1" })
  yield* pass(3)
  return seen
})

const expected = (attempt: number, more: object = {}): ReadonlyArray<Line> => {
  const own = { "job.id": "job-1", "job.task": "Talk", "job.attempt": attempt, ...more }
  return [["outer", own], ["inner", { ...own, mine: 1 }], ["forked", own]]
}

it.effect("they say id, task and attempt, in every fiber of the handler, without a tracer", () =>
  program(Effect.gen(function*() {
    assert.deepStrictEqual(yield* lines, [...expected(1), ...expected(2)])
  })))

it.effect("and with one", () =>
  traced(() =>
    program(Effect.gen(function*() {
      assert.deepStrictEqual(yield* lines, [...expected(1), ...expected(2)])
    }))
  ))

it.effect("beside what the worker's lines say", () =>
  program(Effect.gen(function*() {
    const more = { service: "shop" }
    assert.deepStrictEqual(yield* Effect.annotateLogs(lines, more), [...expected(1, more), ...expected(2, more)])
  })))

const Pay = Task.make("Pay", {
  payload: { amount: Schema.Number },
  queue: "pay",
  retry: Schedule.spaced("1 second"),
  maxAttempts: 2
})

/** What is logged of a job from `Warn` on. */
const warnings = (amount: number, attempts: number) =>
  Effect.gen(function*() {
    const seen: Array<unknown> = []
    const logger = Logger.make(({ cause, fiber, logLevel, message }) => {
      if (logLevel === "Warn") {
        seen.push([message, cause.reasons.length, fiber.getRef(References.CurrentLogAnnotations)])
      }
    })
    const live = Pay.toLayer((_, { attempt }) => attempt < attempts ? Effect.die(new Error("no money")) : Effect.void)
    const worker = Worker.layer({ tasks: [Pay] }).pipe(Layer.provide(live), Layer.provide(Logger.layer([logger])))
    yield* Effect.annotateLogs(run(worker), { service: "shop" })
    const client = yield* Client.Client
    yield* client.enqueueByName("Pay", { amount: amount < 0 ? "s3cr3t" : amount }, { queue: "pay", id: "job-1" })
    yield* pass(5)
    return seen
  })

const annotations = (attempt: number) => ({
  service: "shop",
  "job.id": "job-1",
  "job.task": "Pay",
  "job.attempt": attempt
})

it.effect("a job that fails for good is one warning, with its last error", () =>
  program(Effect.gen(function*() {
    assert.deepStrictEqual(yield* warnings(1, 9), [[
      ["Job \"job-1\" of queue \"pay\" (task \"Pay\") is dead-lettered: attempt 2 failed: Error: no money"],
      1,
      annotations(2)
    ]])
  })))

const Ship = Task.make("Ship", { queue: "ship", error: Schema.Literal("no ship"), maxAttempts: 1 })

it.effect("a typed error is an answer: it is logged at Info", () =>
  program(Effect.gen(function*() {
    const seen: Array<unknown> = []
    const logger = Logger.make(({ logLevel, message }) => seen.push([logLevel, message]))
    yield* run(
      Worker.layer({ tasks: [Ship] }).pipe(
        Layer.provide(Ship.toLayer(() => Effect.fail("no ship" as const))),
        Layer.provide(Logger.layer([logger]))
      )
    )
    yield* Ship.enqueue(undefined, { id: "job-1" })
    yield* pass(1)
    const line = "Job \"job-1\" of queue \"ship\" (task \"Ship\") is dead-lettered: attempt 1 failed: no ship"
    assert.deepStrictEqual(seen.filter((one) => String(one).includes("dead-lettered")), [["Info", [line]]])
  })))

it.effect("one that a retry saves is none", () =>
  program(Effect.gen(function*() {
    assert.deepStrictEqual(yield* warnings(1, 2), [])
  })))

it.effect("what a schema says of a payload is in no line", () =>
  program(Effect.gen(function*() {
    assert.deepStrictEqual(yield* warnings(-1, 1), [[
      ["Job \"job-1\" of queue \"pay\" (task \"Pay\") is dead-lettered: attempt 1 failed: decode"],
      0,
      annotations(1)
    ]])
  })))
