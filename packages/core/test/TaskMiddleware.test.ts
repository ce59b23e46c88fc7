/** Middlewares around handlers: what they see, provide and refuse. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as DeadLetter from "../src/DeadLetter.ts"
import * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import * as TaskMiddleware from "../src/TaskMiddleware.ts"
import * as Worker from "../src/Worker.ts"
import { program, run } from "./fixtures/kit.ts"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("test/Tenant") {}
class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", { tenant: Schema.String }) {}
class Broken extends Schema.TaggedError<Broken>()("Broken", { why: Schema.String }) {}

class WithTenant extends TaskMiddleware.Service<WithTenant, { provides: Tenant }>()("test/WithTenant") {}
class Guard extends TaskMiddleware.Service<Guard, { requires: Tenant }>()("test/Guard", { error: Unauthorized }) {}
class Around extends TaskMiddleware.Service<Around>()("test/Around") {}

const WithTenantLive = Layer.succeed(
  WithTenant,
  (handler, { execution }) => Effect.provideService(handler, Tenant, { id: execution.headers["tenant"] ?? "nobody" })
)

const GuardLive = Layer.succeed(
  Guard,
  Effect.fnUntraced(function*(handler) {
    const { id } = yield* Tenant
    if (id === "nobody") return yield* new Unauthorized({ tenant: id })
    return yield* handler
  })
)

const Invoice = Task.make("Invoice", {
  payload: { cents: Schema.Number },
  success: Schema.String,
  error: Broken,
  maxAttempts: 1
}).middleware(Guard).middleware(WithTenant)

const InvoiceLive = Invoice.toLayer(({ cents }) => Tenant.useSync(({ id }) => `${id} ${cents}`)).pipe(
  Layer.provide([GuardLive, WithTenantLive])
)

describe("a middleware", () => {
  it.effect("provides services to the handler and to the middlewares within", () =>
    program(Effect.gen(function*() {
      yield* run(Worker.layer({ tasks: [Invoice] }).pipe(Layer.provide(InvoiceLive)))
      const job = yield* Invoice.enqueue({ cents: 5 }, { headers: { tenant: "acme" } })
      assert.strictEqual(yield* job.await, "acme 5")
    })))

  it.effect("refuses with an error of its own, which producers get typed", () =>
    program(Effect.gen(function*() {
      let calls = 0
      const counting = Invoice.toLayer(() => (calls++, Effect.succeed(""))).pipe(
        Layer.provide([GuardLive, WithTenantLive])
      )
      yield* run(Worker.layer({ tasks: [Invoice] }).pipe(Layer.provide(counting)))
      const job = yield* Invoice.enqueue({ cents: 5 })
      assert.deepStrictEqual(yield* Effect.flip(job.await), new Unauthorized({ tenant: "nobody" }))
      assert.strictEqual(calls, 0, "the handler was not called")
    })))

  it.effect("lets the handler's own errors through", () =>
    program(Effect.gen(function*() {
      const failing = Invoice.toLayer(() => Effect.fail(new Broken({ why: "paper" }))).pipe(
        Layer.provide([GuardLive, WithTenantLive])
      )
      yield* run(Worker.layer({ tasks: [Invoice] }).pipe(Layer.provide(failing)))
      const job = yield* Invoice.enqueue({ cents: 5 }, { headers: { tenant: "acme" } })
      assert.deepStrictEqual(yield* Effect.flip(job.await), new Broken({ why: "paper" }))
    })))

  it.effect("stands around every attempt, the last one attached outermost, within the scope of the attempt", () =>
    program(Effect.gen(function*() {
      class Inner extends TaskMiddleware.Service<Inner>()("test/Inner") {}
      class Outer extends TaskMiddleware.Service<Outer>()("test/Outer") {}
      const trace: Array<string> = []
      const tracing = (name: string): TaskMiddleware.TaskMiddleware<never, never, never> => (handler, attempt) =>
        Effect.gen(function*() {
          yield* Effect.acquireRelease(
            Effect.sync(() => trace.push(`${name} ${attempt.execution.attempt} ${JSON.stringify(attempt.payload)}`)),
            () => Effect.sync(() => trace.push(`${name} released`))
          )
          return yield* handler
        })
      const Twice = Task.make("Twice", { payload: Schema.Date, maxAttempts: 2, retry: Task.defaultRetry })
        .middleware(Inner).middleware(Outer)
      const live = Twice.toLayer((_, { attempt }) =>
        Effect.suspend(() => {
          trace.push(`handler ${attempt}`)
          return attempt === 1 ? Effect.die("first") : Effect.void
        })
      ).pipe(Layer.provide([Layer.succeed(Inner, tracing("inner")), Layer.succeed(Outer, tracing("outer"))]))
      yield* run(Worker.layer({ tasks: [Twice] }).pipe(Layer.provide(live)))
      const job = yield* Twice.enqueue(new Date(0))
      const fiber = yield* Effect.forkChild(job.await)
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      const payload = JSON.stringify(new Date(0))
      assert.deepStrictEqual(
        trace,
        [1, 2].flatMap((attempt) => [
          `outer ${attempt} ${payload}`,
          `inner ${attempt} ${payload}`,
          `handler ${attempt}`,
          "inner released",
          "outer released"
        ])
      )
    })))

  it.effect("snoozes and discards like a handler", () =>
    program(Effect.gen(function*() {
      const Timed = Task.make("Timed", { queue: "timed", payload: Schema.Boolean, success: Schema.Number })
        .middleware(Around)
      const live = Timed.toLayer((_, { attempt }) => Effect.succeed(attempt)).pipe(
        Layer.provide(Layer.effect(
          Around,
          Effect.sync(() => {
            let seen = 0
            return (handler, { payload }) =>
              payload === true
                ? Effect.fail(new Task.Discard({ reason: "not wanted" }))
                : seen++ === 0
                ? Effect.fail(Task.Snooze.make({ delay: Schema.decodeSync(Schema.DurationFromMillis)(60_000) }))
                : handler
          })
        ))
      )
      yield* run(Worker.layer({ tasks: [Timed] }).pipe(Layer.provide(live)))
      const snoozed = yield* Timed.enqueue(false)
      const fiber = yield* Effect.forkChild(snoozed.await)
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(fiber), 1)

      const discarded = yield* Timed.enqueue(true)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(discarded.await)))
      const { items } = yield* DeadLetter.list("timed")
      assert.deepStrictEqual(items.map(({ id }) => id), [discarded.id])
    })))

  it.effect("is interrupted with its handler, and counts towards the timeout", () =>
    program(Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const Slow = Task.make("Slow", { timeout: "5 seconds", maxAttempts: 1 }).middleware(Around)
      const live = Slow.toLayer(() => Effect.void).pipe(Layer.provide(
        Layer.succeed(
          Around,
          (handler) =>
            Effect.andThen(
              Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
              handler
            )
        )
      ))
      yield* run(Worker.layer({ tasks: [Slow] }).pipe(Layer.provide(live)))
      const job = yield* Slow.enqueue()
      const fiber = yield* Effect.forkChild(Effect.flip(job.await))
      yield* TestClock.adjust("6 seconds")
      yield* Deferred.await(interrupted)
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "JobFailed")
    })))

  it.effect("a middleware that throws fails its attempt, as a handler does", () =>
    program(Effect.gen(function*() {
      const Thrown = Task.make("Thrown", { maxAttempts: 1 }).middleware(Around)
      const live = Thrown.toLayer(() => Effect.void).pipe(Layer.provide(
        Layer.succeed(Around, () => {
          throw new Error("no luck")
        })
      ))
      yield* run(Worker.layer({ tasks: [Thrown] }).pipe(Layer.provide(live)))
      const error = yield* Effect.flip((yield* Thrown.enqueue()).await)
      assert.strictEqual(error._tag, "JobFailed")
      assert.include(error.message, "no luck")
    })))
})

describe("a task with a middleware", () => {
  it.effect("is implemented beside others in a group, as a class, too", () =>
    program(Effect.gen(function*() {
      class Named extends Task.make("Named", { success: Schema.String }).middleware(WithTenant) {}
      const Other = Task.make("Other", { success: Schema.String })
      const group = TaskGroup.make(Named, Other)
      const live = group.toLayer({
        Named: () => Tenant.useSync(({ id }) => id),
        Other: () => Effect.succeed("other")
      }).pipe(Layer.provide(WithTenantLive))
      yield* run(Worker.layer({ tasks: group.tasks }).pipe(Layer.provide(live)))
      const named = yield* Named.enqueue(undefined, { headers: { tenant: "acme" } })
      assert.strictEqual(yield* named.await, "acme")
      assert.strictEqual(yield* (yield* Other.enqueue()).await, "other")
    })))

  it("leaves the task that it was made of as it was", () => {
    const Bare = Task.make("Bare", { key: () => "k", error: Broken })
    const Wrapped = Bare.middleware(Guard)
    assert.deepStrictEqual(Bare.middlewares, [])
    assert.strictEqual(Bare.errorSchema, Broken)
    assert.strictEqual(Wrapped._tag, "Bare")
    assert.strictEqual(Wrapped.queue, Bare.queue)
    assert.strictEqual(Wrapped.policy, Bare.policy)
    assert.strictEqual(Bare.middleware(WithTenant).errorSchema, Broken)
  })
})
