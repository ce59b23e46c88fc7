import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { program, run } from "./fixtures/kit.ts"

const messageOf = (make: () => unknown): string => {
  try {
    make()
    return "nothing was thrown"
  } catch (error) {
    assert.instanceOf(error, Task.InvalidTask)
    return (error as Error).message
  }
}

describe("make", () => {
  it("applies the defaults", () => {
    const task = Task.make("Plain")
    assert.strictEqual(task._tag, "Plain")
    assert.strictEqual(task.queue, "default")
    assert.deepStrictEqual({ ...task.policy, retry: undefined }, {
      priority: undefined,
      maxAttempts: 3,
      retry: undefined,
      timeout: undefined,
      expiresIn: undefined,
      resultTimeToLive: 3_600_000,
      deadLetterTimeToLive: 14 * 86_400_000,
      trace: undefined
    })
    assert.strictEqual(task.policy.retry, Task.defaultRetry)
  })

  it("takes durations in every form, in whole ms", () => {
    const { policy } = Task.make("Durations", {
      timeout: "30 seconds",
      expiresIn: Duration.hours(1),
      resultTimeToLive: 0,
      deadLetterTimeToLive: 0.5
    })
    assert.strictEqual(policy.timeout, 30_000)
    assert.strictEqual(policy.expiresIn, 3_600_000)
    assert.strictEqual(policy.resultTimeToLive, 0)
    assert.strictEqual(policy.deadLetterTimeToLive, 1)
  })

  it("refuses what cannot work, and says which task and why", () => {
    assert.strictEqual(messageOf(() => Task.make("")), "Task.make(\"\"): the tag must not be empty.")
    assert.strictEqual(messageOf(() => Task.make("A", { queue: "" })), "Task.make(\"A\"): queue must not be empty.")
    for (const maxAttempts of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      assert.strictEqual(
        messageOf(() => Task.make("A", { maxAttempts })),
        `Task.make("A"): maxAttempts must be a whole number of at least 1, got ${maxAttempts}.`
      )
    }
    assert.strictEqual(
      messageOf(() => Task.make("A", { timeout: "soon" as never })),
      "Task.make(\"A\"): timeout must be a finite duration of at least 1 ms, got soon."
    )
    assert.strictEqual(
      messageOf(() => Task.make("A", { timeout: 0 })),
      "Task.make(\"A\"): timeout must be a finite duration of at least 1 ms, got 0."
    )
    for (const option of ["expiresIn", "resultTimeToLive", "deadLetterTimeToLive"]) {
      assert.strictEqual(
        messageOf(() => Task.make("A", { [option]: Number.POSITIVE_INFINITY })),
        `Task.make("A"): ${option} must be a finite duration of at least 0 ms, got Infinity.`
      )
      assert.strictEqual(
        messageOf(() => Task.make("A", { [option]: Duration.seconds(-1) })),
        `Task.make("A"): ${option} must be a finite duration of at least 0 ms, got -1000 millis.`
      )
    }
  })
})

describe("styles", () => {
  class AsClass extends Task.make("AsClass", { payload: { to: Schema.String }, success: Schema.String }) {
    static readonly greet = (to: string) => `hello ${to}`
  }
  const AsConst = Task.make("AsConst", { payload: Schema.String, success: Schema.String })

  it.effect("a class and a const run alike", () =>
    program(Effect.gen(function*() {
      assert.strictEqual(AsClass._tag, "AsClass")
      assert.strictEqual(AsClass.queue, "default")
      yield* run(
        Worker.layer({ tasks: [AsClass, AsConst] }).pipe(
          Layer.provide([
            AsClass.toLayer(({ to }) => Effect.succeed(AsClass.greet(to))),
            AsConst.toLayer((to) => Effect.succeed(`bye ${to}`))
          ])
        )
      )
      const one = yield* AsClass.enqueue({ to: "Ada" })
      const two = yield* AsConst.enqueue("Ada")
      assert.strictEqual(yield* one.await, "hello Ada")
      assert.strictEqual(yield* two.await, "bye Ada")
    })))

  it("can be piped", () => {
    assert.strictEqual(AsConst.pipe((task) => task._tag), "AsConst")
    assert.strictEqual(AsClass.pipe((task) => task._tag, (tag) => tag.length), 7)
  })
})
