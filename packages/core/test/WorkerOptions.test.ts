/** Every option of a worker: from code, from the environment, and what is refused. */
import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Priority from "../src/Priority.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import type { WorkerOptions } from "../src/WorkerOptions.ts"
import { program, run } from "./fixtures/kit.ts"
import { Logs } from "./fixtures/logs.ts"

const One = Task.make("One", { queue: "a" })
const Two = Task.make("Two", { queue: "b" })
const handlers = Layer.mergeAll(One.toLayer(() => Effect.void), Two.toLayer(() => Effect.void))

const environment = (env: Record<string, string>) => ConfigProvider.layer(ConfigProvider.fromEnv({ env }))

const start = (options: WorkerOptions<"One" | "Two">, env: Record<string, string> = {}) =>
  run(Worker.layer({ tasks: [One, Two], ...options }).pipe(Layer.provide(handlers))).pipe(
    Effect.provide(environment(env))
  )

/** What the worker says of its options when it starts. */
const started = (options: WorkerOptions<"One" | "Two">, env: Record<string, string> = {}) =>
  Effect.gen(function*() {
    yield* start({ id: "w", ...options }, env)
    const { matching } = yield* Logs
    return matching(" started on transport ")[0]!.text
  })

const all: WorkerOptions<"One" | "Two"> = {
  queues: ["b"],
  concurrency: 4,
  taskConcurrency: { Two: 2 },
  prefetch: 0,
  priorities: ["low", "high"],
  idleTimeout: "2 seconds",
  gracePeriod: 500,
  maxDeliveries: 7,
  unknownTaskTimeout: "1 minute",
  id: "named"
}

const allInEnvironment = {
  TROUPE_QUEUES: " b ,",
  TROUPE_CONCURRENCY: "4",
  TROUPE_TASK_CONCURRENCY: "Two=2",
  TROUPE_PREFETCH: "0",
  TROUPE_PRIORITIES: "low,high",
  TROUPE_IDLE_TIMEOUT: "2 seconds",
  TROUPE_GRACE_PERIOD: "500 millis",
  TROUPE_MAX_DELIVERIES: "7",
  TROUPE_UNKNOWN_TASK_TIMEOUT: "1 minute",
  TROUPE_WORKER_ID: "named"
}

const allSaid = "Worker \"named\" started on transport \"memory\": queues b; tasks Two; " +
  "concurrency 4 (Two 2), prefetch 0, priorities low < high, idleTimeout 2000 ms, gracePeriod 500 ms, " +
  "maxDeliveries 7, unknownTaskTimeout 60000 ms"

describe("options", () => {
  it.effect("have defaults", () =>
    program(Effect.gen(function*() {
      assert.strictEqual(
        yield* started({}),
        "Worker \"w\" started on transport \"memory\": queues a, b; tasks One, Two; " +
          "concurrency 16, prefetch 16, priorities low < normal < high, idleTimeout 15000 ms, gracePeriod 30000 ms, " +
          "maxDeliveries 5, unknownTaskTimeout 600000 ms"
      )
    })))

  it.effect("are taken from code", () =>
    program(Effect.gen(function*() {
      assert.strictEqual(yield* started(all), allSaid)
    })))

  it.effect("are all taken from the environment", () =>
    program(Effect.gen(function*() {
      assert.strictEqual(yield* started({ id: undefined }, allInEnvironment), allSaid)
    })))

  it.effect("code wins, and what it says is not even read from the environment", () =>
    program(Effect.gen(function*() {
      const nonsense = Object.fromEntries(Object.keys(allInEnvironment).map((name) => [name, "-nonsense-"]))
      assert.strictEqual(yield* started(all, nonsense), allSaid)
    })))

  it.effect("prefetch follows concurrency", () =>
    program(Effect.gen(function*() {
      assert.include(yield* started({}, { TROUPE_CONCURRENCY: "3" }), "concurrency 3, prefetch 3, ")
    })))

  it.effect("an id is made up if none is given, another for each worker", () =>
    program(Effect.gen(function*() {
      const one = yield* start({})
      const two = yield* start({})
      assert.match(one.worker.id, /^worker-[0-9a-z]+$/)
      assert.notStrictEqual(one.worker.id, two.worker.id)
      // an empty variable is none
      assert.match((yield* start({}, { TROUPE_WORKER_ID: "" })).worker.id, /^worker-[0-9a-z]+$/)
    })))
})

describe("refused in code", () => {
  const bad: ReadonlyArray<readonly [options: WorkerOptions, says: string]> = [
    [{ concurrency: 0 }, "option \"concurrency\" must be a whole number of at least 1, got 0"],
    [{ concurrency: 1.5 }, "option \"concurrency\" must be a whole number of at least 1, got 1.5"],
    [{ concurrency: Number.NaN }, "option \"concurrency\" must be a whole number of at least 1, got NaN"],
    [{ prefetch: -1 }, "option \"prefetch\" must be a whole number of at least 0, got -1"],
    [{ maxDeliveries: 0 }, "option \"maxDeliveries\" must be a whole number of at least 1, got 0"],
    [{ taskConcurrency: { One: 0 } }, "option \"taskConcurrency.One\" must be a whole number of at least 1, got 0"],
    [
      { taskConcurrency: { Three: 1 } },
      "option \"taskConcurrency\" names task \"Three\", which this worker does not list"
    ],
    [{ idleTimeout: 999 }, "option \"idleTimeout\" must be a finite duration of at least 1000 ms, got 999"],
    [
      { idleTimeout: Number.POSITIVE_INFINITY },
      "option \"idleTimeout\" must be a finite duration of at least 1000 ms, got Infinity"
    ],
    [
      { gracePeriod: "soon" as never },
      "option \"gracePeriod\" must be a finite duration of at least 0 ms, got soon"
    ],
    [{ unknownTaskTimeout: -1 }, "option \"unknownTaskTimeout\" must be a finite duration of at least 0 ms, got -1"],
    [{ queues: [] }, "option \"queues\" must not be empty; the tasks use: a, b"],
    [{ queues: ["a", "c"] }, "option \"queues\" names \"c\", but no task uses it; the tasks use: a, b"],
    [{ priorities: [] }, "option \"priorities\" must not be empty"],
    [
      { priorities: ["low", "urgent"] },
      "option \"priorities\" names \"urgent\", which is not in Priority.Levels (low, normal, high)"
    ],
    [{ priorities: ["low", "low"] }, "option \"priorities\" names a level twice: low, low"],
    [{ id: "" }, "option \"id\" must not be empty"]
  ]
  for (const [options, says] of bad) {
    it.effect(says, () =>
      program(Effect.gen(function*() {
        const error = yield* Effect.flip(start(options as WorkerOptions<"One" | "Two">))
        assert(error._tag === "WorkerError")
        assert.strictEqual(error.reason._tag, "InvalidOption")
        assert.strictEqual(error.message, `The worker did not start: ${says}.`)
      })))
  }
})

describe("refused in the environment", () => {
  const bad: ReadonlyArray<readonly [env: Record<string, string>, ...says: ReadonlyArray<string>]> = [
    [{ TROUPE_CONCURRENCY: "many" }, "TROUPE", "CONCURRENCY"],
    [{ TROUPE_CONCURRENCY: "1.5" }, "TROUPE", "CONCURRENCY"],
    [{ TROUPE_CONCURRENCY: "0" }, "option \"concurrency\" must be a whole number of at least 1, got 0"],
    [{ TROUPE_PREFETCH: "none" }, "TROUPE", "PREFETCH"],
    [{ TROUPE_IDLE_TIMEOUT: "soon" }, "TROUPE", "IDLE_TIMEOUT"],
    [{ TROUPE_IDLE_TIMEOUT: "10 millis" }, "option \"idleTimeout\" must be a finite duration of at least 1000 ms"],
    [{ TROUPE_GRACE_PERIOD: "soon" }, "TROUPE", "GRACE_PERIOD"],
    [{ TROUPE_MAX_DELIVERIES: "x" }, "TROUPE", "MAX_DELIVERIES"],
    [{ TROUPE_UNKNOWN_TASK_TIMEOUT: "soon" }, "TROUPE", "UNKNOWN_TASK_TIMEOUT"],
    [{ TROUPE_TASK_CONCURRENCY: "One" }, "TROUPE_TASK_CONCURRENCY (One)", "must be a whole number of at least 1"],
    [{ TROUPE_TASK_CONCURRENCY: "One=x" }, "TROUPE_TASK_CONCURRENCY (One=x)"],
    [{ TROUPE_TASK_CONCURRENCY: "Three=1" }, "names task \"Three\", which this worker does not list"],
    [{ TROUPE_QUEUES: "c" }, "names \"c\", but no task uses it; the tasks use: a, b"],
    [{ TROUPE_QUEUES: "," }, "option \"queues\" must not be empty"],
    [{ TROUPE_PRIORITIES: "urgent" }, "names \"urgent\", which is not in Priority.Levels"]
  ]
  for (const [env, ...says] of bad) {
    it.effect(JSON.stringify(env), () =>
      program(Effect.gen(function*() {
        const error = yield* Effect.flip(start({}, env))
        assert.include(["ConfigError", "WorkerError"], error._tag)
        for (const part of says) assert.include(error.message, part)
      })))
  }
})

it.effect("levels of its own", () =>
  program(
    Effect.gen(function*() {
      assert.include(yield* started({}), "priorities bulk < now, ")
    }).pipe(Effect.provideService(Priority.Levels, ["bulk", "now"]))
  ))
