import { describe, expect, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../src/Actor.ts"
import * as Client from "../src/Client.ts"
import * as Codec from "../src/Codec.ts"
import * as DeadLetter from "../src/DeadLetter.ts"
import { AwaitTimeout, JobFailed } from "../src/JobError.ts"
import * as JobRecord from "../src/JobRecord.ts"
import * as Signing from "../src/Signing.ts"
import type { Collection } from "../src/Store.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import { Logs } from "./fixtures/logs.ts"

class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  balance: Schema.Number
}) {}

const Account = Actor.make("Account", {
  state: Schema.Struct({ balance: Schema.Number }),
  initialState: () => ({ balance: 0 }),
  messages: [
    Task.make("Deposit", { payload: { amount: Schema.Number } }),
    Task.make("Withdraw", { payload: { amount: Schema.Number }, success: Schema.Number, error: InsufficientFunds })
  ]
})

const handlers = Account.of({
  Deposit: ({ amount }, state) => state.update(({ balance }) => ({ balance: balance + amount })),
  Withdraw: Effect.fnUntraced(function*({ amount }, state) {
    const { balance } = yield* state.get
    if (balance < amount) return yield* new InsufficientFunds({ balance })
    yield* state.set({ balance: balance - amount })
    return balance - amount
  })
})

const AccountLive = Account.toLayer(handlers)

const serve = (layer: typeof AccountLive = AccountLive) =>
  run(Worker.layer({ tasks: Account.tasks }).pipe(Layer.provide(layer)))

const states = (actor: { readonly name: string; readonly queue: string }): Collection => ({
  name: `actor/${actor.name}`,
  queue: actor.queue,
  listable: true
})

/** Lets time go on while the effect runs. */
const whileTimePasses = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    for (let i = 0; i < 200 && fiber.pollUnsafe() === undefined; i++) {
      yield* settle
      yield* TestClock.adjust("500 millis")
    }
    return yield* Fiber.join(fiber)
  })

const key = { id: "k1", secret: Redacted.make(Uint8Array.from({ length: 32 }, (_, i) => (i * 89 + 41) % 256)) }

describe("Actor", () => {
  it.effect("answers, and keeps its state", () =>
    program(Effect.gen(function*() {
      yield* serve()
      const account = yield* Account.client
      yield* account("alice").Deposit({ amount: 10 })
      expect(yield* account("alice").Withdraw({ amount: 3 })).toBe(7)
      expect(yield* Effect.flip(account("alice").Withdraw({ amount: 30 }))).toEqual(
        new InsufficientFunds({ balance: 7 })
      )
      expect(yield* Account.state("alice")).toMatchObject(
        Option.some({ key: "alice", applied: 2, state: { balance: 7 }, stopped: Option.none() })
      )
      expect(yield* Account.state("bob")).toEqual(Option.none())
    })))

  it.effect("an ask that is not answered in time says so, and the message is delivered all the same", () =>
    program(Effect.gen(function*() {
      const account = yield* Account.client
      const asking = yield* Effect.forkChild(
        Effect.flip(account("alice").Deposit({ amount: 10 }, { timeout: "2 seconds", id: "d1" }))
      )
      yield* settle
      yield* TestClock.adjust("2 seconds")
      expect(yield* Fiber.join(asking)).toBeInstanceOf(AwaitTimeout)
      yield* serve()
      yield* account("alice").Deposit({ amount: 10 }, { id: "d1" })
      expect(yield* account("alice").Withdraw({ amount: 10 })).toBe(0)
    })))

  it.effect("an idempotency key counts per key of the actor", () =>
    program(Effect.gen(function*() {
      const Once = Actor.make("Once", {
        state: Schema.Number,
        initialState: () => 0,
        messages: [
          Task.make("Add", {
            payload: { tag: Schema.String },
            success: Schema.Number,
            idempotencyKey: ({ tag }) => tag
          })
        ]
      })
      yield* run(
        Worker.layer({ tasks: Once.tasks }).pipe(
          Layer.provide(Once.toLayer({
            Add: (_, state) => Effect.andThen(state.update((n) => n + 1), state.get)
          }))
        )
      )
      const once = yield* Once.client
      const answers = yield* Effect.forEach(["a", "a", "b"], (key) => once(key).Add({ tag: "x" }))
      expect(answers).toEqual([1, 1, 1])
      expect(yield* once("a").Add({ tag: "y" })).toBe(2)
    })))

  it.effect("a key leaves memory after maxIdleTime, with what it acquired, and keeps its state", () =>
    program(Effect.gen(function*() {
      const log: Array<string> = []
      yield* serve(Account.toLayerPerKey((key) =>
        Effect.as(
          Effect.acquireRelease(
            Effect.sync(() => log.push(`acquire ${key}`)),
            () => Effect.sync(() => log.push(`release ${key}`))
          ),
          handlers
        ), { maxIdleTime: "10 seconds" }))
      const account = yield* Account.client
      yield* account("alice").Deposit({ amount: 1 })
      yield* TestClock.adjust("8 seconds")
      yield* account("alice").Deposit({ amount: 1 })
      yield* account("bob").Deposit({ amount: 1 })
      yield* TestClock.adjust("8 seconds")
      yield* account("bob").Deposit({ amount: 1 })
      expect(log).toEqual(["acquire alice", "acquire bob"])
      yield* TestClock.adjust("5 seconds")
      expect(log).toEqual(["acquire alice", "acquire bob", "release alice"])
      expect(yield* account("alice").Withdraw({ amount: 2 })).toBe(0)
      expect(log.slice(3)).toEqual(["acquire alice"])
    })))

  it.effect("what keys acquired is released when the worker ends, and beyond maxActive", () =>
    program(Effect.gen(function*() {
      const held = new Set<string>()
      const worker = yield* serve(Account.toLayerPerKey((key) =>
        Effect.as(
          Effect.acquireRelease(Effect.sync(() => held.add(key)), () => Effect.sync(() => held.delete(key))),
          handlers
        ), { maxActive: 2 }))
      const account = yield* Account.client
      for (const key of ["a", "b", "a", "c", "a", "d"]) {
        yield* account(key).Deposit({ amount: 1 })
        yield* settle
      }
      expect(held.size).toBe(2)
      expect([...held].sort()).toEqual(["a", "d"])
      yield* worker.stop
      expect(held.size).toBe(0)
    })))

  it.effect("a message that takes longer than its timeout restarts the actor and is tried again", () =>
    program(Effect.gen(function*() {
      const Slow = Actor.make("Slow", {
        state: Schema.Number,
        initialState: () => 0,
        messages: [Task.make("Run", { success: Schema.Number, timeout: "5 seconds", maxAttempts: 2 })]
      })
      let runs = 0
      yield* run(
        Worker.layer({ tasks: Slow.tasks }).pipe(
          Layer.provide(Slow.toLayer({
            Run: (_, state) => Effect.andThen(state.set(++runs), runs === 2 ? Effect.succeed(runs) : Effect.never)
          }))
        )
      )
      const slow = yield* Slow.client
      expect(yield* whileTimePasses(slow("a").Run())).toBe(2)
      const error = yield* whileTimePasses(Effect.flip(slow("a").Run(undefined, { timeout: "1 minute" })))
      expect(error).toMatchObject({ _tag: "JobFailed", reason: "TimedOut" })
      expect(Option.getOrThrow(yield* Slow.state("a")).state).toBe(2)
    })))

  it.effect("a defect that interrupts itself is supervised like any other", () =>
    program(Effect.gen(function*() {
      let runs = 0
      yield* serve(Account.toLayer({
        ...handlers,
        Deposit: () => ++runs === 1 ? Effect.interrupt : Effect.void
      }))
      const account = yield* Account.client
      yield* whileTimePasses(account("alice").Deposit({ amount: 1 }))
      expect(runs).toBe(2)
      expect((yield* Logs).matching("restarted", "alice").length).toBe(1)
    })))

  it.effect("a payload that does not fit goes to the dead letters, and the mailbox goes on", () =>
    program(Effect.gen(function*() {
      yield* serve()
      const Strange = Actor.make("Account", {
        state: Schema.Number,
        initialState: () => 0,
        messages: [Task.make("Deposit", { payload: { amount: Schema.String } })]
      })
      const strange = yield* Strange.client
      const error = yield* Effect.flip(strange("alice").Deposit({ amount: "much" }))
      expect(error).toBeInstanceOf(JobFailed)
      expect(error).toMatchObject({ reason: "Undecodable" })
      const account = yield* Account.client
      yield* account("alice").Deposit({ amount: 1 })
      expect((yield* DeadLetter.list("Account")).items.length).toBe(1)
    })))

  it.effect("a state that is too large or does not fit is not written", () =>
    program(Effect.gen(function*() {
      const Text = Actor.make("Text", {
        state: Schema.String.check(Schema.isMaxLength(3_000_000)),
        initialState: () => "",
        messages: [Task.make("Set", { payload: { length: Schema.Number } })]
      })
      yield* run(
        Worker.layer({ tasks: Text.tasks }).pipe(
          Layer.provide(Text.toLayer({ Set: ({ length }, state) => state.set("x".repeat(length)) }))
        )
      )
      const text = yield* Text.client
      yield* text("a").Set({ length: 10 })
      for (const length of [2_000_000, 4_000_000]) {
        const error = yield* Effect.flip(text("a").Set({ length }))
        expect(error).toMatchObject({ _tag: "JobFailed", reason: "Unencodable" })
        expect(error.message).toContain("the new state")
      }
      expect(Option.getOrThrow(yield* Text.state("a")).state.length).toBe(10)
    })))

  it.effect("a state that this worker cannot read waits for one that can", () =>
    program(Effect.gen(function*() {
      const Newer = Actor.make("Account", {
        state: Schema.Struct({ cents: Schema.Number }),
        initialState: () => ({ cents: 0 }),
        messages: [Task.make("Deposit", { payload: { amount: Schema.Number } })]
      })
      const newer = Worker.layer({ tasks: Newer.tasks }).pipe(
        Layer.provide(Newer.toLayer({
          Deposit: ({ amount }, state) => state.update(({ cents }) => ({ cents: cents + 100 * amount }))
        }))
      )
      const first = yield* run(newer)
      const account = yield* Account.client
      yield* account("alice").Deposit({ amount: 1 })
      yield* first.stop
      const old = yield* serve()
      const asking = yield* Effect.forkChild(account("alice").Deposit({ amount: 2 }, { timeout: "1 minute" }))
      yield* settle
      yield* TestClock.adjust("12 seconds")
      expect(asking.pollUnsafe()).toBe(undefined)
      expect((yield* Logs).matching("Cannot run", "alice", "balance").length).toBeGreaterThan(1)
      expect(Exit.isFailure(yield* Effect.exit(Account.state("alice")))).toBe(true)
      yield* old.stop
      yield* run(newer)
      yield* whileTimePasses(Fiber.join(asking))
      expect(Option.getOrThrow(yield* Newer.state("alice")).state).toEqual({ cents: 300 })
    })))

  it.effect("with signing on, a state that somebody else wrote is not decoded", () =>
    program(
      Effect.gen(function*() {
        yield* serve()
        const { store } = yield* Transport
        const account = yield* Account.client
        yield* account("alice").Deposit({ amount: 1 })
        yield* account("mallory").Deposit({ amount: 1_000 })
        const [rich] = yield* store.get(states(Account), ["mallory"])
        const stolen = Option.getOrThrow(rich!).value
        yield* store.put(states(Account), "alice", stolen)
        expect(yield* Effect.flip(Account.state("alice"))).toBeInstanceOf(Actor.StateUnreadable)
        // still a state, of another balance
        const text = Buffer.from(stolen).toString("latin1")
        expect(text).toContain(":1000}")
        const tampered = Buffer.from(text.replace(":1000}", ":9000}"), "latin1")
        yield* store.put(states(Account), "mallory", tampered)
        expect(yield* Effect.flip(Account.state("mallory"))).toBeInstanceOf(Actor.StateUnreadable)
        expect(yield* Account.reset("mallory")).toBe(true)
        yield* account("mallory").Deposit({ amount: 5 })
        expect(Option.getOrThrow(yield* Account.state("mallory")).state).toEqual({ balance: 5 })
      }).pipe(Effect.provide(Layer.provideMerge(Client.layer, Signing.layerHmac({ keys: [key] })), { local: true }))
    ))

  it.effect("with signing on, a state without a signature is neither decoded nor applied to, and its messages wait", () =>
    program(
      Effect.gen(function*() {
        yield* serve()
        const { store } = yield* Transport
        const account = yield* Account.client
        yield* account("alice").Deposit({ amount: 1 })
        const [row] = yield* store.get(states(Account), ["alice"])
        // what a worker without keys would have written, and read
        const unsigned = JobRecord.fromBytes(Option.getOrThrow(row!).value).value
        expect(Buffer.from(unsigned).toString("latin1")).toContain(":1}")
        yield* store.put(states(Account), "alice", unsigned)
        expect(yield* Effect.flip(Account.state("alice"))).toBeInstanceOf(Actor.StateUnreadable)
        const asking = yield* Effect.forkChild(account("alice").Deposit({ amount: 1 }))
        yield* TestClock.adjust("12 seconds")
        yield* settle
        expect(asking.pollUnsafe()).toBe(undefined)
        const [after] = yield* store.get(states(Account), ["alice"])
        expect(Option.getOrThrow(after!).value).toEqual(unsigned)
        // an operator decides
        expect(yield* Account.reset("alice")).toBe(true)
        yield* whileTimePasses(Fiber.join(asking))
        expect(Option.getOrThrow(yield* Account.state("alice")).state).toEqual({ balance: 1 })
      }).pipe(Effect.provide(Layer.provideMerge(Client.layer, Signing.layerHmac({ keys: [key] })), { local: true }))
    ))

  it.effect("the same id is another message once its record is gone", () =>
    program(Effect.gen(function*() {
      const Counter = Actor.make("Counter", {
        state: Schema.Number,
        initialState: () => 0,
        messages: [Task.make("Add", { success: Schema.Number, resultTimeToLive: 0 })]
      })
      yield* run(
        Worker.layer({ tasks: Counter.tasks }).pipe(
          Layer.provide(Counter.toLayer({
            Add: (_, state) => Effect.andThen(state.update((n) => n + 1), state.get)
          }))
        )
      )
      const counter = yield* Counter.client
      expect(yield* counter("a").Add(undefined, { id: "m" })).toBe(1)
      yield* TestClock.adjust("3 minutes")
      expect(yield* counter("a").Add(undefined, { id: "m" })).toBe(2)
    })))

  it.effect("a job that was not sent to a key of the actor is discarded", () =>
    program(Effect.gen(function*() {
      yield* serve()
      const [deposit] = Account.tasks
      for (const key of [undefined, "alice", "Other/alice"]) {
        const job = yield* deposit.enqueue({ amount: 1 }, { key })
        expect(yield* Effect.flip(job.await)).toMatchObject({ reason: "Discarded" })
      }
    })))

  it.effect("what one codec wrote, another reads: state and outcome", () =>
    program(Effect.gen(function*() {
      const withBinary = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provide(effect, Codec.layer(Codec.binary))
      const first = yield* withBinary(serve())
      const account = yield* withBinary(Account.client)
      yield* withBinary(account("alice").Deposit({ amount: 10 }))
      yield* first.stop
      yield* serve()
      expect(yield* account("alice").Withdraw({ amount: 4 })).toBe(6)
    })))

  it("a definition that cannot work throws", () => {
    const define = (name: string, ...messages: [Task.Any, ...Array<Task.Any>]) => () =>
      Actor.make(name, { state: Schema.Number, initialState: () => 0, messages })
    const plain = Task.make("Plain")
    expect(define("a/b", plain)).toThrow(Actor.InvalidActor)
    expect(define("", plain)).toThrow("name")
    expect(define("a", plain, Task.make("Plain"))).toThrow("two messages have the tag \"Plain\"")
    expect(define("a", Task.make("Queued", { queue: "mail" }))).toThrow("Queued")
    expect(define("a", Task.make("Urgent", { priority: "high" }))).toThrow("Urgent")
    expect(define("a", Task.make("Keyed", { key: () => "k" }))).toThrow("Keyed")
    expect(define("a", plain)).not.toThrow()
  })

  it.effect("an intensity that cannot work is a defect of the layer", () =>
    program(Effect.gen(function*() {
      const layer = Account.toLayer(handlers, { supervision: { intensity: { restarts: -1, within: "1 minute" } } })
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      expect(Exit.isFailure(exit) && Cause.pretty(exit.cause)).toContain("an intensity is a whole number")
    })))
})
