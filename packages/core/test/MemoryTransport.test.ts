import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { resultsTopic } from "../src/Bus.ts"
import type { Delivery } from "../src/JobLog.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { after, bytes, Kit, lease, virtualTime } from "../src/testing/conformance/kit.ts"
import { Transport } from "../src/Transport.ts"
import { TransportError } from "../src/TransportError.ts"

const makeKit = Effect.map(Transport, (transport) => new Kit(transport, virtualTime, "queue"))

const ids = (deliveries: ReadonlyArray<Delivery>): ReadonlyArray<string> =>
  deliveries.map(({ envelope }) => envelope.id)

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** Names the reason of a failed operation. */
const reasonOf = <A>(effect: Effect.Effect<A, unknown>) =>
  Effect.match(effect, {
    onSuccess: () => "none",
    onFailure: (error) => error instanceof TransportError ? error.reason._tag : String(error)
  })

describe("crash", () => {
  it.effect("a crashed worker is not heard any more, and its leases run out by themselves", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const crashed = yield* kit.subscribe({ consumer: "crashed" })
      const other = yield* kit.subscribe({ consumer: "other" })
      yield* kit.send(kit.envelope(), kit.envelope(), kit.envelope())
      const [one, two, three] = yield* kit.collect(crashed, 3)
      yield* kit.settle(crashed, kit.ack(one!))
      const pull = yield* fork(crashed.pull(1))
      yield* MemoryTransport.crash("crashed")
      const later = yield* fork(crashed.pull(1))
      yield* TestClock.adjust(lease - 1)
      assert.deepStrictEqual(yield* crashed.extend([two!, three!]), [])
      yield* kit.settle(crashed, kit.ack(two!), "superseded")
      // what the broker answered before is answered differently now: nobody hears it
      yield* kit.settle(crashed, kit.ack(one!), "superseded")
      assert.isUndefined(yield* kit.storedRecord(two!.envelope))
      yield* kit.nothing(other, "the leases of the crashed worker still run", 0)
      yield* TestClock.adjust(1)
      const again = yield* kit.collect(other, 2)
      assert.deepStrictEqual(ids(again), [two!.envelope.id, three!.envelope.id])
      assert.deepStrictEqual(again.map(({ deliveries }) => deliveries), [2, 2])
      yield* kit.send(kit.envelope())
      yield* kit.take(other)
      assert.isUndefined(pull.pollUnsafe())
      assert.isUndefined(later.pollUnsafe())
      yield* Fiber.interruptAll([pull, later])
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("a worker that comes back with its name works", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      yield* kit.subscribe({ consumer: "worker" })
      yield* MemoryTransport.crash("worker")
      const subscription = yield* kit.subscribe({ consumer: "worker" })
      yield* kit.send(kit.envelope())
      yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription)))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("the lease of a crashed worker counts until its deliveries ran out", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const crashed = yield* kit.subscribe({ consumer: "crashed", lease: 3 * lease })
      const other = yield* kit.subscribe({ consumer: "other" })
      yield* kit.send(kit.envelope())
      const taken = yield* kit.take(crashed)
      yield* MemoryTransport.crash("crashed")
      assert.strictEqual((yield* kit.log.stats(kit.queue)).consumers, 2)
      const again = yield* kit.arrival(other, "the job of the crashed worker", {
        notBefore: 3 * lease,
        notAfter: 3 * lease
      })
      assert.strictEqual(again.delivery.envelope.id, taken.envelope.id)
      assert.strictEqual((yield* kit.log.stats(kit.queue)).consumers, 1)
      yield* kit.arrival(other, "a job whose lease ran out", { notBefore: 4 * lease, notAfter: 4 * lease })
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("the lease of a worker that leaves does not count any more", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const staying = yield* kit.subscribe()
      const scope = yield* Scope.make()
      yield* Scope.provide(kit.subscribe({ lease: 30 * lease }), scope)
      yield* kit.send(kit.envelope())
      yield* kit.take(staying)
      yield* TestClock.adjust(lease / 2)
      yield* Scope.close(scope, Exit.void)
      yield* kit.arrival(staying, "a job whose lease ran out", { notBefore: lease, notAfter: lease })
    }).pipe(Effect.provide(MemoryTransport.layer)))
})

describe("stall", () => {
  it.effect("every operation waits until the stall is over", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe()
      const pull = yield* fork(subscription.pull(1))
      yield* MemoryTransport.stall("5 seconds")
      const send = yield* fork(kit.send(kit.envelope({ due: after(1000) })))
      const read = yield* fork(kit.transport.store.get({ name: "a", queue: undefined, listable: false }, ["a"]))
      const publish = yield* fork(kit.transport.bus.publish(["a"], bytes("a")))
      yield* TestClock.adjust(4999)
      for (const fiber of [pull, send, read, publish]) assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Effect.all([Fiber.join(send), Fiber.join(read), Fiber.join(publish)])
      // due a second after it was accepted, not after it was sent
      yield* TestClock.adjust(999)
      assert.isUndefined(pull.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(pull)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("after a stall heartbeats get a round to arrive before leases are taken away", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const alive = yield* kit.subscribe()
      const silent = yield* kit.subscribe()
      const watcher = yield* kit.subscribe()
      yield* kit.send(kit.envelope(), kit.envelope(), kit.envelope({ due: after(500) }))
      const kept = yield* kit.take(alive)
      const lost = yield* kit.take(silent)
      const pull = yield* fork(watcher.pull(10))
      yield* MemoryTransport.stall(3 * lease)
      const heartbeat = yield* fork(alive.extend([kept]))
      yield* TestClock.adjust(3 * lease)
      assert.strictEqual((yield* Fiber.join(pull)).length, 1)
      assert.deepStrictEqual(yield* Fiber.join(heartbeat), [kept])
      const next = yield* kit.arrival(watcher, "the job of the silent worker", {
        notBefore: 3 * lease + lease / 3,
        notAfter: 3 * lease + lease / 3 + 1
      })
      assert.strictEqual(next.delivery.envelope.id, lost.envelope.id)
      yield* kit.nothing(watcher, "the other worker sent a heartbeat", lease / 2)
      assert.deepStrictEqual(yield* silent.extend([lost]), [])
      yield* kit.settle(alive, kit.ack(kept))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("a lease that ends just before the stall does gets its round as well", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const owner = yield* kit.subscribe()
      yield* kit.send(kit.envelope())
      const delivery = yield* kit.take(owner)
      const pull = yield* fork((yield* kit.subscribe()).pull(1))
      yield* MemoryTransport.stall(lease + 50)
      const heartbeat = yield* fork(Effect.andThen(Effect.sleep(lease + 100), owner.extend([delivery])))
      yield* TestClock.adjust(lease + 100)
      assert.deepStrictEqual(yield* Fiber.join(heartbeat), [delivery])
      assert.isUndefined(pull.pollUnsafe())
      yield* Fiber.interrupt(pull)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.live("an event loop that stalled longer than the lease does not cost a worker its leases", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const worker = yield* kit.subscribe()
      yield* kit.send(kit.envelope())
      const delivery = yield* kit.take(worker)
      // a heartbeat that needs a turn of the event loop comes after all timers that are due
      const heartbeat = Effect.sleep(lease / 3).pipe(
        Effect.andThen(Effect.yieldNow),
        Effect.andThen(worker.extend([delivery]))
      )
      const heartbeats = yield* fork(Effect.forever(heartbeat))
      const other = yield* fork((yield* kit.subscribe()).pull(1))
      yield* Effect.sleep(lease / 2)
      const until = performance.now() + 1.5 * lease
      while (performance.now() < until);
      yield* Effect.sleep(lease / 2)
      assert.isUndefined(other.pollUnsafe())
      assert.deepStrictEqual(yield* worker.settle([kit.ack(delivery)]), ["settled"])
      yield* Fiber.interruptAll([heartbeats, other])
    }).pipe(Effect.provide(MemoryTransport.layer)))
})

describe("time", () => {
  it.effect("everything happens in its millisecond, not before and not after", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe()
      const { store } = kit.transport
      const collection = { name: "rows", queue: undefined, listable: false }
      const delayed = kit.envelope({ due: after(1) })
      const [acked, buried] = [kit.envelope(), kit.envelope()]
      yield* store.put(collection, "row", bytes("x"), { timeToLive: 1500 })
      yield* kit.send(delayed, acked, buried)
      assert.strictEqual(yield* kit.place(delayed), "scheduled")
      const [one, two] = yield* kit.collect(subscription, 2)
      yield* kit.settle(subscription, kit.ack(one!, { timeToLive: 1500, valueTimeToLive: 700 }))
      yield* kit.settle(subscription, kit.bury(two!, 1500))
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* kit.place(delayed), "queued")
      yield* TestClock.adjust(698)
      assert.strictEqual((yield* kit.storedRecord(acked))?.value.length, 2)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* kit.storedRecord(acked))?.value.length, 0)
      yield* TestClock.adjust(799)
      assert.deepStrictEqual(yield* kit.log.send([acked]), ["duplicate"])
      assert.strictEqual(yield* kit.place(buried), "dead")
      assert.strictEqual((yield* store.get(collection, ["row"]))[0]?._tag, "Some")
      yield* TestClock.adjust(1)
      assert.isUndefined(yield* kit.storedRecord(acked))
      assert.deepStrictEqual(yield* kit.log.send([acked]), ["sent"])
      assert.strictEqual(yield* kit.place(buried), "nowhere")
      assert.strictEqual((yield* store.get(collection, ["row"]))[0]?._tag, "None")
      yield* store.put(collection, "row", bytes("y"), { ifRevision: 0 })
      // the sweep of the next full second is about the old record and row, not about the new ones
      const { envelope } = yield* kit.take(subscription)
      assert.strictEqual(envelope.id, delayed.id)
      const third = yield* kit.take(subscription)
      yield* kit.settle(subscription, kit.ack(third))
      yield* TestClock.adjust(5000)
      assert.isDefined(yield* kit.storedRecord(acked))
      assert.strictEqual((yield* store.get(collection, ["row"]))[0]?._tag, "Some")
    }).pipe(Effect.provide(MemoryTransport.layer)))
})

describe("misuse", () => {
  it.effect("a settlement that names another job, revision or key is refused and changes nothing", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe()
      yield* kit.send(kit.envelope({ key: "key" }))
      const delivery = yield* kit.take(subscription)
      const { envelope } = delivery
      const settle = (successor: typeof envelope) =>
        reasonOf(subscription.settle([kit.ack(delivery), { _tag: "Forward", delivery, successor }]))
      assert.strictEqual(yield* settle(envelope), "Refused")
      assert.strictEqual(yield* settle({ ...envelope, revision: 2 }), "Refused")
      assert.strictEqual(yield* settle({ ...envelope, revision: 1, id: "other" }), "Refused")
      assert.strictEqual(yield* settle({ ...envelope, revision: 1, key: "other" }), "Refused")
      const stray = { ...kit.record(envelope), id: "other" }
      assert.strictEqual(yield* reasonOf(subscription.settle([{ _tag: "Ack", delivery, record: stray }])), "Refused")
      assert.strictEqual(yield* reasonOf(kit.log.withdraw("other", [kit.cancelled(envelope)])), "Refused")
      const redrive = kit.log.redrive(kit.queue, [{ id: "other", as: envelope }])
      assert.strictEqual(yield* reasonOf(redrive), "Refused")
      assert.strictEqual(yield* reasonOf(kit.log.list(kit.queue, "running", { limit: 1, cursor: "x" })), "Refused")
      assert.isUndefined(yield* kit.storedRecord(envelope))
      yield* kit.settle(subscription, kit.ack(delivery))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("a consumer cannot settle or extend what another one holds", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const owner = yield* kit.subscribe()
      const thief = yield* kit.subscribe()
      yield* kit.send(kit.envelope())
      const delivery = yield* kit.take(owner)
      assert.deepStrictEqual(yield* thief.extend([delivery]), [])
      yield* kit.settle(thief, kit.ack(delivery), "superseded")
      const copy = { ...delivery }
      yield* kit.settle(owner, kit.ack(copy), "superseded")
      yield* kit.settle(owner, kit.ack(delivery))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("a listener that throws harms neither the publisher nor other listeners", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const { bus } = kit.transport
      let heard = 0
      const broken = () => {
        throw new Error("broken")
      }
      yield* bus.subscribe(resultsTopic("client"), broken)
      yield* bus.subscribe(resultsTopic("client"), () => void heard++)
      yield* bus.publish(resultsTopic("client"), bytes("x"))
      const subscription = yield* kit.subscribe()
      yield* kit.send(kit.envelope({ replyTo: "client" }), kit.envelope({ replyTo: "client" }))
      const [one, two] = yield* kit.collect(subscription, 2)
      const answers = yield* subscription.settle([kit.ack(one!), kit.ack(two!)])
      assert.deepStrictEqual(answers, ["settled", "settled"])
      // one message for both records
      assert.strictEqual(heard, 2)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("pulling from a closed subscription is interrupted", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const scope = yield* Scope.make()
      const subscription = yield* Scope.provide(kit.subscribe(), scope)
      const waiting = yield* fork(subscription.pull(1))
      yield* Scope.close(scope, Exit.void)
      const exits = [yield* Fiber.await(waiting), yield* Fiber.await(yield* fork(subscription.pull(1)))]
      for (const exit of exits) assert.isTrue(Exit.hasInterrupts(exit))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("two builds of the layer are two brokers", () =>
    Effect.gen(function*() {
      const build = Effect.provide(makeKit, MemoryTransport.layer, { local: true })
      const [one, other] = [yield* build, yield* build]
      const envelope = one.envelope()
      yield* one.send(envelope)
      assert.strictEqual(yield* one.place(envelope), "queued")
      assert.strictEqual(yield* other.place(envelope), "nowhere")
    }))
})
