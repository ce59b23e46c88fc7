import { assert, describe, it } from "@effect/vitest"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../src/Client.ts"
import { EnqueueError } from "../src/EnqueueError.ts"
import type { EnqueueOptions } from "../src/EnqueueOptions.ts"
import * as Priority from "../src/Priority.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import { QueueFull, TransportError } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

class Greet extends Task.make("Greet", {
  payload: { name: Schema.NonEmptyString, times: Schema.Int.pipe(Schema.withConstructorDefault(Effect.succeed(1))) },
  success: Schema.String,
  queue: "greetings"
}) {}

const GreetLive = Greet.toLayer(({ name, times }) => Effect.succeed(`hello ${name}`.repeat(times)))

/** Why an enqueue with these options is refused. */
const refusal = (options: EnqueueOptions) =>
  Effect.map(Effect.flip(Greet.enqueue({ name: "Ada" }, options)), (error) => {
    assert.instanceOf(error, EnqueueError)
    assert.strictEqual(error.task, "Greet")
    assert.strictEqual(error.queue, "greetings")
    return error
  })

const located = (queue: string, id: string) =>
  Effect.flatMap(
    Transport,
    ({ log }) => Effect.map(log.locate(queue, [id]), ([job]) => Option.getOrThrow(job!))
  )

describe("options of a job", () => {
  const bad: ReadonlyArray<readonly [name: string, option: string, options: EnqueueOptions, says: string]> = [
    ["an empty id", "id", { id: "" }, "must be a text that is not empty"],
    ["an id that is no text", "id", { id: 1 as never }, "must be a text that is not empty"],
    ["a long id", "id", { id: "x".repeat(513) }, "has 513 characters, at most 512 are allowed"],
    ["an empty key", "key", { key: "" }, "must be a text that is not empty"],
    ["a long key", "key", { key: "x".repeat(600) }, "has 600 characters, at most 512 are allowed"],
    [
      "an unknown priority",
      "priority",
      { priority: "urgent" },
      "must be one of low, normal, high (Priority.Levels), got \"urgent\""
    ],
    ["a delay that is none", "delay", { delay: "soon" as never }, "must be a finite duration of at least 0, got soon"],
    [
      "an endless delay",
      "delay",
      { delay: Duration.infinity },
      "must be a finite duration of at least 0, got Infinity"
    ],
    [
      "a negative delay",
      "delay",
      { delay: Duration.seconds(-1) },
      "must be a finite duration of at least 0, got -1000 millis"
    ],
    ["delay and at", "at", { delay: 1, at: 1 }, "excludes delay: give one of the two"],
    ["a date that is none", "at", { at: new Date(Number.NaN) }, "must be a valid time, got Invalid Date"],
    ["a time that is none", "at", { at: Number.NaN }, "must be a valid time, got NaN"],
    [
      "an endless expiry",
      "expiresIn",
      { expiresIn: Number.POSITIVE_INFINITY },
      "must be a finite duration of at least 0"
    ],
    ["headers that are no texts", "headers", { headers: { n: 1 as never } }, "must be texts, \"n\" is none"]
  ]
  for (const [name, option, options, says] of bad) {
    it.effect(`${name} is refused`, () =>
      program(Effect.gen(function*() {
        const { message, reason } = yield* refusal(options)
        assert.strictEqual(reason._tag, "InvalidOption")
        assert.strictEqual((reason as { readonly option?: string }).option, option)
        assert.include(message, `Task "Greet" was not enqueued on "greetings": option "${option}" ${says}`)
      })))
  }

  it.effect("nothing is enqueued when an option is refused", () =>
    program(Effect.gen(function*() {
      const { log } = yield* Transport
      yield* refusal({ delay: 1, at: 1 })
      assert.strictEqual((yield* log.stats("greetings")).queued, 0)
    })))

  it.effect("the longest id and key are accepted, whatever their characters", () =>
    program(Effect.gen(function*() {
      const id = "|||\n\0🎉".repeat(100).slice(0, 512)
      const job = yield* Greet.enqueue({ name: "Ada" }, { id, key: id })
      assert.strictEqual(job.id, id)
      assert.strictEqual((yield* job.info).key, id)
    })))

  it.effect("a due time is a date, a DateTime or ms, a delay any duration", () =>
    program(Effect.gen(function*() {
      yield* TestClock.adjust("1 day")
      const now = 86_400_000
      const dueAt = (options: EnqueueOptions) =>
        Effect.flatMap(Greet.enqueue({ name: "Ada" }, options), (job) => Effect.map(job.info, (info) => info.dueAt))
      assert.strictEqual(yield* dueAt({}), now)
      assert.strictEqual(yield* dueAt({ delay: "5 minutes" }), now + 300_000)
      assert.strictEqual(yield* dueAt({ delay: 0.5 }), now + 1)
      assert.strictEqual(yield* dueAt({ at: now + 10 }), now + 10)
      assert.strictEqual(yield* dueAt({ at: new Date(now + 20) }), now + 20)
      assert.strictEqual(yield* dueAt({ at: DateTime.makeUnsafe(now + 30) }), now + 30)
      const past = yield* Greet.enqueue({ name: "Ada" }, { at: 1 })
      assert.strictEqual(yield* past.status, "queued")
    })))

  it.effect("what a call says wins over the task", () =>
    program(Effect.gen(function*() {
      const Urgent = Task.make("Urgent", {
        payload: { account: Schema.String },
        priority: "high",
        key: ({ account }) => account,
        idempotencyKey: ({ account }) => account,
        expiresIn: "1 minute"
      })
      const own = yield* Urgent.enqueue({ account: "a" })
      const { envelope } = yield* located("default", own.id)
      assert.deepStrictEqual([envelope.priority, envelope.key, envelope.expiresAt], ["high", "a", 60_000])
      const other = yield* Urgent.enqueue({ account: "a" }, {
        id: "mine",
        priority: "low",
        key: "b",
        expiresIn: 5,
        headers: { tenant: "t" }
      })
      assert.strictEqual(other.id, "mine")
      const said = yield* located("default", "mine")
      assert.deepStrictEqual([said.envelope.priority, said.envelope.key, said.envelope.expiresAt], ["low", "b", 5])
      assert.deepStrictEqual(said.envelope.headers, { tenant: "t" })
    })))

  it.effect("a task whose priority is no level is refused at enqueue, naming the levels", () =>
    program(Effect.gen(function*() {
      const error = yield* Effect.flip(Task.make("Odd", { priority: "urgent" }).enqueue())
      assert.include(error.message, "must be one of low, normal, high (Priority.Levels), got \"urgent\"")
    })))

  it.effect("with levels of its own, a deployment's default is normal, or the one in the middle", () =>
    program(Effect.gen(function*() {
      const priority = (levels: readonly [string, ...Array<string>]) =>
        Effect.gen(function*() {
          const job = yield* Greet.enqueue({ name: "Ada" })
          return (yield* job.info).priority
        }).pipe(Effect.provide(Client.layer, { local: true }), Effect.provideService(Priority.Levels, levels))
      assert.strictEqual(yield* priority(["a", "normal", "b", "c"]), "normal")
      assert.strictEqual(yield* priority(["bulk", "fast", "now"]), "fast")
      assert.strictEqual(yield* priority(["bulk", "now"]), "bulk")
      assert.strictEqual(yield* priority(["only"]), "only")
    })))
})

describe("payload", () => {
  it.effect("must fit the schema; constructor defaults are filled in", () =>
    program(Effect.gen(function*() {
      yield* run(Worker.layer({ tasks: [Greet] }).pipe(Layer.provide(GreetLive)))
      const job = yield* Greet.enqueue({ name: "Ada" })
      assert.strictEqual(yield* job.await, "hello Ada")
      for (const payload of [{ name: "" }, { name: 1 }, {}, undefined, { name: "Ada", times: 1.5 }]) {
        const error = yield* Effect.flip(Greet.enqueue(payload as never))
        assert.strictEqual(error._tag === "EnqueueError" && error.reason._tag, "InvalidPayload")
        assert.include(error.message, "the payload does not fit the schema of the task: ")
      }
    })))

  it.effect("is limited to 1 MiB, encoded", () =>
    program(Effect.gen(function*() {
      const Text = Task.make("Text", { payload: Schema.String })
      const quotes = 2
      yield* Text.enqueue("x".repeat(1024 * 1024 - quotes))
      const error = yield* Effect.flip(Text.enqueue("x".repeat(1024 * 1024 - quotes + 1)))
      assert(error._tag === "EnqueueError" && error.reason._tag === "PayloadTooLarge")
      assert.strictEqual(error.reason.bytes, 1024 * 1024 + 1)
      assert.strictEqual(error.reason.limit, 1024 * 1024)
      assert.include(error.message, "has 1048577 bytes, the limit is 1048576: send a reference to the data")
    })))

  it.effect("the limit is a setting, and the broker's own limit holds besides", () =>
    program(Effect.gen(function*() {
      const Text = Task.make("Text", { payload: Schema.String })
      const limitOf = (text: string) =>
        Effect.match(Text.enqueue(text), {
          onSuccess: () => undefined,
          onFailure: (error) =>
            error._tag === "EnqueueError" && error.reason._tag === "PayloadTooLarge" ? error.reason.limit : 0
        }).pipe(Effect.provide(Client.layer, { local: true }))
      assert.strictEqual(yield* Effect.provideService(limitOf("12345678"), Client.PayloadLimit, 9), 9)
      const transport = yield* Transport
      const small = { ...transport, capabilities: { ...transport.capabilities, maxMessageBytes: 5 } }
      assert.strictEqual(yield* Effect.provideService(limitOf("12345678"), Transport, small), 5)
    })))
})

describe("idempotency keys", () => {
  const Charge = Task.make("Charge", {
    payload: { account: Schema.String, amount: Schema.Number },
    idempotencyKey: ({ account }) => account
  })
  const Refund = Task.make("Refund", {
    payload: { account: Schema.String },
    idempotencyKey: ({ account }) => account
  })

  it.effect("the same key of a task is the same job, of another task another", () =>
    program(Effect.gen(function*() {
      const one = yield* Charge.enqueue({ account: "a", amount: 1 })
      const two = yield* Charge.enqueue({ account: "a", amount: 2 })
      const other = yield* Charge.enqueue({ account: "b", amount: 1 })
      const refund = yield* Refund.enqueue({ account: "a" })
      assert.strictEqual(one.id, two.id)
      assert.deepStrictEqual([one.duplicate, two.duplicate], [false, true])
      assert.notStrictEqual(one.id, other.id)
      assert.notStrictEqual(one.id, refund.id)
      assert.isFalse(refund.duplicate)
    })))

  it.effect("tag and key do not run into each other", () =>
    program(Effect.gen(function*() {
      const key = { payload: Schema.String, idempotencyKey: (text: string) => text }
      const one = yield* Task.make("A", key).enqueue("BC")
      const two = yield* Task.make("AB", key).enqueue("C")
      assert.notStrictEqual(one.id, two.id)
    })))

  it.effect("jobs without one never share an id", () =>
    program(Effect.gen(function*() {
      const ids = new Set<string>()
      for (let i = 0; i < 100; i++) ids.add((yield* Greet.enqueue({ name: "Ada" })).id)
      assert.strictEqual(ids.size, 100)
    })))
})

describe("enqueueMany", () => {
  it.effect("is one call of the transport with an outcome per item", () =>
    program(Effect.gen(function*() {
      const spy = Spy.make(yield* Transport)
      const outcomes = yield* Greet.enqueueMany([
        { payload: { name: "Ada" }, options: { id: "1" } },
        { payload: { name: "" } },
        { payload: { name: "Bob" }, options: { priority: "urgent" } },
        { payload: { name: "Eve" }, options: { id: "1" } },
        { payload: { name: "Joe" }, options: { id: "2", delay: "1 second" } }
      ]).pipe(Effect.provide(Client.layer, { local: true }), Effect.provideService(Transport, spy.transport))
      assert.deepStrictEqual(
        outcomes.map((one) =>
          Result.isSuccess(one)
            ? one.success.duplicate ? "duplicate" : one.success.id
            : one.failure._tag === "EnqueueError"
            ? one.failure.reason._tag
            : one.failure._tag
        ),
        ["1", "InvalidPayload", "InvalidOption", "duplicate", "2"]
      )
      assert.strictEqual(spy.of("log.send").length, 1)
      assert.strictEqual((spy.of("log.send")[0]!.args[0] as ReadonlyArray<unknown>).length, 3)
    })))

  it.effect("asks the transport nothing when there is nothing to send", () =>
    program(Effect.gen(function*() {
      const spy = Spy.make(yield* Transport)
      const enqueue = (names: ReadonlyArray<string>) =>
        Greet.enqueueMany(names.map((name) => ({ payload: { name } }))).pipe(
          Effect.provide(Client.layer, { local: true }),
          Effect.provideService(Transport, spy.transport)
        )
      assert.deepStrictEqual(yield* enqueue([]), [])
      assert.deepStrictEqual((yield* enqueue(["", ""])).map(Result.isFailure), [true, true])
      assert.strictEqual(spy.of("log.send").length, 0)
    })))

  it.effect("an item that the broker refuses fails alone", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const full = new TransportError({ reason: new QueueFull({ queue: "greetings", description: "no room" }) })
      const half: Transport["Service"] = {
        ...transport,
        log: {
          ...transport.log,
          send: (envelopes) => Effect.succeed(envelopes.map((_, index) => index === 1 ? full : "sent" as const))
        }
      }
      const outcomes = yield* Greet.enqueueMany(["Ada", "Bob", "Eve"].map((name) => ({ payload: { name } }))).pipe(
        Effect.provide(Client.layer, { local: true }),
        Effect.provideService(Transport, half)
      )
      assert.deepStrictEqual(outcomes.map(Result.isSuccess), [true, false, true])
      assert.strictEqual(Result.isFailure(outcomes[1]!) && outcomes[1].failure, full)
    })))
})

describe("enqueueByName", () => {
  it.effect("needs no definition: the payload is what the schema encodes to", () =>
    program(Effect.gen(function*() {
      const client = yield* Client.Client
      yield* run(Worker.layer({ tasks: [Greet] }).pipe(Layer.provide(GreetLive)))
      const job = yield* client.enqueueByName("Greet", { name: "Ada", times: 2 }, { queue: "greetings", id: "1" })
      const record = yield* job.awaitRecord
      assert.strictEqual(record.state, "succeeded")
      assert.strictEqual(new TextDecoder().decode(record.value), "\"hello Adahello Ada\"")
      assert.isTrue((yield* client.enqueueByName("Greet", {}, { queue: "greetings", id: "1" })).duplicate)
    })))

  it.effect("refuses what is no JSON, bad names and bad attempts", () =>
    program(Effect.gen(function*() {
      const client = yield* Client.Client
      const reason = (
        task: string,
        payload: unknown,
        options: { readonly queue: string; readonly maxAttempts?: number }
      ) =>
        Effect.map(
          Effect.flip(client.enqueueByName(task, payload as Schema.Json, options)),
          (error) => error._tag === "EnqueueError" ? error.reason.message : error._tag
        )
      const queue = "greetings"
      assert.include(yield* reason("Greet", { at: new Date(0) }, { queue }), "the payload does not fit the schema")
      assert.include(yield* reason("", {}, { queue }), "option \"task\" must be a text that is not empty")
      assert.include(yield* reason("Greet", {}, { queue: "" }), "option \"queue\" must be a text that is not empty")
      for (const maxAttempts of [0, 1.5, Number.NaN]) {
        const message = `option "maxAttempts" must be a whole number of at least 1, got ${maxAttempts}`
        assert.strictEqual(yield* reason("Greet", {}, { queue, maxAttempts }), message)
      }
    })))

  it.effect("the attempts that the producer allows count", () =>
    program(Effect.gen(function*() {
      const client = yield* Client.Client
      const Failing = Task.make("Failing", { maxAttempts: 10 })
      yield* run(
        Worker.layer({ tasks: [Failing] }).pipe(
          Layer.provide(Failing.toLayer((_, { maxAttempts }) => Effect.die(`one of ${maxAttempts}`)))
        )
      )
      const job = yield* client.enqueueByName("Failing", null, { queue: "default", maxAttempts: 1 })
      const record = yield* job.awaitRecord
      assert.deepStrictEqual([record.attempts, record.message], [1, "one of 1"])
    })))
})

it.effect("an idle client asks the broker nothing", () =>
  program(Effect.gen(function*() {
    const spy = Spy.make(yield* Transport)
    yield* Effect.gen(function*() {
      yield* Greet.enqueue({ name: "Ada" })
      spy.forget()
      yield* TestClock.adjust("10 minutes")
      yield* settle
      assert.deepStrictEqual(spy.calls, [])
    }).pipe(Effect.provide(Client.layer, { local: true }), Effect.provideService(Transport, spy.transport))
  })))
