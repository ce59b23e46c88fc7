import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import type { Envelope } from "../src/Envelope.ts"
import type { Delivery, Settlement, Subscription } from "../src/JobLog.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { records } from "../src/Store.ts"
import { after, Kit, virtualTime } from "../src/testing/conformance/kit.ts"
import { Transport } from "../src/Transport.ts"

/** The same numbers for the same seed. */
const makeRandom = (seed: number) => {
  let state = seed * 2_654_435_761 + 1
  return (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

interface Sent {
  readonly envelope: Envelope
  readonly dueAt: number
  readonly index: number
}

const playGame = (seed: number) =>
  Effect.gen(function*() {
    const kit = new Kit(yield* Transport, virtualTime, "queue")
    const random = makeRandom(seed)
    const sent = new Map<string, Sent>()
    const started = new Set<string>()
    /** The job of each key that started last. */
    const last = new Map<string, Sent>()
    const settledRevisions = new Set<string>()
    const dropped = new Set<string>()
    let workers = 0
    const subscribe = () =>
      Effect.map(kit.subscribe({ consumer: `worker ${++workers}` }), (subscription) => ({
        name: `worker ${workers}`,
        subscription,
        held: [] as Array<Delivery>
      }))
    const consumers = [yield* subscribe(), yield* subscribe(), yield* subscribe()]

    const note = (deliveries: ReadonlyArray<Delivery>) => {
      for (const { envelope } of deliveries) {
        const job = sent.get(envelope.id)
        assert.isDefined(job)
        if (started.has(envelope.id) || envelope.key === undefined) continue
        started.add(envelope.id)
        const before = last.get(envelope.key)
        if (
          before !== undefined && (before.dueAt > job.dueAt || (before.dueAt === job.dueAt && before.index > job.index))
        ) {
          assert.fail(`seed ${seed}: job ${job.index} of ${envelope.key} started after job ${before.index}`)
        }
        last.set(envelope.key, job)
      }
    }

    const pullIfAny = (subscription: Subscription, max: number) =>
      Effect.gen(function*() {
        if ((yield* kit.log.stats(kit.queue)).queued === 0) return []
        // what is queued may be behind a busy key
        const pulled = yield* Effect.timeoutOption(subscription.pull(max), 1).pipe(
          Effect.forkChild({ startImmediately: true })
        )
        yield* TestClock.adjust(1)
        yield* kit.breathe
        const exit = pulled.pollUnsafe()
        return exit?._tag === "Success" ? Option.getOrElse(exit.value, () => []) : []
      })

    const check = Effect.gen(function*() {
      const all = [...sent.keys()]
      const [first, ...others] = all
      if (first === undefined) return
      const places = yield* kit.log.locate(kit.queue, [first, ...others])
      const rows = yield* kit.transport.store.get(records(kit.queue), all)
      for (const [index, id] of all.entries()) {
        const place = Option.getOrUndefined(places[index]!)?.place ?? "nowhere"
        const isOver = Option.isSome(rows[index]!) || dropped.has(id)
        const expected = isOver ? ["nowhere", "dead"] : ["scheduled", "queued", "running"]
        assert.include(expected, place, `seed ${seed}: job ${id} with ${isOver ? "a" : "no"} record`)
      }
      const running = yield* kit.log.list(kit.queue, "running", { limit: 1000 })
      const keys = running.items.flatMap(({ envelope }) => envelope.key ?? [])
      assert.strictEqual(new Set(keys).size, keys.length, `seed ${seed}: two jobs of a key run`)
      const stats = yield* kit.log.stats(kit.queue)
      const live = stats.scheduled + stats.queued + stats.running
      const located = places.filter((place) => Option.isSome(place) && place.value.place !== "dead")
      assert.strictEqual(live, located.length, `seed ${seed}: live jobs`)
    })

    const settlementOf = (delivery: Delivery): Settlement => {
      const kind = random(10)
      if (kind < 5) return kit.ack(delivery)
      if (kind < 6) return kit.bury(delivery)
      if (kind < 7) return kit.drop(delivery)
      return kit.forward(delivery, { due: kind === 7 ? after(random(1500)) : undefined })
    }

    const settle = (subscription: Subscription, delivery: Delivery) =>
      Effect.gen(function*() {
        const settlement = settlementOf(delivery)
        const [answer] = yield* subscription.settle([settlement])
        if (answer !== "settled") return
        const { id, revision } = delivery.envelope
        assert.isFalse(settledRevisions.has(`${id}/${revision}`), `seed ${seed}: ${id}/${revision} was settled twice`)
        settledRevisions.add(`${id}/${revision}`)
        if (settlement._tag === "Drop") dropped.add(id)
      })

    for (let step = 0; step < 150; step++) {
      const consumer = consumers[random(consumers.length)]!
      switch (random(9)) {
        case 0:
        case 1:
        case 2: {
          const now = yield* kit.now()
          const batch = Array.from({ length: 1 + random(4) }, () => {
            const delay = random(3) === 0 ? random(1500) : undefined
            const envelope = kit.envelope({
              key: random(2) === 0 ? undefined : `key ${random(3)}`,
              due: delay === undefined ? undefined : after(delay)
            })
            sent.set(envelope.id, { envelope, dueAt: now + (delay ?? 0), index: sent.size })
            return envelope
          })
          yield* kit.send(batch[0]!, ...batch.slice(1))
          break
        }
        case 3:
        case 4: {
          const deliveries = yield* pullIfAny(consumer.subscription, 1 + random(5))
          note(deliveries)
          consumer.held.push(...deliveries)
          break
        }
        case 5: {
          const delivery = consumer.held.splice(random(consumer.held.length + 1), 1)[0]
          if (delivery !== undefined) yield* settle(consumer.subscription, delivery)
          break
        }
        case 6: {
          const all = [...sent.values()]
          const job = all[random(all.length + 1)]
          if (job !== undefined && !dropped.has(job.envelope.id)) {
            yield* kit.log.withdraw(kit.queue, [kit.cancelled(job.envelope)])
          }
          break
        }
        case 7: {
          yield* TestClock.adjust(random(800))
          if (consumer.held.length > 0) {
            yield* consumer.subscription.extend([consumer.held[0]!, ...consumer.held.slice(1)])
          }
          break
        }
        case 8: {
          if (random(5) > 0) {
            break
          }
          yield* MemoryTransport.crash(consumer.name)
          consumers[consumers.indexOf(consumer)] = yield* subscribe()
          break
        }
      }
      yield* check
    }

    for (let round = 0; round < 500; round++) {
      const { scheduled, queued, running } = yield* kit.log.stats(kit.queue)
      if (scheduled + queued + running === 0) break
      yield* TestClock.adjust(50)
      const deliveries = yield* pullIfAny(consumers[0]!.subscription, 100)
      note(deliveries)
      for (const delivery of deliveries) yield* kit.settle(consumers[0]!.subscription, kit.ack(delivery))
    }
    yield* check
    const { scheduled, queued, running } = yield* kit.log.stats(kit.queue)
    assert.strictEqual(scheduled + queued + running, 0, `seed ${seed}: jobs that cannot be finished`)
  })

it.effect.each(Array.from({ length: 10 }, (_, seed) => seed))(
  "no job is lost, doubled or out of turn whatever happens (seed %i)",
  (seed) => playGame(seed).pipe(Effect.provide(MemoryTransport.layer))
)
