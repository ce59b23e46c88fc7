/**
 * Guarantee 12: a message that cannot be read, or not yet, harms only itself.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as DeadLetter from "../../DeadLetter.ts"
import type { Envelope } from "../../Envelope.ts"
import * as Job from "../../Job.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import * as Check from "../Check.ts"
import { type Case, define, done, type Kit, lease } from "./kit.ts"

const change =
  (changes: Partial<Envelope>) => (envelopes: NonEmptyReadonlyArray<Envelope>): NonEmptyReadonlyArray<Envelope> => {
    const [first, ...others] = envelopes
    return [{ ...first, ...changes }, ...others]
  }

/** What is wrong with a message, and the reason that its dead letter gives. */
const bad: ReadonlyArray<readonly [string, Partial<Envelope>, string]> = [
  ["whose bytes are no text of its content type", { body: new TextEncoder().encode("{ not json") }, "Undecodable"],
  ["without any bytes", { body: new Uint8Array(0) }, "Undecodable"],
  ["of random bytes", { body: new Uint8Array([0, 255, 254, 10, 13, 124, 124, 124, 240, 159]) }, "Undecodable"],
  ["that does not fit the schema", { body: new TextEncoder().encode("42") }, "Undecodable"],
  ["of an unknown content type", { contentType: "application/x-unknown" }, "Undecodable"],
  ["of an unknown envelope version", { version: 99 }, "UnknownVersion"]
]

/** A task that only some workers know. */
const rare = (kit: Kit) => Task.make("Rare", { payload: Schema.String, success: Schema.String, queue: kit.queue })

export const cases: ReadonlyArray<Case> = [
  ...bad.map(([what, changes, reason]) =>
    define(`a message ${what} is dead-lettered with its reason, and others flow`, (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done, { concurrency: 1 })
        const producer = yield* kit.tampering(change(changes))
        const sent = yield* producer.run(work.enqueueMany([
          { payload: "bad", options: { id: "bad" } },
          { payload: "beside it" }
        ]))
        const [after] = yield* kit.enqueue(work, "after it")
        Check.equal(yield* kit.outcome(after!), "succeeded: done: after it", "the end of a later job")
        const record = yield* kit.within(1_000, producer.client.job(kit.queue, "bad").awaitRecord, "its end")
        Check.equal([record.state, record.reason, record.attempts], ["failed", reason, 0], "its record")
        Check.isTrue((record.message ?? "").length > 10, "its record says why")
        const letters = (yield* DeadLetter.list(kit.queue)).items
        Check.equal(letters.map((letter) => [letter.id, letter.reason]), [["bad", reason]], "dead letters")
        Check.equal(sent.length, 2, "outcomes")
        yield* kit.elapse(lease)
        Check.sameMembers(kit.journal.starts, ["beside it", "after it"], "the runs")
      }))
  ),

  define("the payload of a dead letter can be read, byte by byte", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      yield* kit.worker(work, done)
      const body = new Uint8Array([0, 1, 2, 253, 254, 255])
      const producer = yield* kit.tampering(change({ body }))
      const job = yield* producer.run(work.enqueue("bad"))
      yield* kit.within(1_000, job.awaitRecord, "its end")
      const [letter] = (yield* DeadLetter.list(kit.queue)).items
      Check.equal(letter?.envelope.body, body, "the payload")
    })),

  define(
    "a job whose task no worker knows waits, then is dead-lettered, and others flow",
    (kit) =>
      Effect.gen(function*() {
        const work = kit.work()
        yield* kit.worker(work, done, { unknownTaskTimeout: "4 seconds", concurrency: 1, prefetch: 0 })
        const before = yield* kit.now
        const job = yield* rare(kit).enqueue("rare")
        const [other] = yield* kit.enqueue(work, "other")
        Check.equal(yield* kit.outcome(other!), "succeeded: done: other", "the end of another job")
        yield* kit.elapse(1_500)
        const { attempts, state } = yield* job.info
        Check.isTrue(state !== "failed" && attempts === 0, `it is ${state} with ${attempts} attempts while it waits`)
        const record = yield* kit.within(7_000, job.awaitRecord, "its end")
        Check.equal([record.reason, record.attempts], ["UnknownTask", 0], "its record")
        Check.between((yield* kit.now) - before, 4_000, 8_000 + kit.slack, "ms until it was given up")
      })
  ),

  define("a job whose task is not known yet is run by the worker that knows it", (kit) =>
    Effect.gen(function*() {
      const work = kit.work()
      const task = rare(kit)
      yield* kit.worker(work, done)
      const job = yield* task.enqueue("rare")
      yield* kit.elapse(5_000)
      yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [task], idleTimeout: lease }).pipe(
          Layer.provide(
            task.toLayer((payload, { attempt, deliveries }) => Effect.succeed(`${payload} ${attempt} ${deliveries}`))
          )
        )
      )
      // by chance one or the other gets it, every few seconds
      const value = yield* kit.within(120_000, job.await, "its end")
      Check.equal(value, "rare 1 1", "its success, attempt and deliveries")
    })),

  define("a payload of an older release is read by a newer one with its defaults", (kit) =>
    Effect.gen(function*() {
      const older = Task.make("Email", { payload: { to: Schema.String }, queue: kit.queue })
      const newer = Task.make("Email", {
        payload: {
          to: Schema.String,
          language: Schema.String.pipe(Schema.withDecodingDefaultKey(Effect.succeed("en")))
        },
        success: Schema.String,
        queue: kit.queue
      })
      yield* kit.launch((id) =>
        Worker.layer({ id, tasks: [newer] }).pipe(
          Layer.provide(newer.toLayer(({ language, to }) => Effect.succeed(`${to} ${language}`)))
        )
      )
      const job = yield* older.enqueue({ to: "a@b.c" })
      const handle = yield* Job.fromId(newer, job.id)
      Check.equal(yield* kit.within(1_000, handle.await, "its end"), "a@b.c en", "its success")
    })),

  define("a defect in a handler fails only its job", (kit) =>
    Effect.gen(function*() {
      const work = kit.work({ maxAttempts: 1 })
      yield* kit.worker(work, (run) => {
        if (run.job === "throws") throw new Error("thrown on purpose")
        return run.job === "dies" ? Effect.die(new Error("died on purpose")) : done(run)
      }, { concurrency: 1 })
      const jobs = yield* kit.enqueue(work, "throws", "dies", "lives")
      Check.equal(
        yield* Effect.forEach(jobs, (job) => kit.outcome(job)),
        ["JobFailed: Defect", "JobFailed: Defect", "succeeded: done: lives"],
        "the ends"
      )
    }))
]
