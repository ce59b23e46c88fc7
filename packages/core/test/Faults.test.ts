/**
 * `Faults` itself: without a fault it is the transport inside, and each fault
 * does what it says.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { TestClock } from "effect/testing"
import { test } from "vitest"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { Faults, TransportConformance } from "../src/testing/index.ts"
import { Transport } from "../src/Transport.ts"
import { bareEnvelope, record } from "./samples.ts"

TransportConformance.suite({
  test,
  name: "memory behind Faults",
  layer: Layer.effect(Transport, Effect.map(Transport, (transport) => Faults.make(transport).transport)).pipe(
    Layer.provide(MemoryTransport.layer)
  ),
  clock: "virtual"
})

const lease = 1_000

/** A broker with one job, a consumer behind faults and one beside them. */
const setting = Effect.gen(function*() {
  const inner = yield* Transport
  const faults = Faults.make(inner)
  const { priority, queue } = bareEnvelope
  const subscribe = (log: typeof inner.log, consumer: string) =>
    log.subscribe({ queue, priorities: [priority], consumer, lease })
  const subscription = yield* subscribe(faults.transport.log, "faulty")
  const other = yield* subscribe(inner.log, "other")
  yield* inner.log.send([bareEnvelope])
  const state = Effect.map(inner.log.stats(queue), ({ queued, running }) => ({ queued, running }))
  return { faults, inner, subscription, other, state }
})

const broker = Effect.provide(MemoryTransport.layer)

it.effect("a crashed consumer pulls nothing more, keeps nothing and changes nothing", () =>
  Effect.gen(function*() {
    const { faults, other, state, subscription } = yield* setting
    const [delivery] = yield* subscription.pull(1)
    const waiting = yield* Effect.forkChild(subscription.pull(1), { startImmediately: true })
    yield* faults.crash("faulty")
    assert.deepStrictEqual(yield* subscription.extend([delivery]), [])
    const ack = { _tag: "Ack", delivery, record: { ...record, id: delivery.envelope.id } } as const
    assert.deepStrictEqual(yield* subscription.settle([ack]), ["superseded"])
    assert.deepStrictEqual(yield* state, { queued: 0, running: 1 })
    yield* TestClock.adjust(lease)
    // the pull that waited is gone from the broker: the job is there for others
    assert.deepStrictEqual(yield* state, { queued: 1, running: 0 })
    assert.strictEqual(waiting.pollUnsafe(), undefined)
    assert.strictEqual((yield* other.pull(1))[0].deliveries, 2)
    yield* Fiber.interrupt(waiting)
  }).pipe(broker))

it.effect("a lost request does nothing, a lost reply everything", () =>
  Effect.gen(function*() {
    const { faults, state, subscription } = yield* setting
    yield* faults.loseRequests(({ consumer, operation }) => consumer === "faulty" && operation === "pull")
    const request = yield* Effect.flip(subscription.pull(1))
    assert.strictEqual(request.reason._tag, "Unavailable")
    assert.deepStrictEqual(yield* state, { queued: 1, running: 0 })
    yield* faults.heal
    yield* faults.loseReplies(true)
    const reply = yield* Effect.flip(subscription.pull(1))
    assert.strictEqual(reply.reason._tag, "Unavailable")
    assert.deepStrictEqual(yield* state, { queued: 0, running: 1 })
  }).pipe(broker))

it.effect("a stalled call waits, and runs when the fault is lifted", () =>
  Effect.gen(function*() {
    const { faults, state, subscription } = yield* setting
    yield* faults.stall(({ operation }) => operation === "pull")
    const pull = yield* Effect.forkChild(subscription.pull(1), { startImmediately: true })
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(pull.pollUnsafe(), undefined)
    assert.deepStrictEqual(yield* state, { queued: 1, running: 0 })
    yield* faults.stall(false)
    assert.strictEqual((yield* Fiber.join(pull)).length, 1)
  }).pipe(broker))

it.effect("lost pushes do not reach the listeners of the wrapper", () =>
  Effect.gen(function*() {
    const { faults, inner } = yield* setting
    const heard: Array<string> = []
    yield* faults.transport.bus.subscribe(["topic"], ({ topic }) => void heard.push(`faulty ${topic[1]}`))
    yield* inner.bus.subscribe(["topic"], ({ topic }) => void heard.push(`other ${topic[1]}`))
    yield* faults.losePushes(({ topic }) => topic[1] === "lost")
    yield* inner.bus.publish(["topic", "lost"], new Uint8Array(0))
    yield* inner.bus.publish(["topic", "kept"], new Uint8Array(0))
    assert.deepStrictEqual(heard.sort(), ["faulty kept", "other kept", "other lost"])
  }).pipe(broker))

it.effect("a repeated settlement has the answer of the first", () =>
  Effect.gen(function*() {
    const { faults, subscription } = yield* setting
    yield* faults.repeatSettlements(true)
    const [delivery] = yield* subscription.pull(1)
    const ack = { _tag: "Ack", delivery, record: { ...record, id: delivery.envelope.id } } as const
    assert.deepStrictEqual(yield* subscription.settle([ack]), ["settled"])
  }).pipe(broker))
