/** When a failed attempt is tried again. */
import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import { program, settle } from "./fixtures/kit.ts"
import { Busy, fails, later, withTask } from "./fixtures/oneTask.ts"

/** Without jitter: the random number in the middle leaves delays as they are. */
const middle = Effect.provideService(Random.Random, {
  nextIntUnsafe: () => 0,
  nextDoubleUnsafe: () => 0.5
})

describe("retries", () => {
  it.effect("by default after 1 s, 2 s, 4 s, … at most 5 min", () =>
    program(middle(Effect.gen(function*() {
      const { Job, times } = yield* withTask({ maxAttempts: 13 }, fails)
      const job = yield* Job.enqueue()
      yield* later
      assert.instanceOf(yield* Effect.flip(job.await), Busy)
      const delays = times().slice(1).map((at, i) => at - times()[i]!)
      assert.deepStrictEqual(
        delays.map((delay) => delay / 1_000),
        [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
      )
    }))))

  it.effect("jittered by 20 %, from the first retry on", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({}, fails)
      yield* Job.enqueueMany(Array.from({ length: 100 }, (_, i) => ({ payload: undefined, options: { id: `${i}` } })))
      yield* later
      for (const [attempt, delay] of [[2, 1_000], [3, 2_000]] as const) {
        const delays = runs.filter(({ execution }) => execution.attempt === attempt).map(({ at, execution }) =>
          at - runs.find((one) => one.execution.id === execution.id && one.execution.attempt === attempt - 1)!.at
        )
        assert.strictEqual(delays.length, 100)
        assert.isAtLeast(Math.min(...delays), delay * 0.8)
        assert.isAtMost(Math.max(...delays), delay * 1.2 + 1)
        // 100 draws over 400 ms: a jitter that did not happen, or happened to all alike, shows
        assert.isAbove(new Set(delays).size, 30)
        assert.isBelow(Math.min(...delays), delay * 0.9)
        assert.isAbove(Math.max(...delays), delay * 1.1)
      }
    })))

  it.effect("a schedule of its own is replayed from the attempt count", () =>
    program(Effect.gen(function*() {
      const retry = Schedule.spaced(10).pipe(Schedule.upTo({ times: 2 }), Schedule.concat(Schedule.fibonacci(100)))
      const { Job, times } = yield* withTask({ maxAttempts: 6, retry }, fails)
      const job = yield* Job.enqueue()
      yield* later
      assert.strictEqual((yield* Effect.flip(job.await))._tag, "Busy")
      assert.deepStrictEqual(times().slice(1).map((at, i) => at - times()[i]!), [10, 10, 100, 100, 200])
    })))

  it.effect("a schedule that ends fails the job, whatever attempts are left", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({ maxAttempts: 10, retry: Schedule.recurs(2) }, fails)
      const job = yield* Job.enqueue()
      yield* later
      const error = yield* Effect.flip(job.await)
      assert(error._tag === "Busy")
      assert.strictEqual(error.minutes, 1)
      assert.strictEqual(runs.length, 3)
      assert.strictEqual((yield* job.info).attempts, 3)
    })))

  it.effect("a schedule that is limited in time counts the delays", () =>
    program(Effect.gen(function*() {
      const retry = Schedule.spaced("10 seconds").pipe(Schedule.upTo({ duration: "25 seconds" }))
      const { Job, runs } = yield* withTask({ maxAttempts: 100, retry }, fails)
      yield* Job.enqueue()
      yield* later
      assert.isAtLeast(runs.length, 3)
      assert.isAtMost(runs.length, 4)
    })))

  it.effect("a schedule sees what the attempt failed with", () =>
    program(Effect.gen(function*() {
      const retry = Schedule.identity<unknown>().pipe(
        Schedule.addDelay(({ output }) => Effect.succeed(Duration.minutes((output as Busy).minutes)))
      )
      const { Job, times } = yield* withTask(
        { retry },
        ({ attempt }) => Effect.fail(new Busy({ minutes: attempt * 10 }))
      )
      yield* Job.enqueue()
      yield* later
      assert.deepStrictEqual(times(), [0, 600_000, 1_800_000])
    })))

  it.effect("a broken schedule fails its job only", () =>
    program(Effect.gen(function*() {
      const retry = Schedule.spaced(1).pipe(Schedule.addDelay(() => Effect.die("broken schedule")))
      const { Job } = yield* withTask({ retry }, ({ id }) => id === "bad" ? fails() : Effect.succeed("done"))
      const bad = yield* Job.enqueue(undefined, { id: "bad" })
      const error = yield* Effect.flip(bad.await)
      assert(error._tag === "JobFailed")
      assert.strictEqual(error.reason, "Defect")
      assert.include(error.description, "retry schedule or error schema failed")
      assert.strictEqual(yield* Effect.flatMap(Job.enqueue(), (job) => job.await), "done")
    })))

  it.effect("one attempt means none", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({ maxAttempts: 1 }, fails)
      const job = yield* Job.enqueue()
      assert.instanceOf(yield* Effect.flip(job.await), Busy)
      yield* later
      assert.strictEqual(runs.length, 1)
    })))

  it.effect("a defect and an interruption of its own count as failures", () =>
    program(Effect.gen(function*() {
      const { Job, runs } = yield* withTask({}, ({ attempt }) => {
        if (attempt === 1) throw new Error("thrown")
        return attempt === 2 ? Effect.interrupt : Effect.succeed("done")
      })
      const job = yield* Job.enqueue()
      yield* settle
      assert.include((yield* job.info).lastError, "thrown")
      yield* later
      assert.strictEqual(yield* job.await, "done")
      assert.deepStrictEqual(runs.map(({ execution }) => execution.attempt), [1, 2, 3])
    })))
})
