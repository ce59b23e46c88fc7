/** Tasks that are implemented together, and modules that merge. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import * as Worker from "../src/Worker.ts"
import { program, run } from "./fixtures/kit.ts"

class Greet extends Task.make("Greet", { payload: { name: Schema.String }, success: Schema.String, queue: "a" }) {}
const Double = Task.make("Double", { payload: Schema.Number, success: Schema.Number, queue: "b" })
const Shout = Task.make("Shout", { payload: Schema.String, success: Schema.String })

class Prefix extends Context.Service<Prefix, string>()("test/Prefix") {}

const people = TaskGroup.make(Greet)
const numbers = TaskGroup.make(Double, Shout)
const all = people.merge(numbers)

const works = Effect.gen(function*() {
  const greeting = yield* Greet.enqueue({ name: "Ada" })
  const doubled = yield* Double.enqueue(21)
  const shout = yield* Shout.enqueue("hey")
  assert.deepStrictEqual(
    [yield* greeting.await, yield* doubled.await, yield* shout.await] as const,
    ["hello Ada", 42, "HEY"]
  )
})

describe("toLayer", () => {
  it.effect("takes an object of handlers", () =>
    program(Effect.gen(function*() {
      const handlers = all.toLayer({
        Greet: ({ name }) => Prefix.useSync((prefix) => `${prefix} ${name}`),
        Double: (n) => Effect.succeed(n * 2),
        Shout: (text) => Effect.succeed(text.toUpperCase())
      })
      yield* run(
        Worker.layer({ tasks: all.tasks }).pipe(Layer.provide(handlers), Layer.provide(Layer.succeed(Prefix, "hello")))
      )
      yield* works
    })))

  it.effect("takes an effect, which runs once per worker and whose resources live as long", () =>
    program(Effect.gen(function*() {
      const trace: Array<string> = []
      const handlers = all.toLayer(Effect.gen(function*() {
        yield* Effect.acquireRelease(
          Effect.sync(() => trace.push("acquire")),
          () => Effect.sync(() => trace.push("release"))
        )
        return {
          Greet: ({ name }) => Effect.succeed(`hello ${name}`),
          Double: (n) => Effect.succeed(n * 2),
          Shout: (text) => Effect.succeed(text.toUpperCase())
        }
      }))
      const { stop } = yield* run(Worker.layer({ tasks: all.tasks }).pipe(Layer.provide(handlers)))
      yield* works
      assert.deepStrictEqual(trace, ["acquire"])
      yield* stop
      assert.deepStrictEqual(trace, ["acquire", "release"])
    })))

  it.effect("modules that are implemented apart serve one worker", () =>
    program(Effect.gen(function*() {
      const handlers = Layer.merge(
        people.toLayer(people.of({ Greet: ({ name }) => Effect.succeed(`hello ${name}`) })),
        numbers.toLayer({ Double: (n) => Effect.succeed(n * 2), Shout: (text) => Effect.succeed(text.toUpperCase()) })
      )
      const { worker } = yield* run(Worker.layer({ tasks: all.tasks }).pipe(Layer.provide(handlers)))
      yield* works
      assert.deepStrictEqual([...worker.queues].sort(), ["a", "b", "default"])
    })))
})

describe("make and merge", () => {
  it("keep the order of the tasks", () => {
    assert.deepStrictEqual(all.tasks.map(({ _tag }) => _tag), ["Greet", "Double", "Shout"])
  })

  it("refuse two tasks with one tag, and say where both are", () => {
    const Twin = Task.make("Greet", { queue: "elsewhere" })
    const message =
      "Two tasks have the tag \"Greet\": one of queue \"a\" and one of queue \"elsewhere\". Rename one of them."
    assert.throws(() => TaskGroup.make(Greet, Twin), TaskGroup.DuplicateTag, message)
    assert.throws(() => all.merge(TaskGroup.make(Twin)), TaskGroup.DuplicateTag, message)
  })
})
