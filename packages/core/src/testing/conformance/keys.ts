/**
 * Promises about keys: jobs of one key run one at a time, in the order in
 * which they became due, and hold up nobody else.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Envelope } from "../../Envelope.ts"
import type { Delivery, Settlement, Subscription } from "../../JobLog.ts"
import * as Check from "../Check.ts"
import { after, type Case, define, defineHeld, type Kit } from "./kit.ts"

const isOneOf = (delivery: Delivery, expected: Envelope, what: string): void =>
  Check.equal(delivery.envelope.id, expected.id, what)

/** A key with a head that runs and two followers. */
const withFollowers = (kit: Kit, subscription: Subscription) =>
  Effect.gen(function*() {
    const key = kit.name("key")
    const envelopes = [kit.envelope({ key }), kit.envelope({ key }), kit.envelope({ key })] as const
    yield* kit.send(...envelopes)
    const head = yield* kit.take(subscription)
    isOneOf(head, envelopes[0], "the head of the key")
    return { envelopes, head }
  })

export const cases: ReadonlyArray<Case> = [
  defineHeld(
    "jobs of a key are handed out one at a time, in the order in which they were sent",
    (kit) =>
      Effect.gen(function*() {
        const key = kit.name("key")
        const envelopes = Array.from({ length: 6 }, () => kit.envelope({ key }))
        for (const envelope of envelopes.slice(0, 3)) yield* kit.send(envelope)
        yield* kit.send(envelopes[3]!, envelopes[4]!, envelopes[5]!)
        const subscriptions = [yield* kit.subscribe(), yield* kit.subscribe()]
        for (const [index, envelope] of envelopes.entries()) {
          const subscription = subscriptions[index % 2]!
          const pulled = yield* kit.patiently(subscription.pull(10), () => `job ${index} of the key was not handed out`)
          Check.equal(pulled.map((one) => one.envelope.id), [envelope.id], `hand-outs while job ${index} is next`)
          if (index < 2) yield* kit.nothing(subscriptions[(index + 1) % 2]!, "a job of the key runs", 100)
          yield* kit.settle(subscription, kit.ack(pulled[0]))
        }
      })
  ),

  defineHeld(
    "a delivery follows only what its own subscription held just before, if it says so",
    (kit) =>
      Effect.gen(function*() {
        const key = kit.name("key")
        const [a, b, c, d, e] = Array.from({ length: 5 }, () => kit.envelope({ key }))
        yield* kit.send(a!, b!, c!, d!, e!)
        const one = yield* kit.subscribe({ turns: true })
        const other = yield* kit.subscribe({ turns: true })
        const turnIds = new Set<string>()
        const take = function*(subscription: Subscription, envelope: Envelope, before: Delivery | undefined) {
          const delivery = yield* kit.take(subscription)
          isOneOf(delivery, envelope, "the job whose turn it is")
          const { follows, turnId } = delivery
          if (follows !== undefined) Check.equal(follows, before?.turnId, "the delivery that it follows")
          if (turnId !== undefined) {
            Check.equal(turnIds.has(turnId), false, "whether the name of the turn was used before")
            turnIds.add(turnId)
          }
          return delivery
        }
        const first = yield* take(one, a!, undefined)
        yield* kit.settle(one, kit.ack(first))
        const second = yield* take(one, b!, first)
        yield* kit.settle(one, kit.ack(second))
        const third = yield* take(other, c!, undefined)
        yield* kit.settle(other, kit.forward(third, { due: undefined }))
        const again = yield* take(one, c!, undefined)
        yield* kit.settle(one, kit.ack(again))
        const fourth = yield* take(one, d!, again)
        yield* kit.log.withdraw(kit.queue, [kit.cancelled(d!)])
        yield* take(one, e!, fourth)
      })
  ),

  defineHeld("a busy key holds up only itself", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      yield* withFollowers(kit, subscription)
      const others = [
        kit.envelope(),
        kit.envelope({ key: kit.name("key") }),
        kit.envelope({ key: kit.name("key") })
      ] as const
      yield* kit.send(...others)
      const deliveries = yield* kit.collect(subscription, 3)
      Check.sameMembers(
        deliveries.map((one) => one.envelope.id),
        others.map(({ id }) => id),
        "jobs beside the busy key"
      )
      yield* kit.nothing(subscription, "the head of the key still runs", 100)
    })),

  defineHeld("the same key in two queues is two keys", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const { envelopes } = yield* withFollowers(kit, subscription)
      const elsewhere = kit.envelope({ key: envelopes[0].key, queue: kit.name("other") })
      yield* kit.send(elsewhere)
      isOneOf(
        yield* kit.take(yield* kit.subscribe({ queue: elsewhere.queue })),
        elsewhere,
        "the job of the other queue"
      )
    })),

  defineHeld("Forward keeps the turn of its key, at once and after a delay", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const { envelopes, head } = yield* withFollowers(kit, subscription)
      yield* kit.settle(subscription, kit.forward(head, { attempt: 2 }))
      const second = yield* kit.take(subscription)
      Check.equal([second.envelope.id, second.envelope.revision], [envelopes[0].id, 1], "the head after a retry")
      const before = yield* kit.now()
      yield* kit.settle(subscription, kit.forward(second, { attempt: 3, due: after(1500) }))
      yield* kit.nothing(subscription, "the head waits for its retry", 500)
      const times = { notBefore: before + 1500, notAfter: (yield* kit.now()) + 1500 }
      const third = yield* kit.arrival(subscription, "the retry of the head", times)
      Check.equal([third.delivery.envelope.id, third.delivery.envelope.revision], [envelopes[0].id, 2], "the head")
      yield* kit.settle(subscription, kit.ack(third.delivery))
      isOneOf(yield* kit.take(subscription), envelopes[1], "the job after the head")
    })),

  define("a head whose lease ran out comes before its followers", (kit) =>
    Effect.gen(function*() {
      const before = yield* kit.now()
      const { envelopes } = yield* withFollowers(kit, yield* kit.subscribe())
      const next = yield* kit.subscribe()
      const { delivery: again } = yield* kit.reclaim(next, before, yield* kit.now())
      isOneOf(again, envelopes[0], "the job that was handed out again")
      yield* kit.nothing(next, "the head runs again", 100)
      yield* kit.settle(next, kit.ack(again))
      isOneOf(yield* kit.take(next), envelopes[1], "the job after the head")
    })),

  defineHeld("a key goes on after Ack, Bury, Drop and withdrawal of its head", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const ends: ReadonlyArray<readonly [string, (delivery: Delivery) => Settlement | undefined]> = [
        ["Ack", (delivery) => kit.ack(delivery)],
        ["Bury", (delivery) => kit.bury(delivery)],
        ["Drop", (delivery) => kit.drop(delivery)],
        ["withdrawal", () => undefined]
      ]
      for (const [what, end] of ends) {
        const { envelopes, head } = yield* withFollowers(kit, subscription)
        const settlement = end(head)
        if (settlement === undefined) yield* kit.log.withdraw(kit.queue, [kit.cancelled(head.envelope)])
        else yield* kit.settle(subscription, settlement)
        const second = yield* kit.take(subscription)
        isOneOf(second, envelopes[1], `the job after ${what} of the head`)
        yield* kit.settle(subscription, kit.ack(second))
        const third = yield* kit.take(subscription)
        isOneOf(third, envelopes[2], "the last job of the key")
        yield* kit.settle(subscription, kit.ack(third))
      }
    })),

  defineHeld(
    "a withdrawn follower is never handed out, and one that was not handed out yet neither",
    (kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const { envelopes, head } = yield* withFollowers(kit, subscription)
        const record = kit.cancelled(envelopes[1])
        Check.equal(yield* kit.log.withdraw(kit.queue, [record]), [record], "the record that stands")
        Check.equal(yield* kit.place(envelopes[1]), "nowhere", "the place of a withdrawn follower")
        yield* kit.nothing(subscription, "the head still runs", 100)
        yield* kit.settle(subscription, kit.ack(head))
        isOneOf(yield* kit.take(subscription), envelopes[2], "the job after a withdrawn follower")
        const key = kit.name("key")
        const first = kit.envelope({ key, due: after(60_000) })
        const [queued, last] = [kit.envelope({ key }), kit.envelope({ key })]
        yield* kit.send(first, queued, last)
        yield* kit.log.withdraw(kit.queue, [kit.cancelled(queued), kit.cancelled(first)])
        isOneOf(yield* kit.take(subscription), last, "the job after a withdrawn head")
      })
  ),

  defineHeld("withdrawing a head that waits for its retry lets the key go on", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const { envelopes, head } = yield* withFollowers(kit, subscription)
      yield* kit.settle(subscription, kit.forward(head, { attempt: 2, due: after(60_000) }))
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(envelopes[0])])
      isOneOf(yield* kit.take(subscription), envelopes[1], "the job after the withdrawn head")
    })),

  defineHeld("a settlement of a withdrawn head does not let the key go on twice", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const { envelopes, head } = yield* withFollowers(kit, subscription)
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(head.envelope)])
      const second = yield* kit.take(subscription)
      yield* kit.settle(subscription, kit.ack(head), "superseded")
      yield* kit.nothing(subscription, "the second job of the key runs", 100)
      yield* kit.settle(subscription, kit.ack(second))
      isOneOf(yield* kit.take(subscription), envelopes[2], "the third job of the key")
    })),

  defineHeld("a delayed job joins its key when it is due", (kit) =>
    Effect.gen(function*() {
      const key = kit.name("key")
      const subscription = yield* kit.subscribe({ lease: 30_000 })
      const before = yield* kit.now()
      const delayed = kit.envelope({ key, due: after(700) })
      const prompt = kit.envelope({ key })
      yield* kit.send(delayed, prompt)
      const first = yield* kit.take(subscription)
      isOneOf(first, prompt, "the job that is due at once")
      yield* kit.nothing(subscription, "the delayed job is not due, or the key is busy", 800)
      const late = kit.envelope({ key })
      yield* kit.send(late)
      yield* kit.settle(subscription, kit.ack(first))
      const second = yield* kit.take(subscription)
      isOneOf(second, delayed, "the job that became due while the first one ran")
      Check.between((yield* kit.now()) - before, 700, Infinity, "ms until the delayed job was handed out")
      yield* kit.settle(subscription, kit.ack(second))
      isOneOf(yield* kit.take(subscription), late, "the job that was sent after the delayed one became due")
    })),

  defineHeld("jobs of a key keep their order across priorities", (kit) =>
    Effect.gen(function*() {
      const key = kit.name("key")
      const envelopes = ["low", "high", "low", "high"].map((priority) => kit.envelope({ key, priority }))
      const [head, ...tail] = envelopes
      const answers = yield* kit.log.send([head!, ...tail])
      const subscription = yield* kit.subscribe({ priorities: ["low", "high"] })
      const ordered = kit.transport.capabilities.keyedPriority
      const accepted = envelopes.filter((_, index) => answers[index] === "sent")
      if (ordered) Check.equal(answers, envelopes.map(() => "sent" as const), "answers of send")
      const order: Array<string> = []
      for (const _ of accepted) {
        const pulled = yield* kit.patiently(subscription.pull(10), () => "a job of the key was not handed out")
        Check.equal(pulled.length, 1, "jobs of one key that run at the same time")
        order.push(pulled[0].envelope.id)
        yield* kit.settle(subscription, kit.ack(pulled[0]))
      }
      // without the capability jobs of one key may overtake each other or be refused, but not run at the same time
      if (ordered) Check.equal(order, accepted.map(({ id }) => id), "order of the key")
      else Check.sameMembers(order, accepted.map(({ id }) => id), "jobs of the key")
    })),

  defineHeld("many keys keep their order under many consumers", (kit) =>
    Effect.gen(function*() {
      const keys = Array.from({ length: 30 }, () => kit.name("key"))
      const perKey = 6
      const envelopes = Array.from({ length: keys.length * perKey }, (_, index) =>
        kit.envelope({
          key: keys[index % keys.length],
          headers: { position: String(Math.floor(index / keys.length)) }
        }))
      const [head, ...tail] = envelopes
      yield* kit.send(head!, ...tail)
      const running = new Set<string>()
      const position = new Map<string, number>()
      const faults: Array<string> = []
      let done = 0
      const start = (delivery: Delivery) => {
        const key = delivery.envelope.key ?? ""
        const expected = position.get(key) ?? 0
        const actual = Number(delivery.envelope.headers["position"])
        if (running.has(key)) faults.push(`two jobs of ${key} run at the same time`)
        if (actual !== expected) faults.push(`job ${actual} of ${key} came when job ${expected} was next`)
        running.add(key)
      }
      const consume = (subscription: Subscription) =>
        Effect.forever(Effect.gen(function*() {
          const deliveries = yield* subscription.pull(4)
          deliveries.forEach(start)
          yield* kit.breathe
          // some first attempts fail: the retry keeps the place of the job
          const [settlement, ...others] = deliveries.map((delivery) => {
            const key = delivery.envelope.key ?? ""
            running.delete(key)
            const retry = delivery.envelope.attempt === 1 && delivery.envelope.id.endsWith("3")
            if (retry) return kit.forward(delivery, { attempt: 2 })
            position.set(key, Number(delivery.envelope.headers["position"]) + 1)
            done++
            return kit.ack(delivery)
          })
          yield* subscription.settle([settlement!, ...others])
        }))
      const consumers = yield* Effect.all(Array.from({ length: 4 }, () => kit.subscribe({ lease: 30_000 })))
      const fibers = yield* Effect.all(consumers.map((consumer) => Effect.forkChild(consume(consumer))))
      yield* kit.until(
        () => done === envelopes.length || faults.length > 0,
        () => `only ${done} of ${envelopes.length} jobs are done`
      )
      yield* Fiber.interruptAll(fibers)
      Check.equal(faults, [], "breaches of order or exclusivity")
    }))
]
