/**
 * Promises about jobs on their way: they are accepted once, arrive as they
 * were sent, never early, and to one consumer.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import type { Delivery } from "../../JobLog.ts"
import * as Check from "../Check.ts"
import { after, type Case, define, defineHeld, lease, reclaimTolerance } from "./kit.ts"

/** Whatever a broker might take for a part of its own language. */
export const weirdTexts = [
  "a|||b",
  "line\nbreak\r\n",
  "nul\0nul",
  "emoji 🦆 ünïcödé",
  "with spaces  and\ttabs ",
  "*",
  ">",
  "a.b.*.>",
  "{}{tag}",
  "a:b:c",
  "\"quoted\" \\ 'text'",
  "%s $1 ../..",
  "__proto__"
]

const ids = (deliveries: ReadonlyArray<Delivery>): ReadonlyArray<string> =>
  deliveries.map(({ envelope }) => envelope.id)

export const cases: ReadonlyArray<Case> = [
  defineHeld("a job arrives exactly as it was sent", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope({
        task: "Some/Task",
        key: kit.name("key"),
        contentType: "application/x-thing",
        headers: { traceparent: "00-aa-bb-01", empty: "", "Upper Case": "VaLuE\n\0", __proto__x: "ü" },
        enqueuedAt: 1_700_000_000_123,
        expiresAt: 4_000_000_000_000,
        maxAttempts: 7,
        replyTo: kit.name("client"),
        body: Uint8Array.from({ length: 256 }, (_, index) => index),
        attempt: 3,
        writtenAt: 1_700_000_000_456,
        unknownSince: 1_700_000_000_001,
        lastError: "Error: it\nbroke",
        prevTraceparent: "00-cc-dd-01",
        signature: "key1:c2lnbmF0dXJl"
      })
      yield* kit.send(envelope)
      const delivery = yield* kit.take(yield* kit.subscribe())
      Check.equal(delivery.envelope, envelope, "the envelope")
      Check.equal(delivery.deliveries, 1, "deliveries of a first hand-out")
    })),

  defineHeld("a body of 0 bytes and one of 1 MiB arrive byte for byte", (kit) =>
    Effect.gen(function*() {
      const limit = kit.transport.capabilities.maxMessageBytes
      const size = Math.min(1024 * 1024, limit === undefined ? Infinity : limit - 16 * 1024)
      const empty = kit.envelope({ body: new Uint8Array(0) })
      const large = kit.envelope({ body: Uint8Array.from({ length: size }, (_, index) => (index * 31) & 255) })
      yield* kit.send(empty, large)
      const deliveries = yield* kit.collect(yield* kit.subscribe(), 2)
      for (const envelope of [empty, large]) {
        const delivery = Check.present(deliveries.find((one) => one.envelope.id === envelope.id), envelope.id)
        Check.equal(delivery.envelope.body, envelope.body, `a body of ${envelope.body.length} bytes`)
      }
    })),

  defineHeld("an envelope above the declared limit is refused alone", (kit) =>
    Effect.gen(function*() {
      const limit = kit.transport.capabilities.maxMessageBytes
      if (limit === undefined) return
      const good = kit.envelope()
      const answers = yield* kit.log.send([kit.envelope({ body: new Uint8Array(limit + 1) }), good])
      Check.isTrue(typeof answers[0] === "object", `an envelope above ${limit} bytes was answered ${answers[0]}`)
      Check.equal(answers[1], "sent", "the answer to the envelope beside it")
      const delivery = yield* kit.take(yield* kit.subscribe())
      Check.equal(delivery.envelope.id, good.id, "the job that was handed out")
    })),

  defineHeld("ids, keys, queues and headers may hold any characters", (kit) =>
    Effect.gen(function*() {
      for (const weird of weirdTexts) {
        const envelope = kit.envelope({
          id: weird,
          queue: `${kit.name("queue")}${weird}`,
          task: weird,
          key: weird,
          replyTo: weird,
          headers: { header: weird },
          lastError: weird,
          prevTraceparent: weird
        })
        const what = JSON.stringify(weird)
        yield* kit.send(envelope)
        Check.equal(yield* kit.log.send([envelope]), ["duplicate"], `sending id ${what} again`)
        Check.equal(yield* kit.place(envelope), "queued", `the place of id ${what}`)
        const subscription = yield* kit.subscribe({ queue: envelope.queue })
        const delivery = yield* kit.take(subscription)
        Check.equal(delivery.envelope, envelope, `the envelope of id ${what}`)
        yield* kit.settle(subscription, kit.ack(delivery))
        Check.equal(yield* kit.storedRecord(envelope), kit.record(envelope), `the record of id ${what}`)
      }
    })),

  defineHeld("names that differ only in a delimiter do not meet", (kit) =>
    Effect.gen(function*() {
      const queue = kit.name("queue")
      const envelopes = ["a.b", "a:b", "a|b", "a b", "A.B", "a", "a.", "a.*", "a.>"].map((id) =>
        kit.envelope({ id, queue })
      )
      const [first, ...rest] = envelopes
      yield* kit.send(first!, ...rest)
      const deliveries = yield* kit.collect(yield* kit.subscribe({ queue }), envelopes.length)
      Check.sameMembers(ids(deliveries), envelopes.map(({ id }) => id), "ids handed out")
      const other = kit.envelope({ queue: `${queue}.x` })
      yield* kit.send(other)
      yield* kit.nothing(yield* kit.subscribe({ queue: `${queue}:x` }), "the job is of another queue")
    })),

  defineHeld(
    "a batch is answered in its order, duplicates in it and other queues included",
    (kit) =>
      Effect.gen(function*() {
        const one = kit.envelope()
        const two = kit.envelope()
        const elsewhere = kit.envelope({ id: one.id, queue: kit.name("other") })
        const answers = yield* kit.log.send([one, two, one, elsewhere, two])
        Check.equal(answers, ["sent", "sent", "duplicate", "sent", "duplicate"], "answers of send")
        const subscription = yield* kit.subscribe()
        Check.sameMembers(ids(yield* kit.collect(subscription, 2)), [one.id, two.id], "ids handed out")
        yield* kit.nothing(subscription, "duplicates are not queued")
        const delivery = yield* kit.take(yield* kit.subscribe({ queue: elsewhere.queue }))
        Check.equal(delivery.envelope, elsewhere, "the job of the other queue")
      })
  ),

  defineHeld("an id is taken while its job is scheduled, queued, running or recorded", (kit) =>
    Effect.gen(function*() {
      const again = (envelope: { readonly id: string }, where: string) =>
        Effect.map(
          kit.log.send([kit.envelope({ id: envelope.id })]),
          (answers) => Check.equal(answers, ["duplicate"], `sending an id again whose job is ${where}`)
        )
      const scheduled = kit.envelope({ due: after(60_000) })
      const queued = kit.envelope()
      yield* kit.send(scheduled, queued)
      yield* again(scheduled, "scheduled")
      yield* again(queued, "queued")
      const subscription = yield* kit.subscribe()
      const delivery = yield* kit.take(subscription)
      yield* again(queued, "running")
      yield* kit.settle(subscription, kit.ack(delivery))
      yield* again(queued, "succeeded")
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(scheduled)])
      yield* again(scheduled, "cancelled")
      yield* kit.nothing(subscription, "a duplicate is not queued")
    })),

  defineHeld("an id is free again when its record has expired", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const subscription = yield* kit.subscribe()
      const settledAt = yield* kit.now()
      yield* kit.settle(
        subscription,
        kit.ack(yield* kit.take(subscription), { timeToLive: 1500, valueTimeToLive: 1500 })
      )
      let answeredAt = settledAt
      const sentAgain = Effect.gen(function*() {
        const answers = yield* kit.log.send([envelope])
        answeredAt = yield* kit.now()
        return answers[0] === "sent"
      })
      yield* kit.eventually(sentAgain, "sending an id whose record has expired")
      Check.between(answeredAt - settledAt, 1500, Infinity, "ms that the record blocked its id")
      Check.equal((yield* kit.take(subscription)).envelope, envelope, "the second job of the id")
    })),

  defineHeld("of many senders of one id exactly one is answered sent", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      const answers = yield* Effect.all(
        Array.from({ length: 20 }, () => kit.log.send([envelope])),
        { concurrency: "unbounded" }
      )
      Check.equal(answers.flat().filter((answer) => answer === "sent").length, 1, "senders that were answered sent")
      const subscription = yield* kit.subscribe()
      yield* kit.take(subscription)
      yield* kit.nothing(subscription, "there is one job")
    })),

  defineHeld(
    "the higher priority is handed out first, and an unlisted one not at all",
    (kit) =>
      Effect.gen(function*() {
        const many = (priority: string) => Array.from({ length: 5 }, () => kit.envelope({ priority }))
        const [low, middle, high] = [many("low"), many("middle"), many("high")]
        yield* kit.send(kit.envelope({ priority: "other", id: "other" }), ...low, ...high, ...middle)
        const subscription = yield* kit.subscribe({ priorities: ["low", "middle", "high"] })
        const deliveries = yield* kit.collect(subscription, 15, 4)
        Check.sameMembers(ids(deliveries.slice(0, 5)), high.map(({ id }) => id), "the first five")
        Check.sameMembers(ids(deliveries.slice(5, 10)), middle.map(({ id }) => id), "the second five")
        Check.sameMembers(ids(deliveries.slice(10)), low.map(({ id }) => id), "the last five")
        yield* kit.nothing(subscription, "nobody asked for priority other")
        const other = yield* kit.take(yield* kit.subscribe({ priorities: ["other"] }))
        Check.equal(other.envelope.id, "other", "the job of priority other")
      })
  ),

  defineHeld("a pull waits for a job and takes at most as many as it asked for", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const waiting = yield* Effect.forkChild(subscription.pull(3), { startImmediately: true })
      yield* kit.breathe
      Check.isTrue(waiting.pollUnsafe() === undefined, "a pull answered although there was no job")
      const envelopes = Array.from({ length: 10 }, () => kit.envelope())
      const [head, ...tail] = envelopes
      yield* kit.send(head!, ...tail)
      const first = yield* kit.patiently(Fiber.join(waiting), () => "a waiting pull was not served")
      Check.between(first.length, 1, 3, "jobs of a pull(3)")
      const rest = yield* kit.collect(subscription, 10 - first.length, 3)
      Check.sameMembers(ids([...first, ...rest]), envelopes.map(({ id }) => id), "jobs of all pulls")
    })),

  define("an interrupted pull loses nothing", (kit) =>
    Effect.gen(function*() {
      const one = yield* kit.subscribe()
      const other = yield* kit.subscribe()
      const sent = new Set<string>()
      const received = new Set<string>()
      for (let round = 0; round < 10; round++) {
        const envelope = kit.envelope()
        sent.add(envelope.id)
        const pull = yield* Effect.forkChild(one.pull(1), { startImmediately: true })
        // interrupted before, while and after the job comes
        if (round % 2 === 0) yield* kit.breathe
        const sending = yield* Effect.forkChild(kit.send(envelope), { startImmediately: round % 3 === 0 })
        if (round % 5 === 0) yield* kit.breathe
        yield* Fiber.interrupt(pull)
        yield* Fiber.join(sending)
        const exit = yield* Fiber.await(pull)
        if (Exit.isFailure(exit)) continue
        received.add(exit.value[0].envelope.id)
        yield* one.settle([kit.ack(exit.value[0])])
      }
      const rest = yield* Effect.forkChild(
        Effect.forever(Effect.flatMap(other.pull(10), (deliveries) => {
          for (const id of ids(deliveries)) received.add(id)
          return other.settle([kit.ack(deliveries[0]), ...deliveries.slice(1).map((delivery) => kit.ack(delivery))])
        })),
        { startImmediately: true }
      )
      yield* kit.breathe
      // what was handed to a pull in the moment of its interruption comes back with its lease
      if (received.size < sent.size) yield* kit.time.elapse(lease + reclaimTolerance)
      yield* kit.until(() => received.size >= sent.size, () =>
        `${sent.size - received.size} of ${sent.size} jobs are lost`)
      Check.sameMembers(received, sent, "jobs handed out in spite of interruptions")
      yield* Fiber.interrupt(rest)
    })),

  define("closing a subscription loses nothing", (kit) =>
    Effect.gen(function*() {
      const envelopes = Array.from({ length: 6 }, () => kit.envelope())
      const [head, ...tail] = envelopes
      yield* kit.send(head!, ...tail)
      const scope = yield* Scope.make()
      const leaving = yield* Scope.provide(kit.subscribe(), scope)
      const before = yield* kit.now()
      const taken = yield* kit.collect(leaving, 2, 1)
      yield* Scope.close(scope, Exit.void)
      const staying = yield* kit.subscribe()
      const rest = yield* kit.collect(staying, 4)
      yield* staying.settle([kit.ack(rest[0]!), ...rest.slice(1).map((one) => kit.ack(one))])
      const times = { notBefore: before, notAfter: before + lease + reclaimTolerance }
      const { delivery } = yield* kit.arrival(staying, "a job of the closed subscription", times)
      Check.sameMembers(ids([delivery, yield* kit.take(staying)]), ids(taken), "jobs that the closed subscription held")
    })),

  defineHeld("a job goes to one of many consumers", (kit) =>
    Effect.gen(function*() {
      const subscriptions = yield* Effect.all(Array.from({ length: 20 }, () => kit.subscribe({ lease: 30_000 })))
      const received: Array<string> = []
      const pulls = yield* Effect.all(subscriptions.map((subscription) =>
        Effect.forkChild(
          Effect.forever(Effect.map(subscription.pull(3), (deliveries) => void received.push(...ids(deliveries)))),
          { startImmediately: true }
        )
      ))
      yield* kit.breathe
      const single = kit.envelope()
      yield* kit.send(single)
      yield* kit.until(() => received.length > 0, () => "the job was not handed out")
      yield* kit.time.wait(50)
      Check.equal(received, [single.id], "hand-outs of one job to 20 waiting consumers")
      const many = Array.from({ length: 100 }, () => kit.envelope())
      const [head, ...tail] = many
      yield* kit.send(head!, ...tail)
      yield* kit.until(() => received.length > 100, () => `only ${received.length - 1} of 100 jobs were handed out`)
      yield* kit.time.wait(50)
      Check.sameMembers(received, [single, ...many].map(({ id }) => id), "hand-outs to 20 consumers")
      yield* Fiber.interruptAll(pulls)
    })),

  defineHeld(
    "a job after a delay is handed out when it is due, never early, without any traffic",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const before = yield* kit.now()
        const envelope = kit.envelope({ due: after(2_000) })
        yield* kit.send(envelope)
        Check.equal(yield* kit.place(envelope), "scheduled", "the place of a delayed job")
        const accepted = yield* kit.now()
        const { delivery } = yield* kit.arrival(subscription, "a delayed job", {
          notBefore: before + 2_000,
          notAfter: accepted + 2_000
        })
        Check.equal(delivery.envelope, envelope, "the delayed job")
      })
  ),

  defineHeld(
    "a job at a time is handed out when it is due, never early; a past time means now",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        yield* kit.time.elapse(10)
        const now = yield* kit.now()
        const late = kit.envelope({ due: { _tag: "At", at: now - 5 } })
        const at = Math.ceil(now) + 700
        const early = kit.envelope({ due: { _tag: "At", at } })
        yield* kit.send(early, late)
        Check.equal((yield* kit.take(subscription)).envelope, late, "the job whose time is past")
        const { delivery } = yield* kit.arrival(subscription, "the job of a later time", {
          notBefore: at,
          notAfter: at
        })
        Check.equal(delivery.envelope, early, "the job whose time has come")
      })
  ),

  defineHeld(
    "jobs come in the order of their due times, and many of one time all come",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const now = yield* kit.now()
        const at = (milliseconds: number) => ({ _tag: "At" as const, at: Math.ceil(now) + milliseconds })
        const last = kit.envelope({ due: at(1200) })
        const crowd = Array.from({ length: 200 }, () => kit.envelope({ due: at(700) }))
        const first = kit.envelope({ due: at(400) })
        yield* kit.send(last, ...crowd, first)
        const times = { notBefore: at(400).at, notAfter: at(400).at }
        const { delivery } = yield* kit.arrival(subscription, "the first job", times)
        Check.equal(delivery.envelope.id, first.id, "the job that was due first")
        const crowdTimes = { notBefore: at(700).at, notAfter: at(700).at }
        const next = yield* kit.arrival(subscription, "the crowd", crowdTimes)
        yield* subscription.settle([kit.ack(delivery), kit.ack(next.delivery)])
        const others = yield* kit.collect(subscription, 199)
        Check.sameMembers(ids([next.delivery, ...others]), crowd.map(({ id }) => id), "jobs due in the same ms")
        yield* subscription.settle([kit.ack(others[0]!), ...others.slice(1).map((one) => kit.ack(one))])
        const end = yield* kit.arrival(subscription, "the last job", { notBefore: at(1200).at, notAfter: at(1200).at })
        Check.equal(end.delivery.envelope.id, last.id, "the job that was due last")
      })
  )
]
