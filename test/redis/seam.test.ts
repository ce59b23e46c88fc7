/**
 * What Redis adds to the promises of the seam: a full server, lost replies at
 * a chosen moment, a server that stands still.
 */
import { toBytes } from "@troupe/core/Envelope"
import type { Settlement } from "@troupe/core/JobLog"
import { Invariants } from "@troupe/core/testing"
import { Kit } from "@troupe/core/testing/conformance/kit"
import { Transport } from "@troupe/core/Transport"
import { TransportError } from "@troupe/core/TransportError"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import type { Scope } from "effect/Scope"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type Proxy, startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"
import { sent, watch } from "./fixtures/watched.ts"

let server: RedisServer
let proxy: Proxy
let admin: Redis
beforeEach(async () => {
  server = await startRedis()
  proxy = await startProxy(server.port)
  admin = new Redis(server.url)
})
afterEach(async () => {
  admin.disconnect()
  await proxy.close()
  await server.stop()
})

let count = 0
const live = { elapse: Effect.sleep, wait: Effect.sleep, slack: 2_000 }

/** Runs with a transport behind the proxy. The invariant checker judges what it came to. */
const run = (
  body: (kit: Kit, history: Invariants.Draft) => Effect.Effect<void, unknown, Scope>,
  host: Layer.Layer<never> = Layer.empty
) =>
  Effect.runPromise(
    Effect.gen(function*() {
      const history = Invariants.empty()
      yield* Effect.scoped(body(new Kit(watch(yield* Transport, history), live, `seam-${++count}`), history))
      yield* Invariants.verify(history, { tolerance: 50 })
    }).pipe(
      Effect.provide(Layer.provide(RedisTransport.layer({ url: `redis://127.0.0.1:${proxy.port}` }), host)),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
    )
  )

const settlements = ["ack", "bury", "drop", "forward"] as const

for (const kind of settlements) {
  test(`a lost reply to ${kind} does not change its answer`, () =>
    run((kit, history) =>
      Effect.gen(function*() {
        yield* kit.send(kit.envelope(), kit.envelope({ key: "k" }))
        // what is dropped without a record is gone
        if (kind === "drop") history.sent.forEach((one, n) => history.sent[n] = { ...one, accepted: false })
        const subscription = yield* kit.subscribe()
        const [one, two] = yield* kit.collect(subscription, 2)
        proxy.loseReplies(1)
        const batch: NonEmptyReadonlyArray<Settlement> = [kit[kind](one!), kit[kind](two!)]
        expect(yield* subscription.settle(batch)).toEqual(["settled", "settled"])
        if (kind === "forward") {
          const next = yield* kit.collect(subscription, 2)
          expect(next.map(({ envelope }) => envelope.revision)).toEqual([1, 1])
        }
        yield* kit.nothing(subscription, "nothing is repeated", 500)
      })
    ), 30_000)
}

test(
  "jobs of a lost reply are handed out again at once, and not counted",
  () =>
    run((kit, history) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe({ lease: 20_000 })
        for (const wait of [0, 100]) {
          const pull = yield* Effect.forkChild(subscription.pull(5), { startImmediately: true })
          yield* Effect.sleep(wait)
          const envelope = kit.envelope()
          proxy.cut()
          // the job is handed to the connection whose replies are lost
          yield* kit.send(envelope)
          const [delivery] = yield* Fiber.join(pull)
          expect([delivery.envelope.id, delivery.deliveries]).toEqual([envelope.id, 1])
          yield* kit.settle(subscription, kit.ack(delivery))
        }
        const pull = yield* Effect.forkChild(subscription.pull(5), { startImmediately: true })
        yield* Effect.sleep(100)
        proxy.loseReplies(1)
        const direct = kit.envelope({ id: "x" })
        sent(history, direct, Date.now(), false)
        // wakes the read: its reply is the one that is lost
        yield* Effect.promise(() =>
          admin.xadd(`troupe:1:q:{${kit.queue}}:s:default`, "*", ":x", Buffer.from(toBytes(direct)))
        )
        const [delivery] = yield* Fiber.join(pull)
        expect([delivery.envelope.id, delivery.deliveries]).toEqual(["x", 1])
      })
    ),
  30_000
)

test("a full server refuses new jobs and finishes the old ones", () =>
  run((kit) =>
    Effect.gen(function*() {
      yield* Effect.promise(() => admin.config("SET", "maxmemory", "12mb"))
      const body = new Uint8Array(2_000)
      let sent = 0
      let refusal: unknown
      while (refusal === undefined && sent < 20_000) {
        const batch = Array.from({ length: 50 }, (_, n) =>
          kit.envelope({
            body,
            key: n % 5 === 0 ? `key ${n}` : undefined,
            ...(n % 10 === 1 ? { due: { _tag: "After", after: 500 } } : {})
          }))
        const [head, ...tail] = batch
        const answers = yield* Effect.catch(kit.log.send([head!, ...tail]), (error) => Effect.succeed([error]))
        for (const answer of answers) {
          if (answer instanceof TransportError) {
            refusal = answer.reason._tag
          } else sent++
        }
      }
      expect(refusal).toBe("QueueFull")
      expect(sent).toBeGreaterThan(500)
      // a worker comes while the server is full, beyond doubt
      yield* Effect.promise(() => admin.config("SET", "maxmemory", "1mb"))
      const subscription = yield* kit.subscribe({ lease: 10_000 })
      let done = 0
      const record = new Uint8Array(3_000)
      while (done < sent) {
        const deliveries = yield* kit.patiently(subscription.pull(100), () => `only ${done} of ${sent} jobs came`)
        const [head, ...tail] = deliveries.map((delivery, n): Settlement =>
          delivery.envelope.attempt === 1 && n % 7 === 0
            ? kit.forward(delivery, { attempt: 2 })
            : kit.ack(delivery, { value: record, attempts: delivery.envelope.attempt })
        )
        const answers = yield* subscription.settle([head!, ...tail])
        expect(answers.every((answer) => answer === "settled")).toBe(true)
        done += [head!, ...tail].filter(({ _tag }) => _tag === "Ack").length
        if (done > 0) yield* subscription.extend(deliveries)
      }
      const stats = yield* kit.log.stats(kit.queue)
      expect([stats.queued, stats.running, stats.scheduled]).toEqual([0, 0, 0])
      const withdrawn = yield* kit.log.withdraw(kit.queue, [kit.cancelled(kit.envelope({ id: "other" }))])
      expect(withdrawn[0]!.state).toBe("cancelled")
    })
  ), 60_000)

test(
  "a server that stands still for longer than a lease leaves heartbeats the time to arrive",
  () =>
    run((kit) =>
      Effect.gen(function*() {
        // long enough for a process that stands still now and then
        const lease = 3_000
        const owner = yield* kit.subscribe({ lease })
        const others = [yield* kit.subscribe({ lease }), yield* kit.subscribe({ lease })]
        yield* kit.send(kit.envelope(), kit.envelope())
        const deliveries = yield* kit.collect(owner, 2)
        const pulls = yield* Effect.all(
          others.map((other) => Effect.forkChild(other.pull(2), { startImmediately: true }))
        )
        // all of them have called once
        yield* Effect.sleep(lease / 2)
        yield* owner.extend([deliveries[0]!, deliveries[1]!])
        server.signal("SIGSTOP")
        yield* Effect.sleep(lease + 1_500)
        server.signal("SIGCONT")
        yield* Effect.sleep(100)
        expect(yield* owner.extend([deliveries[0]!, deliveries[1]!])).toEqual(deliveries)
        yield* Effect.sleep(300)
        expect(pulls.map((pull) => pull.pollUnsafe())).toEqual([undefined, undefined])
        // and a silent owner loses them nevertheless
        const taken = yield* kit.patiently(Fiber.join(pulls[0]!), () => "the jobs of a silent owner do not come back")
          .pipe(
            Effect.raceFirst(kit.patiently(Fiber.join(pulls[1]!), () => "the jobs of a silent owner do not come back"))
          )
        expect(taken.length).toBeGreaterThan(0)
      })
    ),
  30_000
)

test(
  "a job behind its key that was withdrawn leaves nothing to a later one of its id",
  () =>
    run((kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        const [head, second, third, other] = [
          kit.envelope({ key: "k" }),
          kit.envelope({ key: "k" }),
          kit.envelope({ key: "k" }),
          kit.envelope({ key: "other" })
        ]
        yield* kit.send(head, second, third, other)
        const heads = yield* kit.collect(subscription, 2)
        yield* kit.log.withdraw(kit.queue, [kit.cancelled(second)])
        // its record expired
        yield* Effect.promise(() => admin.del(`troupe:1:q:{${kit.queue}}:t:${second.id}`))
        yield* Effect.sleep(2)
        yield* kit.send({ ...second, key: "other" })
        expect((yield* kit.log.stats(kit.queue)).queued).toBe(2)
        for (const one of heads.filter(({ envelope }) => envelope.id === head.id)) {
          yield* kit.settle(subscription, kit.ack(one))
        }
        const next = yield* kit.take(subscription)
        expect(next.envelope.id).toBe(third.id)
        yield* kit.settle(subscription, kit.ack(next))
        yield* kit.nothing(subscription, "the other key is busy", 200)
        for (const one of heads.filter(({ envelope }) => envelope.id === other.id)) {
          yield* kit.settle(subscription, kit.ack(one))
        }
        const last = yield* kit.take(subscription)
        expect([last.envelope.id, last.envelope.key]).toEqual([second.id, "other"])
        yield* kit.settle(subscription, kit.ack(last))
      })
    ),
  30_000
)

test("streams and groups are made anew when all data is lost", () =>
  run((kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      const pull = yield* Effect.forkChild(subscription.pull(5), { startImmediately: true })
      yield* Effect.sleep(100)
      yield* Effect.promise(() => admin.flushall())
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const [delivery] = yield* Fiber.join(pull)
      expect(delivery.envelope).toEqual(envelope)
      yield* kit.settle(subscription, kit.ack(delivery))
      expect((yield* kit.log.stats(kit.queue)).queued).toBe(0)
    })
  ), 30_000)

/** Whatever is allocated next is too much. */
const fill = Effect.promise(() => admin.config("SET", "maxmemory", "1mb"))

test(
  "on a full server workers stay alive, what is due starts, leases run out, and workers leave",
  () =>
    run((kit) =>
      Effect.gen(function*() {
        const key = `troupe:1:q:{${kit.queue}}:c`
        // long enough for a process that stands still now and then
        const lease = 2_000
        const silent = yield* kit.subscribe({ consumer: "silent", lease })
        const [first, delayed] = [kit.envelope(), kit.envelope({ due: { _tag: "After", after: 1_200 }, key: "k" })]
        yield* kit.send(first, delayed)
        yield* kit.take(silent)
        const takenAt = Date.now()
        yield* Effect.scoped(Effect.gen(function*() {
          const other = yield* kit.subscribe({ consumer: "other", lease })
          yield* fill
          const arrived = yield* kit.collect(other, 2)
          expect(arrived.map(({ envelope }) => envelope.id).sort()).toEqual([first.id, delayed.id].sort())
          expect(Date.now() - takenAt).toBeGreaterThanOrEqual(lease)
          // longer than their leases
          for (let round = 0; round < 6; round++) {
            yield* Effect.sleep(lease / 4)
            expect(yield* other.extend([arrived[0]!, arrived[1]!])).toEqual(arrived)
          }
          expect((yield* kit.log.stats(kit.queue)).consumers).toBe(2)
          // it leaves with both jobs in hand, one of each kind of stream
        }))
        expect(yield* Effect.promise(() => admin.hget(key, "other"))).toMatch(/ closed$/)
        for (const again of yield* kit.collect(silent, 2)) yield* kit.settle(silent, kit.ack(again))
      })
    ),
  30_000
)

test(
  "a pull that is interrupted at any moment ends at once, although its read could wait for seconds",
  () =>
    run((kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        for (let round = 0; round < 60; round++) {
          const pull = yield* Effect.forkChild(subscription.pull(5), { startImmediately: true })
          yield* Effect.sleep(round % 12)
          const before = Date.now()
          yield* Fiber.interrupt(pull)
          // a read waits for five seconds
          expect(Date.now() - before).toBeLessThan(4_000)
        }
        // and nothing of it is left behind
        const envelope = kit.envelope()
        yield* kit.send(envelope)
        expect((yield* kit.take(subscription)).deliveries).toBe(1)
      })
    ),
  30_000
)

// Redis 7.0 would crash if the read was ended while it is held back
test(
  "a pull is interrupted although its read is held back by a CLIENT PAUSE",
  () =>
    run((kit) =>
      Effect.gen(function*() {
        const subscription = yield* kit.subscribe()
        // it knows that there is nothing: the next pull begins with a read
        yield* kit.nothing(subscription, "nothing was sent", 300)
        yield* Effect.promise(() => admin.call("CLIENT", "PAUSE", "1500", "WRITE"))
        const pull = yield* Effect.forkChild(subscription.pull(5), { startImmediately: true })
        yield* Effect.sleep(100)
        const before = Date.now()
        yield* Fiber.interrupt(pull)
        expect(Date.now() - before).toBeLessThan(4_000)
        const envelope = kit.envelope()
        yield* kit.send(envelope)
        expect((yield* kit.take(subscription)).deliveries).toBe(1)
      })
    ),
  30_000
)

test("a clock that is set an hour forward and back again keeps no job waiting", () => {
  let offset = 0
  const settable = Layer.effect(
    Clock.Clock,
    Effect.map(Clock.Clock, (right): Clock.Clock => {
      const currentTimeMillisUnsafe = () => right.currentTimeMillisUnsafe() + offset
      const currentTimeNanosUnsafe = () => right.currentTimeNanosUnsafe() + BigInt(offset) * 1_000_000n
      return {
        currentTimeMillisUnsafe,
        currentTimeMillis: Effect.sync(currentTimeMillisUnsafe),
        currentTimeNanosUnsafe,
        currentTimeNanos: Effect.sync(currentTimeNanosUnsafe),
        monotonicTimeNanosUnsafe: () => right.monotonicTimeNanosUnsafe(),
        monotonicTimeNanos: right.monotonicTimeNanos,
        sleep: (duration) => right.sleep(duration)
      }
    })
  )
  return run((kit) =>
    Effect.gen(function*() {
      const subscription = yield* kit.subscribe()
      for (const next of [3_600_000, 0, -3_600_000, 0]) {
        yield* Effect.sync(() => void (offset = next))
        // the worker has looked at its clock
        yield* Effect.sleep(700)
        for (let n = 0; n < 3; n++) {
          yield* kit.send(kit.envelope())
          yield* kit.settle(subscription, kit.ack(yield* kit.take(subscription)))
        }
      }
    }), settable)
}, 60_000)
