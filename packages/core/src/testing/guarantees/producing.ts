/**
 * What producers are told: one outcome per job, and nothing is accepted that
 * cannot be run.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Client from "../../Client.ts"
import type { EnqueueOptions } from "../../EnqueueOptions.ts"
import * as JobQueue from "../../JobQueue.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import { type Case, define, done } from "./kit.ts"

const badOptions: ReadonlyArray<readonly [string, EnqueueOptions]> = [
  ["an unknown priority", { priority: "highest" }],
  ["an empty id", { id: "" }],
  ["an endless id", { id: "x".repeat(10_000) }],
  ["an empty key", { key: "" }],
  ["a negative delay", { delay: -1 }],
  ["an endless delay", { delay: Infinity }],
  ["a delay and a time", { delay: 1, at: 1 }],
  ["a time that is none", { at: new Date(Number.NaN) }],
  ["an endless expiry", { expiresIn: Infinity }]
]

export const cases: ReadonlyArray<Case> = [
  define("enqueueMany is one call to the broker, with one outcome per item", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      let sends = 0
      yield* kit.faults.loseRequests(({ operation }) => {
        if (operation === "send") sends++
        return false
      })
      const outcomes = yield* work.enqueueMany([
        { payload: "one" },
        { payload: "x".repeat(2_000_000) },
        { payload: "two", options: { priority: "highest" } },
        { payload: "three", options: { id: "three" } },
        { payload: "three again", options: { id: "three" } }
      ])
      Check.equal(sends, 1, "calls")
      Check.equal(
        outcomes.map((outcome) =>
          Result.isSuccess(outcome) ? `duplicate: ${outcome.success.duplicate}` : outcome.failure.reason._tag
        ),
        ["duplicate: false", "PayloadTooLarge", "InvalidOption", "duplicate: false", "duplicate: true"],
        "outcomes"
      )
      yield* kit.until(() => kit.journal.hasSucceeded(2), "the runs")
      Check.sameMembers(kit.journal.starts, ["one", "three"], "the runs")
      Check.equal(yield* work.enqueueMany([]), [], "outcomes of nothing")
    })),

  define(
    "a payload that does not fit the schema or is too large is refused, and nothing is enqueued",
    (kit) =>
      Effect.gen(function*() {
        const Count = Task.make("Count", { payload: Schema.Int, queue: kit.queue })
        const wrong = yield* Effect.flip(Count.enqueue(0.5))
        Check.equal([wrong._tag, wrong.reason._tag], ["EnqueueError", "InvalidPayload"], "the error")
        const small = yield* Effect.provideService(kit.client, Client.PayloadLimit, 100)
        const large = yield* Effect.flip(small.run(kit.work().enqueue("x".repeat(100))))
        Check.equal([large._tag, large.reason._tag], ["EnqueueError", "PayloadTooLarge"], "the error")
        Check.equal((yield* JobQueue.stats(kit.queue)).queued, 0, "jobs queued")
      })
  ),

  define("options that cannot work are refused, and nothing is enqueued", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      for (const [what, options] of badOptions) {
        const error = yield* Effect.flip(work.enqueue("one", options)).pipe(
          Effect.catch(() => Effect.sync(() => Check.fail(`${what} was accepted`)))
        )
        Check.equal([error._tag, error.reason._tag], ["EnqueueError", "InvalidOption"], `the error for ${what}`)
      }
      const { queued, scheduled } = yield* JobQueue.stats(kit.queue)
      Check.equal([queued, scheduled], [0, 0], "jobs enqueued")
    })),

  define("a payload of almost a mebibyte and an empty one arrive whole", (kit) =>
    Effect.gen(function*() {
      const limit = Math.min(1_000_000, (kit.transport.capabilities.maxMessageBytes ?? Infinity) - 10_000)
      const payloads = ["", "x".repeat(limit), "é".repeat(limit / 4)]
      const work = kit.work()
      const lengths: Array<number> = []
      yield* kit.worker(work, (run) =>
        Effect.sync(() => {
          lengths.push(run.job.length)
          return String(run.job.length)
        }))
      const jobs = yield* kit.enqueue(work, ...payloads)
      const ends = yield* kit.within(10_000, Effect.forEach(jobs, (job) => job.await), "the end of all jobs")
      Check.equal(ends, payloads.map((payload) => String(payload.length)), "lengths")
    })),

  define("a job is enqueued by the name of its task, without the definition", (kit) =>
    Effect.gen(function*() {
      const client = yield* Client.Client
      const Email = Task.make("Email", {
        payload: { to: Schema.String, at: Schema.Date },
        success: Schema.Struct({ year: Schema.Int, attempts: Schema.Int }),
        queue: kit.queue
      })
      const job = yield* client.enqueueByName("Email", { to: "a@b.c", at: "2024-02-29T12:30:00.000Z" }, {
        queue: kit.queue,
        maxAttempts: 7,
        id: "by-name"
      })
      const wrong = yield* client.enqueueByName("Email", { to: 42 }, { queue: kit.queue, id: "wrong" })
      yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [Email] }).pipe(
          Layer.provide(Email.toLayer(({ at }, { maxAttempts }) =>
            Effect.succeed({ year: at.getUTCFullYear(), attempts: maxAttempts })
          ))
        )
      )
      const record = yield* kit.within(1_000, job.awaitRecord, "its end")
      Check.equal(
        JSON.parse(new TextDecoder().decode(record.value)) as object,
        { year: 2024, attempts: 7 },
        "its success, as JSON"
      )
      const refused = yield* kit.within(1_000, wrong.awaitRecord, "the end of a job with a wrong payload")
      Check.equal(refused.reason, "Undecodable", "why it failed")
    })),

  define("an enqueue says that the broker is away", (kit) =>
    Effect.gen(function*() {
      yield* kit.faults.loseRequests(true)
      const error = yield* Effect.flip(kit.work().enqueue("one"))
      Check.equal([error._tag, error.reason._tag], ["TransportError", "Unavailable"], "the error")
      yield* kit.faults.heal
      Check.equal((yield* JobQueue.stats(kit.queue)).queued, 0, "jobs queued")
    }))
]
