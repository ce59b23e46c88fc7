/**
 * Promises about leases: a job comes back when its owner is silent, and only
 * then.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Check from "../Check.ts"
import { type Case, define, lease, reclaimTolerance } from "./kit.ts"

export const cases: ReadonlyArray<Case> = [
  define("a lease that runs out hands the job to another, within a second", (kit) =>
    Effect.gen(function*() {
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const before = yield* kit.now()
      const first = yield* kit.take(yield* kit.subscribe())
      const { delivery: second } = yield* kit.reclaim(yield* kit.subscribe(), before)
      Check.equal(second.envelope, envelope, "the job that was handed out again")
      yield* kit.counted(second, first.deliveries + 1, before + lease, "deliveries after a lost lease")
      Check.isTrue(first !== second, "a second hand-out must be another delivery")
    })),

  define("every hand-out counts, on top of what the envelope says", (kit) =>
    Effect.gen(function*() {
      yield* kit.send(kit.envelope({ deliveries: 3 }))
      const subscription = yield* kit.subscribe()
      const before = yield* kit.now()
      const first = yield* kit.take(subscription)
      yield* kit.counted(first, 4, before, "deliveries of the first hand-out")
      const { at, delivery: second } = yield* kit.reclaim(subscription, before)
      yield* kit.counted(second, first.deliveries + 1, before + lease, "deliveries after a lost lease")
      const { delivery: third } = yield* kit.reclaim(subscription, before + lease, at)
      yield* kit.counted(third, second.deliveries + 1, before + 2 * lease, "deliveries after two lost leases")
      const settled = yield* kit.now()
      yield* kit.settle(subscription, kit.forward(third, { deliveries: 0 }))
      yield* kit.counted(yield* kit.take(subscription), 1, settled, "deliveries of a successor")
    })),

  define("a lease that is extended lasts", (kit) =>
    Effect.gen(function*() {
      const one = kit.envelope()
      const other = kit.envelope()
      yield* kit.send(one, other)
      const owner = yield* kit.subscribe()
      const deliveries = yield* kit.collect(owner, 2)
      const watcher = yield* kit.subscribe()
      const pull = yield* Effect.forkChild(watcher.pull(10), { startImmediately: true })
      const own = yield* Effect.forkChild(owner.pull(10), { startImmediately: true })
      for (let round = 0; round < 9; round++) {
        yield* kit.time.elapse(lease / 3)
        const kept = yield* owner.extend([deliveries[0]!, deliveries[1]!])
        Check.isTrue(
          kept.length === 2 && kept.includes(deliveries[0]!) && kept.includes(deliveries[1]!),
          `extend kept ${kept.length} of 2 deliveries in round ${round}`
        )
      }
      yield* kit.breathe
      Check.isTrue(pull.pollUnsafe() === undefined, "a job was handed out twice although its lease was extended")
      Check.isTrue(own.pollUnsafe() === undefined, "a job was handed to its owner again")
      Check.equal(
        yield* owner.settle([kit.ack(deliveries[0]!), kit.ack(deliveries[1]!)]),
        ["settled", "settled"],
        "answers after nine heartbeats"
      )
      yield* Fiber.interruptAll([pull, own])
    })),

  define("extend keeps what is ours and omits what has a record", (kit) =>
    Effect.gen(function*() {
      yield* kit.send(kit.envelope(), kit.envelope(), kit.envelope())
      const subscription = yield* kit.subscribe()
      const [one, two, three] = yield* kit.collect(subscription, 3)
      yield* kit.log.withdraw(kit.queue, [kit.cancelled(two!.envelope)])
      const kept = yield* subscription.extend([one!, two!, three!])
      Check.sameMembers(
        kept.map(({ envelope }) => envelope.id),
        [one!, three!].map(({ envelope }) => envelope.id),
        "kept"
      )
      Check.isTrue(kept.includes(one!) && kept.includes(three!), "extend must answer the very deliveries it was given")
      yield* kit.settle(subscription, kit.ack(one!))
      Check.equal(yield* subscription.extend([one!]), [], "extend of a settled delivery")
    })),

  define("a stale heartbeat does not take the job back", (kit) =>
    Effect.gen(function*() {
      if (!kit.transport.capabilities.fencedSettle) return
      const envelope = kit.envelope()
      yield* kit.send(envelope)
      const stale = yield* kit.subscribe()
      const fresh = yield* kit.subscribe()
      const before = yield* kit.now()
      const old = yield* kit.take(stale)
      const second = yield* kit.reclaim(fresh, before)
      const current = second.delivery
      yield* kit.counted(current, old.deliveries + 1, before + lease, "deliveries of the second hand-out")
      Check.equal(yield* stale.extend([old]), [], "extend of a lost lease")
      // the heartbeat of the old owner did not renew the lease of the new one either
      const { delivery: third } = yield* kit.reclaim(fresh, before + lease, second.at)
      yield* kit.counted(third, current.deliveries + 1, before + 2 * lease, "deliveries of the third hand-out")
      Check.equal(yield* fresh.extend([current, third]), [third], "leases of the same consumer that are still its own")
      yield* kit.settle(fresh, kit.ack(current), "superseded")
      yield* kit.settle(fresh, kit.ack(third))
    })),

  define("the largest lease of the live consumers counts", (kit) =>
    Effect.gen(function*() {
      const short = yield* kit.subscribe()
      yield* kit.subscribe({ lease: 3 * lease })
      yield* kit.send(kit.envelope())
      const before = yield* kit.now()
      yield* kit.take(short)
      yield* kit.arrival(short, "a job whose lease ran out", {
        notBefore: before + 3 * lease,
        notAfter: before + 3 * lease + reclaimTolerance
      })
    })),

  define("prefetched jobs of a closed subscription come back one and all", (kit) =>
    Effect.gen(function*() {
      const envelopes = Array.from({ length: 20 }, () => kit.envelope())
      const [head, ...tail] = envelopes
      yield* kit.send(head!, ...tail)
      const scope = yield* Scope.make()
      const leaving = yield* Scope.provide(kit.subscribe(), scope)
      const before = yield* kit.now()
      yield* kit.collect(leaving, 20)
      yield* Scope.close(scope, Exit.void)
      const staying = yield* kit.subscribe()
      const times = { notBefore: before, notAfter: before + lease + reclaimTolerance }
      const { delivery } = yield* kit.arrival(staying, "a job of the closed subscription", times)
      const all = [delivery, ...yield* kit.collect(staying, 19)]
      Check.sameMembers(all.map(({ envelope }) => envelope.id), envelopes.map(({ id }) => id), "jobs that came back")
      for (const one of all) yield* kit.counted(one, 2, before + lease, "deliveries of what came back")
    }))
]
