/**
 * Locks: one holder at a time, replaced when it dies, and fenced when it wakes up.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import * as Lock from "../../Lock.ts"
import { Transport } from "../../Transport.ts"
import * as Check from "../Check.ts"
import * as Faults from "../Faults.ts"
import { type Case, define, type Kit } from "./kit.ts"

const ttl = 2_500

/** How soon a release that is announced reaches those who wait, ms. */
const soon = 500

/** One process: its own connection, which can be broken. */
const processOf = (kit: Kit) => {
  const faults = Faults.make(kit.transport)
  return {
    faults,
    run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(effect, Transport, faults.transport),
    fork: <A, E, R>(effect: Effect.Effect<A, E, R>) =>
      Effect.forkScoped(Effect.provideService(effect, Transport, faults.transport), { startImmediately: true }),
    /** The broker is back, and the holder that was cut off ends: till then its release is tried again. */
    heal: Effect.andThen(faults.heal, kit.elapse(1_100))
  }
}

/** What a lock guards: it takes writes whose token is not older than one it has seen. */
const resource = () => {
  let newest = 0
  const written: Array<string> = []
  return {
    written,
    write: (token: number, what: string): boolean => {
      if (token < newest) return false
      newest = token
      written.push(what)
      return true
    }
  }
}

const holds = (lock: Lock.Lock) => lock.withLock(() => Effect.never)

/** Holds the lock from now on, for as long as the body takes. */
const holding = (
  kit: Kit,
  { fork }: Pick<ReturnType<typeof processOf>, "fork">,
  lock: Lock.Lock,
  body: (lease: Lock.Held) => Effect.Effect<unknown> = () => Effect.never
) =>
  Effect.gen(function*() {
    const held = yield* Latch.make()
    const holder = yield* fork(lock.withLock((lease) => Effect.andThen(held.open, body(lease))))
    yield* kit.within(soon, held.await, "the lock")
    return holder
  })

const isFree = (lock: Lock.Lock) => Effect.map(lock.tryLock(() => Effect.void), Option.isSome)

const interrupted = (fiber: Fiber.Fiber<unknown, unknown>) => Effect.asVoid(Fiber.interrupt(fiber))

export const cases: ReadonlyArray<Case> = [
  define("of many contenders one holds the lock at a time, and their tokens grow", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      let holders = 0
      const tokens: Array<number> = []
      const body = ({ fencingToken }: Lock.Held) =>
        Effect.gen(function*() {
          Check.equal(++holders, 1, "holders at once")
          tokens.push(fencingToken)
          yield* Effect.sleep(20)
          holders--
        })
      const contenders = Array.from({ length: 8 }, () => processOf(kit).run(lock.withLock(body)))
      // a slow re-read would take longer: they are woken
      yield* kit.within(4_000, Effect.all(contenders, { concurrency: "unbounded" }), "the last of eight holders")
      Check.equal(tokens.length, 8, "holders")
      for (let i = 1; i < 8; i++) {
        Check.isTrue(tokens[i]! > tokens[i - 1]!, `the tokens ${tokens.join(", ")} do not grow`)
      }
    })),

  define(
    "a lock is released when its body succeeds, fails, dies, times out and is interrupted",
    (kit) =>
      Effect.gen(function*() {
        const lock = Lock.make(kit.name("lock"), { ttl })
        const insistFree = (after: string) =>
          Effect.map(isFree(lock), (free) => Check.isTrue(free, `the lock is held after ${after}`))
        Check.equal(yield* lock.withLock(() => Effect.succeed(1)), 1, "the answer of the body")
        yield* insistFree("a success")
        const failed = yield* Effect.exit(lock.withLock(() => Effect.fail("no")))
        Check.isTrue(Exit.isFailure(failed) && String(failed.cause).includes("no"), "the body's error was lost")
        yield* insistFree("a failure")
        yield* Effect.exit(lock.withLock(() => Effect.die("no")))
        yield* insistFree("a defect")
        yield* kit.within(1_000, Effect.timeoutOption(holds(lock), 100), "the end of a body with a timeout")
        yield* insistFree("a timeout")
        const holder = yield* holding(kit, processOf(kit), lock)
        yield* kit.within(1_000, interrupted(holder), "the interruption")
        yield* insistFree("an interruption")
        yield* Effect.scoped(Effect.andThen(
          lock.acquire,
          Effect.map(isFree(lock), (free) => Check.isTrue(!free, "a lock was taken that a scope holds"))
        ))
        yield* insistFree("the end of a scope")
      })
  ),

  define("tryLock answers at once while another holds the lock", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      const [first, second] = [processOf(kit), processOf(kit)]
      const holder = yield* holding(kit, first, lock)
      let ran = false
      const body = () => Effect.sync(() => void (ran = true))
      const answer = yield* kit.within(soon, second.run(lock.tryLock(body)), "the answer")
      Check.isTrue(Option.isNone(answer) && !ran, "the body ran though the lock was held")
      yield* kit.within(soon, interrupted(holder), "the release")
      yield* second.run(lock.tryLock(body))
      Check.isTrue(ran, "the body did not run though the lock was free")
    })),

  define("a holder keeps its lock for many times its ttl", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      let got = false
      const holder = yield* holding(kit, processOf(kit), lock)
      yield* processOf(kit).fork(lock.withLock(() => Effect.sync(() => void (got = true))))
      yield* kit.never(() => got, "a lock was taken from a holder that is alive", 5 * ttl)
      yield* interrupted(holder)
      yield* kit.until(() => got, "the hand-over", soon)
    })),

  define("a holder that dies is replaced after a ttl, not before", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      const [first, second] = [processOf(kit), processOf(kit)]
      yield* holding(kit, first, lock)
      yield* first.faults.loseRequests(true)
      let got = false
      const asked = yield* kit.now
      yield* second.fork(lock.withLock(() => Effect.sync(() => void (got = true))))
      // it may have been renewed just before; nobody can know that it died
      yield* kit.never(() => got, "a lock was taken before its ttl was over", ttl - 200)
      yield* kit.until(() => got, "the take-over", 2 * ttl)
      Check.isTrue((yield* kit.now) - asked >= ttl, "a lock was taken before its ttl was over")
      yield* first.heal
    })),

  define(
    "who only tries finds the lock of a dead holder free a ttl after the first try",
    (kit) =>
      Effect.gen(function*() {
        const lock = Lock.make(kit.name("lock"), { ttl })
        const [first, second, third] = [processOf(kit), processOf(kit), processOf(kit)]
        yield* holding(kit, first, lock)
        yield* first.faults.loseRequests(true)
        Check.isTrue(!(yield* second.run(isFree(lock))), "the first try took the lock")
        yield* kit.elapse(ttl + 50)
        Check.isTrue(!(yield* third.run(isFree(lock))), "who has not seen it before took the lock")
        Check.isTrue(yield* second.run(isFree(lock)), "the second try, a ttl later, did not get the lock")
        yield* first.heal
      })
  ),

  define(
    "the body of a holder that cannot renew is interrupted before another takes the lock",
    (kit) =>
      Effect.gen(function*() {
        const lock = Lock.make(kit.name("lock"), { ttl })
        const [first, second] = [processOf(kit), processOf(kit)]
        let interruptedAt = Number.NaN
        let takenAt = Number.NaN
        const holder = yield* holding(
          kit,
          first,
          lock,
          () => Effect.onInterrupt(Effect.never, () => Effect.map(kit.now, (now) => void (interruptedAt = now)))
        )
        yield* first.faults.stall(true)
        yield* second.fork(lock.withLock(() => Effect.map(kit.now, (now) => void (takenAt = now))))
        yield* kit.until(() => !Number.isNaN(takenAt), "the take-over", 2 * ttl)
        Check.isTrue(interruptedAt <= takenAt, "two bodies ran at once")
        yield* first.faults.heal
        const exit = yield* kit.within(2_000, Fiber.await(holder), "the end of the holder")
        Check.isTrue(
          Exit.isFailure(exit) &&
            exit.cause.reasons.some((one) => one._tag === "Fail" && one.error instanceof Lock.LockLost),
          `the holder should fail with LockLost, got ${String(exit)}`
        )
      })
  ),

  define(
    "a stale holder that wakes up can neither renew nor release, and its guarded write is refused",
    (kit) =>
      Effect.gen(function*() {
        const lock = Lock.make(kit.name("lock"), { ttl })
        const [first, second, third] = [processOf(kit), processOf(kit), processOf(kit)]
        const guarded = resource()
        const wakes = yield* Latch.make()
        const refused = yield* Deferred.make<boolean>()
        // it does not hear of its interruption, as a process that is stopped
        const stale = yield* holding(kit, first, lock, ({ fencingToken }) =>
          Effect.uninterruptible(
            Effect.andThen(
              wakes.await,
              Effect.suspend(() => Deferred.succeed(refused, !guarded.write(fencingToken, "stale")))
            )
          ))
        yield* first.faults.stall(true)
        const written = yield* Latch.make()
        const holder = yield* second.fork(
          lock.withLock(({ fencingToken }) => {
            guarded.write(fencingToken, "holder")
            return Effect.andThen(written.open, Effect.never)
          })
        )
        yield* kit.within(3 * ttl, written.await, "the take-over")
        yield* first.faults.heal
        yield* wakes.open
        Check.isTrue(yield* kit.within(soon, Deferred.await(refused), "the stale write"), "a stale write was accepted")
        yield* kit.within(2_000, Fiber.await(stale), "the end of the stale holder")
        yield* kit.elapse(2 * ttl)
        Check.isTrue(!(yield* third.run(isFree(lock))), "the stale holder released the lock of another")
        Check.isTrue(holder.pollUnsafe() === undefined, "the holder lost its lock to a stale one")
        Check.equal(guarded.written, ["holder"], "writes")
      })
  ),

  define("a renewal whose answer is lost does not lose the lock", (kit) =>
    Effect.gen(function*() {
      // long enough for a process that stands still while it asks what became of the renewal
      const long = 2 * ttl
      const lock = Lock.make(kit.name("lock"), { ttl: long })
      const first = processOf(kit)
      const holder = yield* holding(kit, first, lock)
      for (let round = 0; round < 4; round++) {
        let lost = 0
        yield* first.faults.loseReplies(({ operation }) => operation === "put" && lost++ === 0)
        yield* kit.elapse(long / 2)
      }
      yield* first.faults.heal
      Check.isTrue(holder.pollUnsafe() === undefined, "the lock was lost with an answer")
      yield* kit.within(2_000, interrupted(holder), "the release")
      Check.isTrue(yield* first.run(isFree(lock)), "the lock is still held")
    })),

  define("an acquisition whose answer is lost is recognised", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      const first = processOf(kit)
      let lost = 0
      yield* first.faults.loseReplies(({ operation }) => operation === "put" && lost++ === 0)
      const got = yield* kit.within(soon, first.run(lock.withLock(() => Effect.succeed("got"))), "the lock")
      Check.equal(got, "got", "the answer of the body")
      Check.isTrue(yield* isFree(lock), "the lock is still held")
    })),

  define("a lost announcement of a release costs five seconds at most", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl: 60_000 })
      const [first, second] = [processOf(kit), processOf(kit)]
      const holder = yield* holding(kit, first, lock)
      yield* second.faults.losePushes(true)
      let got = false
      yield* second.fork(lock.withLock(() => Effect.sync(() => void (got = true))))
      yield* kit.breathe
      yield* interrupted(holder)
      yield* kit.until(() => got, "the hand-over", 5_500)
    })),

  define("who stops waiting leaves nothing behind", (kit) =>
    Effect.gen(function*() {
      const lock = Lock.make(kit.name("lock"), { ttl })
      const [first, second] = [processOf(kit), processOf(kit)]
      const holder = yield* holding(kit, first, lock)
      const waiting = yield* second.fork(holds(lock))
      yield* kit.elapse(200)
      yield* kit.within(2_000, interrupted(waiting), "the end of the wait")
      yield* interrupted(holder)
      Check.isTrue(yield* second.run(isFree(lock)), "the lock is held by nobody we know")
    })),

  define("locks of other names do not wait for each other", (kit) =>
    Effect.gen(function*() {
      const [one, other] = [Lock.make(kit.name("lock")), Lock.make(kit.name("lock"))]
      yield* holding(kit, processOf(kit), one)
      yield* kit.within(soon, processOf(kit).run(other.withLock(() => Effect.void)), "the other lock")
    }))
]
