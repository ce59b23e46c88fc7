/** Failed jobs: kept with their reason, run again, forgotten. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Client from "../src/Client.ts"
import * as DeadLetter from "../src/DeadLetter.ts"
import * as JobQueue from "../src/JobQueue.ts"
import * as Signing from "../src/Signing.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"

const Work = Task.make("Work", {
  payload: Schema.String,
  success: Schema.String,
  error: Schema.String,
  queue: "q",
  maxAttempts: 2,
  retry: Schedule.spaced(100),
  expiresIn: "1 minute",
  deadLetterTimeToLive: "1 day"
})

let repaired = false

const worker = Worker.layer({ tasks: [Work], id: "w" }).pipe(
  Layer.provide(
    Work.toLayer((name, execution) =>
      repaired
        ? Effect.succeed(`${name} ${execution.attempt} ${execution.deliveries}`)
        : name === "dies"
        ? Effect.die(new Error("died"))
        : name === "discards"
        ? Effect.fail(new Task.Discard({ reason: "nobody wants it" }))
        : Effect.fail(`no ${name}`)
    )
  )
)

/** Three jobs that failed, each in its own way. */
const failed = Effect.gen(function*() {
  repaired = false
  yield* TestClock.adjust(1_000)
  const running = yield* run(worker)
  const jobs = {
    fails: yield* Work.enqueue("fails", { id: "1", key: "k", headers: { tenant: "t" }, priority: "low" }),
    dies: yield* Work.enqueue("dies", { id: "2" }),
    discards: yield* Work.enqueue("discards", { id: "3" })
  }
  yield* settle
  yield* TestClock.adjust(100)
  yield* settle
  return { ...running, jobs }
})

describe("list", () => {
  it.effect("says what failed, when and why", () =>
    program(Effect.gen(function*() {
      yield* failed
      const { items, next } = yield* DeadLetter.list("q")
      assert.isUndefined(next)
      const letters = [...items].sort((a, b) => a.id.localeCompare(b.id))
      assert.deepStrictEqual(
        letters.map(({ attempts, enqueuedAt, failedAt, id, message, queue, reason, task }) => ({
          attempts,
          enqueuedAt,
          failedAt,
          id,
          message,
          queue,
          reason,
          task
        })),
        [
          { id: "1", reason: "Error", message: "no fails", attempts: 2, failedAt: 1_100 },
          { id: "2", reason: "Defect", message: "Error: died", attempts: 2, failedAt: 1_100 },
          { id: "3", reason: "Discarded", message: "nobody wants it", attempts: 1, failedAt: 1_000 }
        ].map((one) => ({ ...one, queue: "q", task: "Work", enqueuedAt: 1_000 } as never))
      )
      const { envelope } = letters[0]!
      assert.strictEqual(new TextDecoder().decode(envelope.body), "\"fails\"")
      assert.deepStrictEqual([envelope.key, envelope.headers, envelope.priority], ["k", { tenant: "t" }, "low"])
    })))

  it.effect("comes in pages, and forgets letters after their time", () =>
    program(Effect.gen(function*() {
      const { stop } = yield* failed
      const first = yield* DeadLetter.list("q", { limit: 2 })
      const second = yield* DeadLetter.list("q", { limit: 2, cursor: first.next })
      assert.deepStrictEqual([...first.items, ...second.items].map(({ id }) => id).sort(), ["1", "2", "3"])
      yield* stop
      yield* TestClock.adjust("23 hours")
      assert.strictEqual((yield* DeadLetter.list("q")).items.length, 3)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items, [])
    })))
})

describe("replay", () => {
  it.effect("runs the job again with all its attempts; its expiry is over", () =>
    program(Effect.gen(function*() {
      const { jobs } = yield* failed
      yield* TestClock.adjust("1 hour")
      repaired = true
      assert.deepStrictEqual(yield* DeadLetter.replay("q", ["1", "2"]), ["done", "done"])
      assert.strictEqual(yield* jobs.fails.await, "fails 1 1")
      assert.strictEqual(yield* jobs.dies.await, "dies 1 1")
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ id }) => id), ["3"])
      assert.strictEqual((yield* jobs.fails.info).attempts, 1)
    })))

  it.effect("may fail again", () =>
    program(Effect.gen(function*() {
      const { jobs } = yield* failed
      assert.deepStrictEqual(yield* DeadLetter.replay("q", ["1"]), ["done"])
      yield* settle
      const info = yield* jobs.fails.info
      assert.deepStrictEqual([info.state, info.attempts, info.lastError], ["scheduled", 1, "no fails"])
      yield* TestClock.adjust(100)
      assert.strictEqual(yield* Effect.flip(jobs.fails.await), "no fails")
      assert.strictEqual((yield* DeadLetter.list("q")).items.length, 3)
    })))

  it.effect("answers for every id: missing, alive again, nothing to do", () =>
    program(Effect.gen(function*() {
      const { stop } = yield* failed
      yield* stop
      assert.deepStrictEqual(yield* DeadLetter.replay("q", []), [])
      yield* TestClock.adjust("2 hours")
      // the record has expired, so the id may be taken anew; the letter is still there
      yield* Work.enqueue("new", { id: "1" })
      assert.deepStrictEqual(
        yield* DeadLetter.replay("q", ["no such letter", "1", "2", "2"]),
        // the second time it is no letter any more, but the job that the first time enqueued
        ["missing", "duplicate", "done", "missing"]
      )
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ id }) => id).sort(), ["1", "3"])
      assert.deepStrictEqual(yield* DeadLetter.replay("other", ["1"]), ["missing"])
    })))

  it.effect("a letter whose signature is wrong is refused and stays", () =>
    program(Effect.gen(function*() {
      const keys = Effect.map(Signing.generateKey, (secret) =>
        Signing.layerHmac({ keys: [{ id: "k", secret }], maxAge: "1 minute" }))
      repaired = false
      const transport = yield* Transport
      const signed = Layer.provideMerge(Client.layer, yield* keys)
      yield* Effect.gen(function*() {
        yield* run(worker)
        const jobs = [yield* Work.enqueue("discards", { id: "1" }), yield* Work.enqueue("discards", { id: "2" })]
        yield* settle
        // old letters are fine: their age does not count
        yield* TestClock.adjust("1 hour")
        assert.deepStrictEqual(yield* DeadLetter.replay("q", ["1"]), ["done"])
        yield* settle
        assert.strictEqual(yield* jobs[0]!.status, "failed")
        assert.strictEqual((yield* DeadLetter.list("q")).items.length, 2)
      }).pipe(Effect.provide(signed, { local: true }), Effect.provideService(Transport, transport))
      const other = yield* Effect.provide(DeadLetter.replay("q", ["2"]), yield* keys, { local: true })
      assert.deepStrictEqual(other, ["refused"])
      assert.strictEqual((yield* DeadLetter.list("q")).items.length, 2)
      assert.strictEqual((yield* JobQueue.stats("q")).queued, 0)
    })))

  it.effect("a letter of an envelope version that is not known here is refused and stays", () =>
    program(Effect.gen(function*() {
      yield* run(worker)
      const { log } = yield* Transport
      yield* Work.enqueue("model", { id: "model", delay: "1 hour" })
      const [model] = yield* log.locate("q", ["model"])
      const { envelope } = yield* Effect.fromOption(model!)
      yield* log.send([{ ...envelope, id: "later", version: 2, due: undefined }])
      yield* settle
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ reason }) => reason), ["UnknownVersion"])
      assert.deepStrictEqual(yield* DeadLetter.replay("q", ["later"]), ["refused"])
      assert.strictEqual((yield* DeadLetter.list("q")).items.length, 1)
    })))
})

describe("drop", () => {
  it.effect("forgets letters; their state stays readable", () =>
    program(Effect.gen(function*() {
      const { jobs } = yield* failed
      assert.deepStrictEqual(yield* DeadLetter.drop("q", []), [])
      assert.deepStrictEqual(yield* DeadLetter.drop("q", ["1", "no such letter", "1"]), ["done", "missing", "missing"])
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ id }) => id).sort(), ["2", "3"])
      assert.strictEqual(yield* Effect.flip(jobs.fails.await), "no fails")
      assert.deepStrictEqual(yield* DeadLetter.replay("q", ["1"]), ["missing"])
    })))
})
