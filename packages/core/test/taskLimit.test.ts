/** A task at its limit does not keep others from free slots. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Settlement } from "../src/JobLog.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

const Limited = Task.make("Limited", { payload: Schema.Number, queue: "q" })
const Free = Task.make("Free", { queue: "q" })

const started = () => {
  const runs: Array<{ readonly n: number; readonly deliveries: number }> = []
  let [running, most, free] = [0, 0, 0]
  const handlers = Layer.mergeAll(
    Limited.toLayer((n, { deliveries }) =>
      Effect.suspend(() => {
        runs.push({ n, deliveries })
        most = Math.max(most, ++running)
        return Effect.ensuring(Effect.sleep("1 minute"), Effect.sync(() => running--))
      })
    ),
    Free.toLayer(() => Effect.sync(() => void free++))
  )
  return { runs, handlers, most: () => most, free: () => free }
}

const options = { concurrency: 4, prefetch: 4, taskConcurrency: { Limited: 1 } } as const

const pass = (seconds: number, step: number) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < 1_000 * seconds; passed += step) yield* Effect.andThen(TestClock.adjust(step), settle)
  })

const forwards = (spy: Spy.Spy) =>
  spy.of("subscription.settle").flatMap(({ args }) => args[0] as ReadonlyArray<Settlement>).filter(({ _tag }) =>
    _tag === "Forward"
  )

describe("a task at its limit", () => {
  it.effect("gives way to jobs behind it, uncounted, and goes on all the time", () =>
    program(Effect.gen(function*() {
      const { free, handlers, most, runs } = started()
      for (let n = 0; n < 40; n++) yield* Limited.enqueue(n)
      yield* Free.enqueue()
      yield* run(Worker.layer({ ...options, tasks: [Limited, Free] }).pipe(Layer.provide(handlers)))
      yield* pass(12, 250)
      assert.strictEqual(free(), 1, "the job behind 40 of a task at its limit")
      yield* pass(200, 2_000)
      assert.strictEqual(most(), 1)
      assert.isAtLeast(runs.length, 4, "a run per minute")
      assert.isTrue(runs.every(({ deliveries }) => deliveries === 1))
    })))

  it.effect("keeps its jobs where nobody waits behind them", () =>
    program(Effect.gen(function*() {
      const { handlers, runs } = started()
      const spy = Spy.make(yield* Transport)
      for (let n = 0; n < 8; n++) yield* Limited.enqueue(n)
      yield* run(Worker.layer({ ...options, tasks: [Limited, Free] }).pipe(Layer.provide(handlers))).pipe(
        Effect.provideService(Transport, spy.transport)
      )
      yield* pass(190, 2_000)
      assert.deepStrictEqual(runs.map(({ n }) => n), [0, 1, 2, 3])
      assert.deepStrictEqual(forwards(spy), [])
    })))
})
