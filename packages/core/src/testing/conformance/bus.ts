/**
 * Promises about broadcast: a message reaches whoever listens, and results are
 * pushed to the clients that wait for them.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { jobTopic, type Message, resultsTopic, type Topic } from "../../Bus.ts"
import * as JobRecord from "../../JobRecord.ts"
import * as Check from "../Check.ts"
import { bytes, type Case, defineHeld, type Kit } from "./kit.ts"
import { weirdTexts } from "./log.ts"

const listen = (kit: Kit, prefix: Topic) =>
  Effect.suspend(() => {
    const messages: Array<Message> = []
    return Effect.as(kit.transport.bus.subscribe(prefix, (message) => void messages.push(message)), messages)
  })

/** Waits until `count` messages came, and a little longer for one too many. */
const hear = (kit: Kit, messages: ReadonlyArray<Message>, count: number, what: string) =>
  Effect.gen(function*() {
    yield* kit.until(() => messages.length >= count, () => `${what}: heard ${messages.length} of ${count} messages`)
    yield* kit.time.wait(30)
    Check.equal(messages.length, count, what)
  })

const recordsIn = (messages: ReadonlyArray<Message>): ReadonlyArray<JobRecord.JobRecord> =>
  messages.flatMap(({ bytes }) => JobRecord.manyFromBytes(bytes))

export const cases: ReadonlyArray<Case> = [
  defineHeld("a message reaches every listener whose prefix it has, and no other", (kit) =>
    Effect.gen(function*() {
      const { bus } = kit.transport
      const root = kit.name("topic")
      const wide = yield* listen(kit, [root])
      const narrow = yield* listen(kit, [root, "a"])
      const twin = yield* listen(kit, [root, "a"])
      const exact = yield* listen(kit, [root, "a", "b"])
      const others = [
        yield* listen(kit, [root, "b"]),
        yield* listen(kit, [root, "a", "b", "c"]),
        yield* listen(kit, [`${root}.a`]),
        yield* listen(kit, ["a"])
      ]
      const message = { topic: [root, "a", "b"] as const, bytes: Uint8Array.from({ length: 256 }, (_, index) => index) }
      yield* bus.publish(message.topic, message.bytes)
      yield* hear(kit, wide, 1, "messages under the first word")
      for (const messages of [wide, narrow, twin, exact]) Check.equal(messages, [message], "what was heard")
      yield* bus.publish([root, "ab"], new Uint8Array(0))
      yield* hear(kit, wide, 2, "messages under the first word")
      Check.equal(wide[1], { topic: [root, "ab"], bytes: new Uint8Array(0) }, "a message without bytes")
      for (const messages of [narrow, exact]) Check.equal(messages.length, 1, "messages under other words")
      for (const messages of others) Check.equal(messages, [], "messages of other topics")
    })),

  defineHeld("topic words may hold any characters", (kit) =>
    Effect.gen(function*() {
      const { bus } = kit.transport
      const root = kit.name("topic")
      const everything = yield* listen(kit, [root])
      const listeners: Array<readonly [string, ReadonlyArray<Message>]> = []
      for (const weird of weirdTexts) listeners.push([weird, yield* listen(kit, [root, weird])])
      for (const weird of weirdTexts) yield* bus.publish([root, weird, weird], bytes(weird))
      yield* hear(kit, everything, weirdTexts.length, "messages with weird words")
      for (const [weird, messages] of listeners) {
        Check.equal(
          messages,
          [{ topic: [root, weird, weird], bytes: bytes(weird) }],
          `heard on ${JSON.stringify(weird)}`
        )
      }
    })),

  defineHeld("messages of one publisher keep their order", (kit) =>
    Effect.gen(function*() {
      const topic = [kit.name("topic"), "a"] as const
      const messages = yield* listen(kit, topic)
      for (let index = 0; index < 50; index++) yield* kit.transport.bus.publish(topic, bytes(String(index)))
      yield* hear(kit, messages, 50, "messages")
      const expected = Array.from({ length: 50 }, (_, index) => bytes(String(index)))
      Check.equal(messages.map((message) => message.bytes), expected, "messages in their order")
    })),

  defineHeld("a subscription is active when it returns and ends with its scope", (kit) =>
    Effect.gen(function*() {
      const { bus } = kit.transport
      const topic = [kit.name("topic")] as const
      const staying = yield* listen(kit, topic)
      for (let round = 1; round <= 10; round++) {
        const scope = yield* Scope.make()
        const leaving = yield* Scope.provide(listen(kit, topic), scope)
        yield* bus.publish(topic, bytes("during"))
        yield* kit.until(() => leaving.length > 0, () => "a message right after subscribing was not heard")
        yield* Scope.close(scope, Exit.void)
        yield* bus.publish(topic, bytes("after"))
        yield* kit.until(() => staying.length >= 2 * round, () => "the listener that stayed does not hear any more")
        Check.equal(leaving.length, 1, "messages heard by a listener that left")
      }
    })),

  defineHeld("the client that enqueued hears of the record, from settle and withdraw", (kit) =>
    Effect.gen(function*() {
      const client = kit.name("client")
      const mine = yield* listen(kit, resultsTopic(client))
      const others = yield* listen(kit, resultsTopic(kit.name("client")))
      const subscription = yield* kit.subscribe()
      const [acked, forwarded, buried, dropped, withdrawn] = [
        kit.envelope({ replyTo: client }),
        kit.envelope({ replyTo: client }),
        kit.envelope({ replyTo: client }),
        kit.envelope({ replyTo: client }),
        kit.envelope({ replyTo: client })
      ] as const
      yield* kit.send(acked, forwarded, buried, dropped, kit.envelope({ id: "silent" }))
      const deliveries = yield* kit.collect(subscription, 5)
      const of = (id: string) => Check.present(deliveries.find(({ envelope }) => envelope.id === id), `job ${id}`)
      const settlements = [
        kit.ack(of(acked.id)),
        kit.forward(of(forwarded.id)),
        kit.bury(of(buried.id)),
        kit.drop(of(dropped.id)),
        kit.ack(of("silent"))
      ] as const
      yield* subscription.settle(settlements)
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(withdrawn)])
      yield* kit.until(
        () => recordsIn(mine).length >= 3,
        () => `only ${recordsIn(mine).length} of 3 records were pushed`
      )
      yield* kit.time.wait(30)
      const pushed = new Map(recordsIn(mine).map((record) => [record.id, record]))
      Check.sameMembers([...pushed.keys()], [acked.id, buried.id, withdrawn.id], "jobs whose record was pushed")
      Check.equal(pushed.get(acked.id), kit.record(acked), "the record pushed by Ack")
      Check.equal(pushed.get(buried.id), kit.failed(buried), "the record pushed by Bury")
      Check.equal(pushed.get(withdrawn.id), kit.cancelled(withdrawn), "the record pushed by withdraw")
      Check.equal(others, [], "messages to another client")
      const count = recordsIn(mine).length
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(acked)])
      yield* kit.time.wait(30)
      Check.equal(recordsIn(mine).length, count, "records pushed by a withdrawal that came too late")
    })),

  defineHeld("whoever listens to a job hears of its record", (kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const [settled, withdrawn, other] = [
        kit.envelope(),
        kit.envelope({ replyTo: kit.name("client") }),
        kit.envelope()
      ]
      const first = yield* listen(kit, jobTopic(kit.queue, settled.id))
      const second = yield* listen(kit, jobTopic(kit.queue, withdrawn.id))
      yield* kit.send(settled, other)
      const deliveries = yield* kit.collect(subscription, 2)
      yield* subscription.settle([kit.ack(deliveries[0]!), kit.ack(deliveries[1]!)])
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(withdrawn)])
      yield* hear(kit, first, 1, "messages about a settled job")
      yield* hear(kit, second, 1, "messages about a withdrawn job")
      Check.equal(JobRecord.fromBytes(first[0]!.bytes), kit.record(settled), "the record of the settled job")
      Check.equal(JobRecord.fromBytes(second[0]!.bytes), kit.cancelled(withdrawn), "the record of the withdrawn job")
      Check.equal(first[0]!.topic, jobTopic(kit.queue, settled.id), "the topic of the message")
    }))
]
