/**
 * Promises about the end of a delivery: one record, one successor per
 * revision, the same answer to a repeated question.
 */
import * as Effect from "effect/Effect"
import type { Delivery, Settlement, Subscription } from "../../JobLog.ts"
import * as Check from "../Check.ts"
import { after, bytes, type Case, define, defineHeld, type Kit } from "./kit.ts"

/** A hand-out whose lease ran out, and the one of the same job that came after it. */
const losesLease = (kit: Kit, stale: Subscription, fresh: Subscription) =>
  Effect.gen(function*() {
    const envelope = kit.envelope()
    yield* kit.send(envelope)
    const before = yield* kit.now()
    const old = yield* kit.take(stale)
    const { delivery: current } = yield* kit.reclaim(fresh, before)
    Check.equal(current.envelope, envelope, "the job that was handed out again")
    return { envelope, old, current }
  })

const settlementsOf = (kit: Kit): ReadonlyArray<readonly [string, (delivery: Delivery) => Settlement]> => [
  ["Ack", (delivery) => kit.ack(delivery)],
  ["Forward", (delivery) => kit.forward(delivery, { due: after(60_000) })],
  ["Bury", (delivery) => kit.bury(delivery)],
  ["Drop", (delivery) => kit.drop(delivery)]
]

export const cases: ReadonlyArray<Case> = [
  define("Ack creates the record and removes the job", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const delivery = yield* kit.take(subscription)
      Check.equal(yield* kit.storedRecord(envelope), undefined, "the record of a running job")
      const record = kit.record(envelope, {
        attempts: 3,
        finishedAt: 1_700_000_000_000,
        message: "a\nmessage",
        contentType: "application/x-thing",
        value: Uint8Array.from({ length: 256 }, (_, index) => index),
        replyTo: kit.name("client"),
        signature: "key1:sig"
      })
      yield* kit.settle(subscription, { _tag: "Ack", delivery, record })
      Check.equal(yield* kit.storedRecord(envelope), record, "the record")
      Check.equal(yield* kit.place(envelope), "nowhere", "the place of a job that is over")
      yield* kit.nothing(subscription, "the job is over", 2500)
    })),

  defineHeld("Drop removes the job and leaves no record", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      yield* kit.settle(subscription, kit.drop(yield* kit.take(subscription)))
      Check.equal(yield* kit.place(envelope), "nowhere", "the place of a dropped job")
      Check.equal(yield* kit.storedRecord(envelope), undefined, "the record of a dropped job")
      yield* kit.send(envelope)
      Check.equal((yield* kit.take(subscription)).deliveries, 1, "deliveries of a new job with the id")
    })),

  defineHeld("Forward replaces the job by its successor, as it was written", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope({ deliveries: 2 })
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe({ priorities: ["default", "high"] })
      const delivery = yield* kit.take(subscription)
      Check.equal(delivery.deliveries, 3, "deliveries with a base of 2")
      const forward = kit.forward(delivery, {
        priority: "high",
        attempt: 2,
        deliveries: 1,
        writtenAt: 77,
        unknownSince: 78,
        lastError: "boom",
        prevTraceparent: "00-cc-dd-01",
        signature: "key2:sig"
      })
      yield* kit.settle(subscription, forward)
      const next = yield* kit.take(subscription)
      Check.equal(next.envelope, forward._tag === "Forward" ? forward.successor : undefined, "the successor")
      Check.equal(next.deliveries, 2, "deliveries of a successor with a base of 1")
      yield* kit.nothing(subscription, "only the successor is left")
    })),

  defineHeld("a delayed successor is never early and is scheduled until then", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const delivery = yield* kit.take(subscription)
      const before = yield* kit.now()
      yield* kit.settle(subscription, kit.forward(delivery, { due: after(1500), attempt: 2 }))
      Check.equal(yield* kit.place(envelope), "scheduled", "the place of a job that waits for its retry")
      const times = { notBefore: before + 1500, notAfter: (yield* kit.now()) + 1500 }
      const arrival = yield* kit.arrival(subscription, "a retry", times)
      Check.equal(arrival.delivery.envelope.attempt, 2, "the attempt of the retry")
      Check.equal(arrival.delivery.deliveries, 1, "deliveries of the retry")
    })),

  defineHeld("Bury creates the record and keeps the envelope as a dead letter", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope({ headers: { a: "b" }, body: bytes("payload") })
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const delivery = yield* kit.take(subscription)
      const record = kit.failed(envelope, { reason: "Poison", message: "handed out 6 times" })
      yield* kit.settle(subscription, { _tag: "Bury", delivery, record, timeToLive: 60_000 })
      Check.equal(yield* kit.storedRecord(envelope), record, "the record")
      const letter = Check.present(yield* kit.locate(envelope), "the dead letter")
      Check.equal(letter.place, "dead", "the place of a buried job")
      Check.equal(letter.envelope, envelope, "the envelope of the dead letter")
      Check.equal(letter.record, record, "the record of the dead letter")
      yield* kit.nothing(subscription, "the job is dead")
    })),

  defineHeld("a repeated settlement gets the first answer and has no second effect", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      for (const [tag, make] of settlementsOf(kit)) {
        const envelope = kit.envelope()
        yield* kit.send(envelope)
        const settlement = make(yield* kit.take(subscription))
        const first = yield* subscription.settle([settlement])
        const repeats = yield* subscription.settle([settlement, settlement])
        Check.equal([...first, ...repeats], ["settled", "settled", "settled"], `answers to a repeated ${tag}`)
        const place = tag === "Forward" ? "scheduled" : tag === "Bury" ? "dead" : "nowhere"
        Check.equal(yield* kit.place(envelope), place, `the place after a repeated ${tag}`)
      }
      Check.equal((yield* kit.log.stats(kit.queue)).scheduled, 1, "successors of a repeated Forward")
    })),

  defineHeld("a repeated Forward does not bring back a job that has gone on", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const forward = kit.forward(yield* kit.take(subscription), { attempt: 2 })
      yield* kit.settle(subscription, forward)
      const next = yield* kit.take(subscription)
      Check.equal(next.envelope.revision, 1, "the revision of the successor")
      yield* subscription.settle([forward])
      yield* kit.nothing(subscription, "the successor runs")
      yield* kit.settle(subscription, kit.ack(next))
      yield* subscription.settle([forward])
      yield* kit.nothing(subscription, "the job is over")
      Check.equal(yield* kit.place(envelope), "nowhere", "the place of the job")
    })),

  defineHeld("a batch settles each delivery in its own way", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      yield* kit.send(kit.envelope(), kit.envelope(), kit.envelope(), kit.envelope(), kit.envelope())
      const deliveries = yield* kit.collect(subscription, 5)
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(deliveries[4]!.envelope)])
      const answers = yield* subscription.settle([
        kit.ack(deliveries[0]!),
        kit.forward(deliveries[1]!, { due: after(60_000) }),
        kit.bury(deliveries[2]!),
        kit.drop(deliveries[3]!),
        kit.ack(deliveries[4]!)
      ])
      Check.equal(answers, ["settled", "settled", "settled", "settled", "superseded"], "answers of settle")
      const places = yield* Effect.all(deliveries.map(({ envelope }) => kit.place(envelope)))
      Check.equal(places, ["nowhere", "scheduled", "dead", "nowhere", "nowhere"], "places after settle")
    })),

  define("whoever settles after the record exists is superseded and changes nothing", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      for (const [tag, make] of settlementsOf(kit)) {
        if (tag === "Drop") continue
        const envelope = kit.envelope()
        yield* kit.send(envelope)
        const delivery = yield* kit.take(subscription)
        const record = kit.cancelled(envelope)
        Check.equal(yield* kit.log.withdraw(kit.queue, [record]), [record], "the record that stands")
        yield* kit.settle(subscription, make(delivery), "superseded")
        yield* kit.settle(subscription, make(delivery), "superseded")
        Check.equal(yield* kit.storedRecord(envelope), record, `the record after a late ${tag}`)
        Check.equal(yield* kit.place(envelope), "nowhere", `the place after a late ${tag}`)
      }
      yield* kit.nothing(subscription, "all jobs are cancelled", 2500)
    })),

  defineHeld(
    "a settlement racing with a withdrawal leaves one record, and both answers agree with it",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        for (let round = 0; round < 20; round++) {
          const envelope = kit.envelope()
          yield* kit.send(envelope)
          const delivery = yield* kit.take(subscription)
          const settle = Effect.map(subscription.settle([kit.ack(delivery)]), ([answer]) => answer)
          const withdraw = Effect.map(
            kit.log.withdraw(kit.queue, [kit.cancelled(envelope)]),
            ([record]) => record?.state
          )
          const both = round % 2 === 0
            ? yield* Effect.all([settle, withdraw], { concurrency: 2 })
            : yield* Effect.map(Effect.all([withdraw, settle], { concurrency: 2 }), ([b, a]) => [a, b] as const)
          const standing = (yield* kit.storedRecord(envelope))?.state
          const expected = standing === "succeeded" ? ["settled", "succeeded"] : ["superseded", "cancelled"]
          Check.equal<ReadonlyArray<string | undefined>>(
            both,
            expected,
            `answers of settle and withdraw when the record is ${standing}`
          )
        }
      })
  ),

  define("a stale Ack does not win over the next hand-out", (kit) =>
    Effect.gen(function*() {
      const stale = yield* kit.subscribe()
      const fresh = yield* kit.subscribe()
      const { current, envelope, old } = yield* losesLease(kit, stale, fresh)
      const lateRecord = { value: bytes("late") }
      const answers = [...yield* stale.settle([kit.ack(old, lateRecord)])]
      if (kit.transport.capabilities.fencedSettle) {
        Check.equal(answers, ["superseded"], "answer to a stale Ack")
        Check.equal(yield* kit.storedRecord(envelope), undefined, "the record after a stale Ack")
        Check.equal(yield* fresh.extend([current]), [current], "deliveries that the new owner keeps")
        yield* kit.settle(fresh, kit.ack(current))
        Check.equal(yield* kit.storedRecord(envelope), kit.record(envelope), "the record")
        yield* kit.settle(stale, kit.ack(old, lateRecord), "superseded")
      } else {
        // the record decides: exactly one of the two is told that it won, and it is the one whose record stands
        answers.push(...yield* fresh.settle([kit.ack(current)]))
        const standing = Check.present(yield* kit.storedRecord(envelope), "the record")
        const late = standing.value.length === lateRecord.value.length
        Check.equal(answers, late ? ["settled", "superseded"] : ["superseded", "settled"], "answers of both owners")
      }
      yield* kit.nothing(fresh, "the job is over", 2500)
    })),

  define("a revision has at most one successor", (kit) =>
    Effect.gen(function*() {
      const stale = yield* kit.subscribe()
      const fresh = yield* kit.subscribe()
      const { current, envelope, old } = yield* losesLease(kit, stale, fresh)
      const answers = [
        ...yield* stale.settle([kit.forward(old, { attempt: 2, lastError: "stale" })]),
        ...yield* fresh.settle([kit.forward(current, { attempt: 2, lastError: "fresh" })])
      ]
      Check.equal(answers.filter((answer) => answer === "settled").length, 1, "successors that were accepted")
      if (kit.transport.capabilities.fencedSettle) Check.equal(answers[1], "settled", "the answer to the new owner")
      const next = yield* kit.take(fresh)
      Check.equal(next.envelope.revision, 1, "the revision of the successor")
      Check.equal(
        next.envelope.lastError,
        answers[0] === "settled" ? "stale" : "fresh",
        "the successor that was accepted"
      )
      yield* kit.nothing(fresh, "there is one successor")
      yield* kit.settle(fresh, kit.ack(next))
      yield* stale.settle([kit.forward(old, { attempt: 2, lastError: "stale" })])
      yield* kit.nothing(fresh, "the job is over", 2500)
      Check.equal(yield* kit.place(envelope), "nowhere", "the place of the job")
    }))
]
