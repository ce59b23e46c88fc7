/** Results and payloads that cannot pass: each fails its own job, and nothing else. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Client from "../src/Client.ts"
import type { Settlement } from "../src/JobLog.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import { Refused, TransportError } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import { Logs } from "./fixtures/logs.ts"

const broken = (): never => {
  throw new Error("broken transformation")
}

/** Reads and writes like a text, until the text is "broken". */
const Fragile = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transform((text) => text === "broken" ? broken() : text),
  encode: SchemaGetter.transform((text) => text === "unwritable" ? broken() : text)
}))

const Echo = Task.make("Echo", { payload: Fragile, success: Fragile, queue: "q", maxAttempts: 1 })

const worker = Worker.layer({ tasks: [Echo] }).pipe(Layer.provide(Echo.toLayer((text) => Effect.succeed(text))))

describe("a schema whose transformation throws", () => {
  it.effect("makes a payload undecodable, uncounted", () =>
    program(Effect.gen(function*() {
      yield* run(worker)
      const job = yield* Echo.enqueue("broken")
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "JobFailed")
      assert.strictEqual(error.reason, "Undecodable")
      assert.include(error.message, "broken transformation")
      assert.strictEqual(error.attempts, 0)
      assert.strictEqual(yield* (yield* Echo.enqueue("fine")).await, "fine")
    })))

  it.effect("makes a result unencodable", () =>
    program(Effect.gen(function*() {
      const Write = Task.make("Write", { success: Fragile, queue: "q", maxAttempts: 1 })
      const handlers = Write.toLayer(() => Effect.succeed("unwritable"))
      yield* run(Worker.layer({ tasks: [Write] }).pipe(Layer.provide(handlers)))
      const error = yield* Effect.flip((yield* Write.enqueue()).await)
      assert(error._tag === "JobFailed")
      assert.strictEqual(error.reason, "Unencodable")
      assert.include(error.message, "broken transformation")
    })))
})

describe("a result over the limit", () => {
  const Grow = Task.make("Grow", {
    payload: Schema.Int,
    success: Schema.String,
    error: Schema.String,
    queue: "q",
    maxAttempts: 1
  })
  const grow = Worker.layer({ tasks: [Grow] }).pipe(
    Layer.provide(Grow.toLayer((size) => size > 0 ? Effect.succeed("x".repeat(size)) : Effect.fail("x".repeat(-size)))),
    Layer.provide(Layer.succeed(Client.PayloadLimit, 1_000))
  )

  it.effect("fails the job as unencodable and says both sizes", () =>
    program(Effect.gen(function*() {
      yield* run(grow)
      const error = yield* Effect.flip((yield* Grow.enqueue(999)).await)
      assert(typeof error === "object" && error._tag === "JobFailed")
      assert.strictEqual(error.reason, "Unencodable")
      assert.include(error.message, "1001 bytes, the limit is 1000")
      assert.strictEqual((yield* (yield* Grow.enqueue(998)).await).length, 998)
    })))

  it.effect("holds for typed errors, too", () =>
    program(Effect.gen(function*() {
      yield* run(grow)
      const error = yield* Effect.flip((yield* Grow.enqueue(-999)).await)
      assert(typeof error === "object" && error._tag === "JobFailed")
      assert.strictEqual(error.reason, "Unencodable")
      assert.strictEqual(yield* Effect.flip((yield* Grow.enqueue(-998)).await), "x".repeat(998))
    })))
})

describe("a settlement that the broker refuses", () => {
  const refuses = (settlement: Settlement) => settlement.delivery.envelope.id === "bad"

  it.effect("holds up no other settlement of its batch", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const strict: Transport["Service"] = {
        ...transport,
        log: {
          ...transport.log,
          subscribe: (options) =>
            Effect.map(transport.log.subscribe(options), (subscription) => ({
              ...subscription,
              settle: (settlements) =>
                settlements.some(refuses)
                  ? Effect.fail(
                    new TransportError({ reason: new Refused({ operation: "settle", description: "too large" }) })
                  )
                  : subscription.settle(settlements)
            }))
        }
      }
      yield* Effect.provideService(run(worker), Transport, strict)
      const jobs = yield* Echo.enqueueMany(["a", "bad", "b"].map((id) => ({ payload: id, options: { id } })))
      yield* settle
      const states = yield* Effect.forEach(jobs, (job) => Effect.flatMap(Effect.fromResult(job), (one) => one.status))
      assert.deepStrictEqual(states, ["succeeded", "running", "succeeded"])
      const { matching } = yield* Logs
      assert.strictEqual(matching("refused the Ack of job \"bad\" of queue \"q\"").length, 1)
    })))
})
