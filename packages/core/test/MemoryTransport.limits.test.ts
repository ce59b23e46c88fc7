import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { execFile } from "node:child_process"
import * as Broker from "../src/internal/memory/broker.ts"
import * as MemoryLog from "../src/internal/memory/log.ts"
import * as MemoryStore from "../src/internal/memory/store.ts"
import type { Delivery } from "../src/JobLog.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { bytes, Kit, lease, virtualTime } from "../src/testing/conformance/kit.ts"
import { Transport } from "../src/Transport.ts"

const makeKit = Effect.map(Transport, (transport) => new Kit(transport, virtualTime, "queue"))

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** The parts of a broker, to look inside. */
const opened = Effect.map(Broker.make, (broker) => {
  const tables = new MemoryStore.Tables(broker)
  const kit = new Kit(
    {
      name: "memory",
      capabilities: {
        durability: "none",
        fencedSettle: true,
        keyedPriority: true,
        durableDeliveryCount: true,
        maxMessageBytes: undefined
      },
      clock: Effect.sync(() => broker.now()),
      log: MemoryLog.make(broker),
      store: MemoryStore.make(broker, tables),
      bus: { publish: () => Effect.void, subscribe: () => Effect.void }
    },
    virtualTime,
    "queue"
  )
  return { broker, kit, tables }
})

describe("load", () => {
  it.effect("100,000 jobs due in the same millisecond are handed out at once", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe({ lease: 30_000 })
      const [head, ...tail] = Array.from({ length: 100_000 }, () => kit.envelope({ due: { _tag: "At", at: 5000 } }))
      yield* kit.send(head!, ...tail)
      const pull = yield* fork(subscription.pull(1000))
      yield* TestClock.adjust(4999)
      assert.isUndefined(pull.pollUnsafe())
      const start = performance.now()
      yield* TestClock.adjust(1)
      let count = (yield* Fiber.join(pull)).length
      while (count < 100_000) count += (yield* subscription.pull(1000)).length
      // a tenth of it on a quiet machine
      assert.isBelow(performance.now() - start, 3000)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("a key with 10,000 jobs, half of them withdrawn, takes no longer than others", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe()
      const envelopes = Array.from({ length: 10_000 }, () => kit.envelope({ key: "one" }))
      const [head, ...tail] = envelopes
      const start = performance.now()
      yield* kit.send(head!, ...tail)
      // from the end, so that a search from the front would take long
      const odd = envelopes.filter((_, index) => index % 2 === 1).reverse()
      for (const envelope of odd) yield* kit.log.withdraw(kit.queue, [kit.cancelled(envelope)])
      const order: Array<string> = []
      while (order.length < 5000) {
        const deliveries = yield* subscription.pull(10)
        assert.strictEqual(deliveries.length, 1)
        order.push(deliveries[0].envelope.id)
        yield* subscription.settle([kit.ack(deliveries[0])])
      }
      assert.isBelow(performance.now() - start, 3000)
      assert.deepStrictEqual(order, envelopes.filter((_, index) => index % 2 === 0).map(({ id }) => id))
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("10,000 keys do not slow each other down", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const subscription = yield* kit.subscribe()
      const [head, ...tail] = Array.from(
        { length: 20_000 },
        (_, index) => kit.envelope({ key: `key ${index % 10_000}` })
      )
      const start = performance.now()
      yield* kit.send(head!, ...tail)
      let count = 0
      while (count < 20_000) {
        const [first, ...others] = yield* subscription.pull(100)
        yield* subscription.settle([kit.ack(first), ...others.map((delivery) => kit.ack(delivery))])
        count += others.length + 1
      }
      assert.isBelow(performance.now() - start, 3000)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("waiting consumers take turns", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      const counts = [0, 0, 0, 0]
      for (const index of counts.keys()) {
        const subscription = yield* kit.subscribe()
        yield* Effect.forkScoped(
          Effect.forever(Effect.map(subscription.pull(1), () => void counts[index]!++)),
          { startImmediately: true }
        )
      }
      const [head, ...tail] = Array.from({ length: 40 }, () => kit.envelope())
      yield* kit.send(head!, ...tail)
      yield* kit.until(() => counts.reduce((sum, count) => sum + count) === 40, () => `only ${counts} were handed out`)
      for (const count of counts) assert.isAtLeast(count, 5)
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.live("a backlog does not keep the event loop from others", () =>
    Effect.gen(function*() {
      const kit = yield* makeKit
      let count = 0
      for (let index = 0; index < 2; index++) {
        const subscription = yield* kit.subscribe()
        yield* Effect.forkScoped(Effect.forever(Effect.map(subscription.pull(1), () => void count++)), {
          startImmediately: true
        })
      }
      let countAtTimer = Infinity
      setTimeout(() => {
        countAtTimer = count
      })
      const [head, ...tail] = Array.from({ length: 50_000 }, () => kit.envelope())
      yield* kit.send(head!, ...tail)
      while (count < 50_000) yield* Effect.sleep(5)
      assert.isBelow(countAtTimer, 50_000)
    }).pipe(Effect.provide(MemoryTransport.layer)))
})

describe("memory", () => {
  it.effect("everything that expires is forgotten, queues and collections included", () =>
    Effect.gen(function*() {
      const { broker, kit, tables } = yield* opened
      const scope = yield* Scope.make()
      const subscription = yield* Scope.provide(kit.subscribe(), scope)
      const [head, ...tail] = Array.from({ length: 1000 }, (_, index) => kit.envelope({ key: `key ${index % 50}` }))
      yield* kit.send(head!, ...tail)
      for (let count = 0; count < 1000;) {
        const [first, ...others] = yield* subscription.pull(64)
        const end = (delivery: Delivery, index: number) =>
          index % 10 === 0
            ? kit.bury(delivery, 120_000)
            : kit.ack(delivery, { timeToLive: 60_000, valueTimeToLive: 5000 })
        yield* subscription.settle([end(first, 0), ...others.map((delivery, index) => end(delivery, index + 1))])
        count += others.length + 1
      }
      for (let index = 0; index < 100; index++) {
        const collection = { name: "rows", queue: index % 2 === 0 ? undefined : kit.queue, listable: true }
        yield* kit.transport.store.put(collection, `row ${index}`, bytes("value"), { timeToLive: 10_000 + 500 * index })
        // written again and again, as a heartbeat: it must not leave anything behind each time
        for (let times = 0; times < 5; times++) {
          yield* kit.transport.store.put(collection, `row ${index}`, bytes("value"), { timeToLive: 10_000 })
        }
      }
      assert.isAtMost(broker.expiry.size, 1000 + 200 + 200)
      yield* kit.log.withdraw("nobody's", [kit.cancelled(kit.envelope({ queue: "nobody's" }))])
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust(10_000)
      assert.isTrue(tables.isEmpty)
      assert.isFalse(broker.timers.idle)
      yield* TestClock.adjust(61_000)
      assert.strictEqual(broker.queues.size, 1)
      yield* TestClock.adjust(60_000)
      assert.strictEqual(broker.queues.size, 0)
      assert.strictEqual(broker.expiry.size, 0)
      assert.isTrue(broker.timers.idle)
    }))

  it.effect("a removed row is found nowhere, and a row without a time to live stays", () =>
    Effect.gen(function*() {
      const { kit, tables } = yield* opened
      const collection = { name: "rows", queue: undefined, listable: true }
      const { store } = kit.transport
      yield* store.put(collection, "a", bytes("a"), { timeToLive: 1000 })
      yield* store.put(collection, "a", bytes("b"))
      yield* TestClock.adjust(10_000)
      assert.isFalse(tables.isEmpty)
      yield* store.remove(collection, "a")
      assert.isTrue(tables.isEmpty)
    }))

  it.effect("a broker with nothing to wait for has no timer", () =>
    Effect.gen(function*() {
      const { broker, kit } = yield* opened
      const subscription = yield* kit.subscribe()
      const pull = yield* fork(subscription.pull(1))
      yield* kit.breathe
      assert.isTrue(broker.timers.idle)
      yield* kit.send(kit.envelope())
      const [delivery] = yield* Fiber.join(pull)
      assert.isFalse(broker.timers.idle)
      yield* kit.settle(subscription, kit.drop(delivery))
      yield* TestClock.adjust(lease)
      assert.isTrue(broker.timers.idle)
      yield* kit.transport.store.put({ name: "a", queue: undefined, listable: false }, "a", bytes("a"))
      assert.isTrue(broker.timers.idle)
    }))

  it.live("an idle broker does not keep its process alive", () =>
    Effect.gen(function*() {
      const program = `
        import * as Effect from "effect/Effect"
        import * as ManagedRuntime from "effect/ManagedRuntime"
        import * as MemoryTransport from "${new URL("../src/MemoryTransport.ts", import.meta.url)}"
        import { Transport } from "${new URL("../src/Transport.ts", import.meta.url)}"
        const runtime = ManagedRuntime.make(MemoryTransport.layer)
        runtime.runFork(Effect.scoped(Effect.gen(function*() {
          const { log } = yield* Transport
          const options = { queue: "a", priorities: ["default"], consumer: "a", lease: 15000 }
          const subscription = yield* log.subscribe(options)
          console.log("pulling")
          yield* subscription.pull(1)
        })))
      `
      const output = yield* Effect.callback<string>((resume) => {
        const args = ["--input-type=module-typescript", "--eval", program]
        execFile(process.execPath, args, { cwd: import.meta.dirname, timeout: 10_000 }, (error, stdout, stderr) =>
          resume(Effect.succeed(error?.killed === true ? "killed" : stdout + stderr)))
      })
      assert.strictEqual(output, "pulling\n")
    }))
})
