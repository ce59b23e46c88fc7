/**
 * Guarantee 11: with signing on, what was not written by somebody with our keys
 * is neither decoded nor run: it is dead-lettered with the reason.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Redacted from "effect/Redacted"
import * as Codec from "../../Codec.ts"
import * as DeadLetter from "../../DeadLetter.ts"
import type { Envelope } from "../../Envelope.ts"
import type { JobRecord } from "../../JobRecord.ts"
import * as Signing from "../../Signing.ts"
import * as Check from "../Check.ts"
import { type Body, type Case, define, done, type Kit, lease, type Work } from "./kit.ts"

interface Key {
  readonly id: string
  readonly secret: Redacted.Redacted<string>
}

const key = (id: string): Effect.Effect<Key> => Effect.map(Signing.generateKey, (secret) => ({ id, secret }))

const signedWith = (...keys: NonEmptyReadonlyArray<Key>) => Signing.layerHmac({ keys })

/** What an attacker, or a producer without our keys, does to a job that is sent beside an honest one. */
interface Attack {
  readonly what: string
  /** The producer's own keys; none: it does not sign. Default: the ones of the worker. */
  readonly keys?: (ours: Key) => Effect.Effect<ReadonlyArray<Key>>
  /** Changes the first of two envelopes on their way. */
  readonly change?: (envelope: Envelope, other: Envelope) => Partial<Envelope>
}

const attacks: ReadonlyArray<Attack> = [
  { what: "without a signature", keys: () => Effect.succeed([]) },
  { what: "signed with an unknown key", keys: () => Effect.map(key("theirs"), (theirs) => [theirs]) },
  { what: "signed with another secret", keys: (ours) => Effect.map(key(ours.id), (theirs) => [theirs]) },
  { what: "whose signature was removed", change: () => ({ signature: undefined }) },
  { what: "whose signature is no signature", change: () => ({ signature: "1.ours.\u0000|||😀" }) },
  { what: "whose body was changed", change: () => ({ body: new TextEncoder().encode(`"changed"`) }) },
  { what: "whose body was swapped with the one of another job", change: (_, { body }) => ({ body }) },
  { what: "with the body and the signature of another job", change: (_, { body, signature }) => ({ body, signature }) },
  { what: "whose headers were changed", change: () => ({ headers: { admin: "yes" } }) },
  { what: "whose task was changed", change: () => ({ task: "Other" }) },
  { what: "whose due time was changed", change: () => ({ due: { _tag: "At", at: 1 } }) },
  { what: "whose attempt was changed", change: ({ attempt }) => ({ attempt: attempt + 1 }) }
]

/** A client with these keys, whose envelopes are changed on their way. */
const producer = (kit: Kit, keys: ReadonlyArray<Key>, change?: Attack["change"]) => {
  const [first, ...others] = keys
  const client = kit.tampering(([one, ...more]) => {
    const two = more[0]
    return change === undefined || two === undefined ? [one, ...more] : [{ ...one, ...change(one, two) }, ...more]
  })
  return first === undefined ? client : Effect.provide(client, signedWith(first, ...others))
}

const worker = (kit: Kit, work: Work, body: Body, ...keys: NonEmptyReadonlyArray<Key>) =>
  Effect.provide(kit.worker(work, body), signedWith(...keys))

const reasonsOf = (kit: Kit) =>
  Effect.map(DeadLetter.list(kit.queue), ({ items }) => items.map(({ id, reason }) => `${id} ${reason}`))

export const cases: ReadonlyArray<Case> = [
  define("signed jobs, their retries, snoozes and results are accepted", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work()
      yield* worker(kit, work, (run) => run.attempt < 3 ? Effect.fail("again") : done(run), ours)
      const { run } = yield* producer(kit, [ours])
      const job = yield* run(work.enqueue("one"))
      Check.equal(yield* kit.outcome(job, 2_000), "succeeded: done: one", "the end of the job")
    })),

  ...attacks.map(({ change, keys, what }) =>
    define(`a job ${what} is dead-lettered, never run, and harms no other`, (kit) =>
      Effect.gen(function*() {
        const ours = yield* key("ours")
        const work = kit.work()
        yield* worker(kit, work, done, ours)
        const theirs = yield* producer(kit, keys === undefined ? [ours] : yield* keys(ours), change)
        yield* theirs.run(work.enqueueMany([
          { payload: "forged", options: { id: "forged" } },
          { payload: "beside it", options: { id: "beside it" } }
        ]))
        const honest = yield* producer(kit, [ours])
        const job = yield* honest.run(work.enqueue("honest"))
        Check.equal(yield* kit.outcome(job), "succeeded: done: honest", "the end of an honest job")
        const record = yield* kit.within(
          1_000,
          honest.client.job(kit.queue, "forged").awaitRecord,
          "the end of the forgery"
        )
        Check.equal([record.state, record.reason], ["failed", "Signature"], "its record")
        Check.equal((yield* reasonsOf(kit)).includes("forged Signature"), true, "it is among the dead letters")
        yield* kit.elapse(lease)
        Check.equal(kit.journal.runs.filter((run) => run.id === "forged"), [], "its runs")
      }))
  ),

  define("bytes with a wrong signature are not decoded", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work()
      const decoded: Array<string> = []
      const spy = Codec.make({
        contentType: "text/spied",
        encode: (value) => new TextEncoder().encode(JSON.stringify(value)),
        decode: (bytes) => {
          const text = new TextDecoder().decode(bytes)
          decoded.push(text)
          return JSON.parse(text) as unknown
        }
      })
      yield* Effect.provide(worker(kit, work, done, ours), Codec.layer(spy))
      const stranger = yield* Effect.provide(producer(kit, []), Codec.layer(spy))
      const honest = yield* Effect.provide(producer(kit, [ours]), Codec.layer(spy))
      yield* stranger.run(work.enqueue("forged"))
      const job = yield* honest.run(work.enqueue("honest"))
      yield* kit.within(1_000, job.awaitRecord, "the end of the honest job")
      yield* kit.eventually(reasonsOf(kit), ({ length }) => length === 1, "the dead letter")
      Check.equal(decoded, [`"honest"`], "what was decoded")
    })),

  define("a signature that is too old is refused; its age counts from the due time", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work()
      const { run } = yield* producer(kit, [ours])
      const old = yield* run(work.enqueue("old"))
      const delayed = yield* run(work.enqueue("delayed", { delay: 6_500 }))
      yield* kit.elapse(6_000)
      yield* Effect.provide(kit.worker(work, done), Signing.layerHmac({ keys: [ours], maxAge: "5 seconds" }))
      Check.equal(yield* kit.outcome(old), "JobFailed: Signature", "the end of the old job")
      Check.equal(yield* kit.outcome(delayed, 1_500), "succeeded: done: delayed", "the end of the delayed job")
    })),

  define("a retry is signed anew: it does not grow too old while it waits", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work({ maxAttempts: 6 })
      yield* Effect.provide(
        kit.worker(work, (run) => run.attempt < 6 ? Effect.fail("again") : done(run)),
        Signing.layerHmac({ keys: [ours], maxAge: "2 seconds" })
      )
      const { run } = yield* producer(kit, [ours])
      const job = yield* run(work.enqueue("one"))
      Check.equal(yield* kit.outcome(job, 4_000), "succeeded: done: one", "the end of the job")
    })),

  define("keys are rotated one process at a time", (kit) =>
    Effect.gen(function*() {
      const old = yield* key("old")
      const next = yield* key("next")
      const work = kit.work()
      const before = yield* producer(kit, [old, next])
      const after = yield* producer(kit, [next, old])
      const jobs = [yield* before.run(work.enqueue("before")), yield* after.run(work.enqueue("after"))]
      const first = yield* worker(kit, work, done, old, next)
      Check.equal(
        yield* Effect.forEach(jobs, (job) => kit.outcome(job)),
        ["succeeded: done: before", "succeeded: done: after"],
        "the ends on a worker that signs with the old key"
      )
      yield* kit.within(1_000, first.shutdown, "the end of the first worker")
      yield* worker(kit, work, done, next, old)
      const last = yield* before.run(work.enqueue("last"))
      Check.equal(yield* kit.outcome(last), "succeeded: done: last", "the end on a worker that signs with the new key")
    })),

  define("a result that was not signed with our keys is not handed out", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work()
      const { client, run } = yield* producer(kit, [ours])
      const job = yield* run(work.enqueue("one"))
      const waiting = yield* Effect.forkChild(Effect.exit(job.await), { startImmediately: true })
      const forged: JobRecord = {
        version: 1,
        id: job.id,
        queue: kit.queue,
        task: "Work",
        state: "succeeded",
        attempts: 1,
        finishedAt: yield* kit.now,
        reason: undefined,
        message: undefined,
        contentType: "application/json",
        value: new TextEncoder().encode(`"forged"`),
        timeToLive: 60_000,
        valueTimeToLive: 60_000,
        replyTo: client.id,
        signature: undefined
      }
      yield* kit.transport.log.withdraw(kit.queue, [forged])
      const exit = yield* kit.within(5_500, Fiber.join(waiting), "the end of the wait")
      Check.isTrue(String(exit).includes("ResultUnreadable"), `the wait ended with ${String(exit)}`)
      const polled = yield* Effect.flip(job.poll)
      Check.equal(polled._tag, "ResultUnreadable", "the error of poll")
    })),

  define("a replay verifies the letter first, and signs what it enqueues", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work({ maxAttempts: 1 })
      let repaired = false
      yield* worker(kit, work, (run) => repaired ? done(run) : Effect.fail("broken"), ours)
      const honest = yield* producer(kit, [ours])
      const stranger = yield* producer(kit, [])
      const job = yield* honest.run(work.enqueue("one", { id: "one" }))
      yield* stranger.run(work.enqueue("two", { id: "two" }))
      Check.equal(yield* kit.outcome(job), "error: broken", "the end of the job")
      yield* kit.within(1_000, honest.client.job(kit.queue, "two").awaitRecord, "the end of the forgery")
      repaired = true
      const replayed = yield* Effect.provide(DeadLetter.replay(kit.queue, ["one", "two"]), signedWith(ours))
      Check.equal(replayed, ["done", "refused"], "answers of replay")
      const record = yield* kit.within(1_000, honest.client.job(kit.queue, "one").awaitRecord, "the end of the replay")
      Check.equal(record.state, "succeeded", "the state after the replay")
      Check.equal(yield* reasonsOf(kit), ["two Signature"], "dead letters left")
    })),

  define("a cancel is signed like any other record", (kit) =>
    Effect.gen(function*() {
      const ours = yield* key("ours")
      const work = kit.work()
      const { client, run } = yield* producer(kit, [ours])
      const job = yield* run(work.enqueue("one"))
      Check.equal(yield* run(job.cancel), "cancelled", "the answer of cancel")
      const record = Check.present(
        (yield* job.record)._tag === "Some" ? yield* job.awaitRecord : undefined,
        "the record"
      )
      Check.equal(client.signing?.verifyRecord(record), undefined, "what is wrong with its signature")
    }))
]
