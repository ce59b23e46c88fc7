/**
 * Promises about jobs that wait for their time and get another one, or are
 * taken back.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Due, Envelope } from "../../Envelope.ts"
import type { Delivery, Revised, Revision } from "../../JobLog.ts"
import * as Check from "../Check.ts"
import { after, type Case, define, defineHeld, type Kit, lease } from "./kit.ts"

/** A long time, ms: nothing that waits for so long is handed out in a case. */
const long = 600_000

const to = (envelope: Envelope, due: Due | undefined, changes: Partial<Envelope> = {}): Revision => ({
  _tag: "Reschedule",
  successor: { ...envelope, due, writtenAt: 2, ...changes, revision: envelope.revision + 1 }
})

const back = (kit: Kit, envelope: Envelope): Revision => ({
  _tag: "Unschedule",
  revision: envelope.revision,
  record: kit.cancelled(envelope)
})

const revise = (kit: Kit, revisions: NonEmptyReadonlyArray<Revision>, expected: ReadonlyArray<Revised>) =>
  Effect.map(
    kit.log.revise(kit.queue, revisions),
    (answers) => Check.equal(answers, expected, "answers of revise")
  )

const waiting = (kit: Kit, changes: Partial<Envelope> = {}) =>
  Effect.gen(function*() {
    const envelope = kit.envelope({ due: after(long), ...changes })
    yield* kit.send(envelope)
    return envelope
  })

/** Everything that is handed out from now on, with the time. Each is acknowledged. */
const watch = (kit: Kit) =>
  Effect.gen(function*() {
    const subscription = yield* kit.subscribe()
    const seen: Array<{ readonly delivery: Delivery; readonly at: number }> = []
    const step = Effect.gen(function*() {
      const [first, ...others] = yield* subscription.pull(50)
      const at = yield* kit.now()
      for (const delivery of [first, ...others]) seen.push({ delivery, at })
      yield* subscription.settle([kit.ack(first), ...others.map((one) => kit.ack(one))])
    })
    yield* Effect.forkScoped(Effect.forever(step), { startImmediately: true })
    return seen
  })

export const cases: ReadonlyArray<Case> = [
  defineHeld("a scheduled job comes at its new time, earlier or later, as it was", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      yield* waiting(kit, { due: after(long / 2) })
      const changes = { attempt: 3, deliveries: 2, lastError: "no paper", headers: { a: "b" }, maxAttempts: 4 }
      const envelope = yield* waiting(kit, changes)
      const revision = to(envelope, after(300))
      const before = yield* kit.now()
      yield* revise(kit, [revision], ["done"])
      const { delivery } = yield* kit.arrival(subscription, "a job that was rescheduled", {
        notBefore: before + 300,
        notAfter: (yield* kit.now()) + 300
      })
      Check.equal(delivery.envelope, revision._tag === "Reschedule" ? revision.successor : undefined, "its envelope")
      Check.equal(delivery.deliveries, 3, "its hand-outs")
      yield* kit.settle(subscription, kit.ack(delivery))

      const late = yield* waiting(kit, { due: after(2_000) })
      const at = (yield* kit.now()) + 3_000
      yield* revise(kit, [to(late, { _tag: "At", at })], ["done"])
      Check.equal((yield* kit.locate(late))?.dueAt, Math.ceil(at), "when it is due")
      const second = yield* kit.arrival(subscription, "a job that was postponed", { notBefore: at, notAfter: at })
      Check.equal([second.delivery.envelope.id, second.delivery.envelope.revision], [late.id, 1], "what came")
      yield* kit.settle(subscription, kit.ack(second.delivery))
      yield* kit.nothing(subscription, "it came once", 1_000)
    })),

  defineHeld("a job that is due now by its revision is handed out at once", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      for (const due of [undefined, { _tag: "At", at: 0 }, after(0)] as const) {
        const envelope = yield* waiting(kit)
        yield* revise(kit, [to(envelope, due)], ["done"])
        const delivery = yield* kit.take(subscription)
        Check.equal([delivery.envelope.id, delivery.envelope.revision], [envelope.id, 1], "what came")
        yield* kit.settle(subscription, kit.ack(delivery))
        Check.equal(yield* kit.place(envelope), "nowhere", "its place after the end")
      }
    })),

  defineHeld("a job can be rescheduled many times, and is one job all along", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      let envelope = yield* waiting(kit)
      for (const delay of [long / 2, long * 2, long / 10, long, long / 2, 2_000]) {
        yield* revise(kit, [to(envelope, after(delay))], ["done"])
        const { queued, scheduled } = yield* kit.log.stats(kit.queue)
        Check.equal([scheduled, queued], [1, 0], "scheduled and queued jobs")
        const page = yield* kit.log.list(kit.queue, "scheduled", { limit: 10 })
        Check.equal(page.items.map((one) => one.envelope.revision), [envelope.revision + 1], "the list")
        envelope = page.items[0]!.envelope
        Check.equal(yield* kit.log.send([envelope]), ["duplicate"], "an enqueue with its id")
      }
      yield* kit.time.elapse(2_000)
      const delivery = yield* kit.take(subscription)
      Check.equal(delivery.envelope.revision, 6, "its revision")
      yield* kit.settle(subscription, kit.ack(delivery))
      yield* kit.nothing(subscription, "it came once", 1_000)
    })),

  defineHeld("only jobs that wait for their time are changed", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const [over, dead, running] = [kit.envelope(), kit.envelope(), kit.envelope()]
      yield* kit.send(over, dead, running)
      const deliveries = yield* kit.collect(subscription, 3)
      const handOut = (envelope: Envelope) => deliveries.find((one) => one.envelope.id === envelope.id)!
      yield* kit.settle(subscription, kit.ack(handOut(over)))
      yield* kit.settle(subscription, kit.bury(handOut(dead)))
      const key = kit.name("key")
      const [plain, head, follower, chosen] = [
        kit.envelope(),
        kit.envelope({ key }),
        kit.envelope({ key }),
        kit.envelope({ due: after(50) })
      ]
      yield* kit.send(plain, head, follower, chosen)
      yield* kit.time.elapse(100)
      const all = [over, dead, running, plain, head, follower, chosen, kit.envelope()] as const
      const places = yield* Effect.forEach(all, (one) => kit.place(one))
      for (const make of [(one: Envelope) => to(one, after(long)), (one: Envelope) => back(kit, one)]) {
        const [first, ...others] = all.map(make)
        const expected = ["missing", "missing", ...Array.from({ length: 5 }, () => "superseded" as const), "missing"]
        yield* revise(kit, [first!, ...others], expected as ReadonlyArray<Revised>)
      }
      Check.equal(yield* Effect.forEach(all, (one) => kit.place(one)), places, "where they are")
      yield* kit.settle(subscription, kit.ack(handOut(running)))
      const next = yield* kit.collect(subscription, 3)
      Check.sameMembers(next.map((one) => one.envelope.id), [plain.id, head.id, chosen.id], "what comes")
      Check.equal(next.map((one) => one.envelope.revision), [0, 0, 0], "revisions")
      yield* Effect.forEach(next, (one) => kit.settle(subscription, kit.ack(one)))
      Check.equal((yield* kit.take(subscription)).envelope.id, follower.id, "what comes after the head")
    })),

  defineHeld("a job in another queue than the one that is named is refused", (kit) =>
    Effect.gen(function*() {
      const envelope = yield* waiting(kit)
      for (const revision of [to(envelope, undefined), back(kit, envelope)]) {
        const exit = yield* Effect.exit(kit.log.revise(kit.name("other"), [revision]))
        Check.equal(exit._tag, "Failure", "the answer")
      }
      Check.equal(yield* kit.place(envelope), "scheduled", "its place")
    })),

  defineHeld(
    "a repeat answers the same and adds nothing, another revision of the same is superseded",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const envelope = yield* waiting(kit)
        const revision = to(envelope, after(400))
        yield* revise(kit, [revision, revision], ["done", "done"])
        yield* revise(kit, [revision], ["done"])
        yield* revise(kit, [to(envelope, after(long)), to(envelope, undefined)], ["superseded", "superseded"])
        yield* revise(kit, [back(kit, envelope)], ["superseded"])
        yield* kit.time.elapse(500)
        yield* revise(kit, [revision], ["done"])
        const delivery = yield* kit.take(subscription)
        yield* revise(kit, [revision, to(delivery.envelope, undefined)], ["done", "superseded"])
        yield* kit.settle(subscription, kit.forward(delivery, { attempt: 2, due: after(300) }))
        yield* revise(kit, [revision], ["superseded"])
        yield* kit.time.elapse(300)
        yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription)))
        yield* revise(kit, [revision], ["missing"])
        yield* kit.nothing(subscription, "it is over", 1_000)

        const other = yield* waiting(kit)
        yield* revise(kit, [back(kit, other), back(kit, other)], ["done", "done"])
        yield* revise(kit, [to(other, undefined)], ["missing"])
      })
  ),

  defineHeld("of many that reschedule one revision, one does", (kit) =>
    Effect.gen(function*() {
      const seen = yield* watch(kit)
      const envelope = yield* waiting(kit)
      // long enough for all of them to ask
      const at = (yield* kit.now()) + 2_000
      const answers = yield* Effect.forEach(
        Array.from({ length: 10 }, (_, i) => i),
        (i) => kit.log.revise(kit.queue, [to(envelope, { _tag: "At", at: at + 100 * i })]),
        { concurrency: "unbounded" }
      )
      Check.equal(answers.filter(([answer]) => answer === "done").length, 1, "how many did")
      Check.equal(answers.filter(([answer]) => answer === "superseded").length, 9, "how many were told")
      const winner = answers.findIndex(([answer]) => answer === "done")
      yield* kit.time.elapse(3_300)
      yield* kit.until(() => seen.length > 0, () => "the job did not come")
      Check.between(seen[0]!.at, at + 100 * winner, at + 1_300 + kit.time.slack, "when it came")
      yield* kit.time.elapse(500)
      Check.equal(seen.length, 1, "how often it came")
    })),

  defineHeld(
    "rescheduling that races with the due time and with a pull moves the job, or says that it did not",
    (kit) =>
      Effect.gen(function*() {
        const seen = yield* watch(kit)
        const keys = [undefined, kit.name("key"), kit.name("key")]
        const envelopes = Array.from({ length: 30 }, (_, i) => kit.envelope({ due: after(20 + i), key: keys[i % 3] }))
        yield* kit.send(envelopes[0]!, ...envelopes.slice(1))
        const answers: Array<Revised> = []
        const dueAt: Array<number> = []
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
        for (const [index, envelope] of envelopes.entries()) {
          const at = Math.ceil(yield* kit.now()) + 400 + index
          dueAt.push(at)
          fibers.push(
            yield* Effect.forkChild(
              Effect.map(kit.log.revise(kit.queue, [to(envelope, { _tag: "At", at })]), ([answer]) => {
                answers[index] = answer!
              }),
              { startImmediately: true }
            )
          )
          yield* kit.time.elapse(1 + index % 3)
        }
        yield* Fiber.joinAll(fibers)
        yield* kit.time.elapse(1_500)
        yield* kit.until(() => seen.length >= 30, () => `only ${seen.length} of 30 jobs came`)
        yield* kit.time.elapse(300)
        for (const [index, envelope] of envelopes.entries()) {
          const own = seen.filter((one) => one.delivery.envelope.id === envelope.id)
          const revisions = own.map((one) => one.delivery.envelope.revision)
          Check.equal(revisions, [answers[index] === "done" ? 1 : 0], `revisions of a job that was ${answers[index]}`)
          if (answers[index] !== "done") continue
          Check.isTrue(own[0]!.at >= dueAt[index]!, `it came ${dueAt[index]! - own[0]!.at} ms before its new time`)
        }
      })
  ),

  defineHeld("taking back races with the due time: what was taken back never comes", (kit) =>
    Effect.gen(function*() {
      const seen = yield* watch(kit)
      const key = kit.name("key")
      const envelopes = Array.from(
        { length: 20 },
        (_, i) => kit.envelope({ due: after(20 + i), key: i % 2 === 0 ? undefined : key })
      )
      yield* kit.send(envelopes[0]!, ...envelopes.slice(1))
      const answers: Array<Revised> = []
      for (const envelope of envelopes) {
        answers.push((yield* kit.log.revise(kit.queue, [back(kit, envelope)]))[0]!)
        yield* kit.time.elapse(2)
      }
      yield* kit.time.elapse(1_000)
      const left = envelopes.filter((_, index) => answers[index] !== "done")
      yield* kit.until(() => seen.length >= left.length, () => `only ${seen.length} of ${left.length} jobs came`)
      yield* kit.time.elapse(300)
      Check.sameMembers(seen.map((one) => one.delivery.envelope.id), left.map(({ id }) => id), "what came")
      for (const [index, envelope] of envelopes.entries()) {
        const { state } = Check.present(yield* kit.storedRecord(envelope), "a record")
        Check.equal(state, answers[index] === "done" ? "cancelled" : "succeeded", `the end of a job: ${answers[index]}`)
      }
    })),

  defineHeld("rescheduling that races with a cancel does not bring the job back", (kit) =>
    Effect.gen(function*() {
      const seen = yield* watch(kit)
      for (let round = 0; round < 20; round++) {
        const envelope = yield* waiting(kit, { key: round % 4 < 2 ? undefined : kit.name("key") })
        const move = kit.log.revise(kit.queue, [to(envelope, round % 3 === 0 ? undefined : after(200))])
        const cancel = kit.log.withdraw(kit.queue, [kit.cancelled(envelope)])
        const both: ReadonlyArray<Effect.Effect<unknown, unknown>> = round % 2 === 0 ? [move, cancel] : [cancel, move]
        yield* Effect.all(both, { concurrency: 2 })
        const { state } = Check.present(yield* kit.storedRecord(envelope), "the record")
        if (state !== "cancelled") Check.isTrue(round % 3 === 0, `the job is ${state}`)
        else Check.equal(yield* kit.place(envelope), "nowhere", "where the job is")
      }
      yield* kit.time.elapse(1_000)
      for (const { delivery } of seen) {
        Check.equal(delivery.envelope.revision, 1, "the revision of a job that was faster than its cancel")
      }
    })),

  defineHeld(
    "jobs of a key come in the order in which they became due by their revisions",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const key = kit.name("key")
        // by the clock: a broker that takes its time does not change the order
        const start = Math.ceil(yield* kit.now()) + 1_500
        const at = (later: number): Due => ({ _tag: "At", at: start + later })
        const [a, b, c, d] = [after(long), at(300), after(long), at(long)].map((due) => kit.envelope({ key, due }))
        yield* kit.send(a!, b!, c!, d!)
        yield* revise(kit, [to(c!, at(450)), to(a!, at(0)), to(d!, at(150))], ["done", "done", "done"])
        for (const expected of [a!, d!, b!, c!]) {
          const delivery = yield* kit.arrival(subscription, "the next job of the key", {
            notBefore: 0,
            notAfter: (yield* kit.now()) + 2_500
          })
          Check.equal(delivery.delivery.envelope.id, expected.id, "the next job of the key")
          yield* kit.settle(subscription, kit.ack(delivery.delivery))
        }
      })
  ),

  defineHeld(
    "a head that waits for its retry keeps the turn of its key, whenever it is due",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        for (const [first, second] of [[long, 300], [2_500, 3_000], [long, 0]] as const) {
          const key = kit.name("key")
          const [head, follower] = [kit.envelope({ key }), kit.envelope({ key })]
          yield* kit.send(head, follower)
          const running = yield* kit.take(subscription)
          yield* kit.settle(subscription, kit.forward(running, { attempt: 2, due: after(first) }))
          const waits = Check.present(yield* kit.locate(head), "the head").envelope
          const before = yield* kit.now()
          yield* revise(kit, [to(waits, after(second))], ["done"])
          const { delivery } = yield* kit.arrival(subscription, "the head", {
            notBefore: before + second,
            notAfter: (yield* kit.now()) + second
          })
          Check.equal([delivery.envelope.id, delivery.envelope.revision], [head.id, 2], "who comes")
          yield* kit.nothing(subscription, "the head runs")
          yield* kit.settle(subscription, kit.ack(delivery))
          const next = yield* kit.take(subscription)
          Check.equal(next.envelope.id, follower.id, "who comes after the head")
          yield* kit.settle(subscription, kit.ack(next))
        }
      })
  ),

  defineHeld(
    "a head that is taken back while it waits for its retry lets its key go on",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const key = kit.name("key")
        const [head, follower] = [kit.envelope({ key }), kit.envelope({ key })]
        yield* kit.send(head, follower)
        yield* kit.settle(
          subscription,
          kit.forward(yield* kit.take(subscription), { attempt: 2, due: after(long) })
        )
        const waits = Check.present(yield* kit.locate(head), "the head").envelope
        yield* revise(kit, [back(kit, waits)], ["done"])
        Check.equal((yield* kit.take(subscription)).envelope.id, follower.id, "who comes")
        Check.equal(yield* kit.storedRecord(head), kit.cancelled(waits), "the record")
      })
  ),

  define("a rescheduled job that is lost with its worker comes again", (kit) =>
    Effect.gen(function*() {
      const [one, two] = [yield* kit.subscribe(), yield* kit.subscribe()]
      for (const key of [undefined, kit.name("key")]) {
        const envelope = yield* waiting(kit, { key })
        yield* revise(kit, [to(envelope, undefined)], ["done"])
        const before = yield* kit.now()
        const first = yield* kit.take(one)
        const { delivery } = yield* kit.reclaim(two, before, yield* kit.now())
        Check.equal(delivery.envelope.revision, 1, "revision")
        yield* kit.counted(delivery, first.deliveries + 1, before + lease, "hand-outs")
        yield* kit.settle(two, kit.ack(delivery))
      }
      yield* kit.nothing(two, "both are over", lease)
    })),

  defineHeld("what a revision must not be taken for: texts that look like one", (kit) =>
    Effect.gen(function*() {
      const text = `","n":7,"p":"{\\"n\\":7}`
      const subscription = yield* kit.subscribe()
      const envelope = yield* waiting(kit, {
        id: `${kit.name("job")}${text}`,
        key: text,
        headers: { n: "7", [text]: text, "\"n\":7,": "" },
        lastError: text
      })
      yield* revise(kit, [to({ ...envelope, revision: 7 }, undefined)], ["superseded"])
      yield* revise(kit, [to(envelope, after(long))], ["done"])
      yield* revise(kit, [to({ ...envelope, revision: 1 }, undefined)], ["done"])
      Check.equal((yield* kit.take(subscription)).envelope.revision, 2, "its revision")
    }))
]
