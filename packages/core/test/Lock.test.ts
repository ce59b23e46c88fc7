import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Ref from "effect/Ref"
import { TestClock } from "effect/testing"
import * as Lock from "../src/Lock.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"

const define = (options: Lock.Options, name = "name") => () => Lock.make(name, options)

it("a lock that cannot work is not made", () => {
  assert.throws(define({ ttl: 99 }), "ttl must be a finite duration of at least 100 ms, got 99")
  assert.throws(define({ ttl: "Infinity" }), Lock.InvalidLock)
  assert.throws(define({}, ""), "the name must not be empty")
  assert.throws(define({}, "x".repeat(513)), "at most 512")
  assert.throws(define({}, "\ud800"), "well-formed")
  assert.strictEqual(Lock.make("name").ttl, 30_000)
})

it.effect("what a body leaves open stays open after the release", () =>
  Effect.gen(function*() {
    const closed = yield* Ref.make(false)
    const lock = Lock.make("scopes")
    yield* Effect.scoped(Effect.gen(function*() {
      yield* lock.withLock(() => Effect.addFinalizer(() => Ref.set(closed, true)))
      assert.isFalse(yield* Ref.get(closed))
    }))
    assert.isTrue(yield* Ref.get(closed))
  }).pipe(Effect.provide(MemoryTransport.layer)))

it.effect("of two ttls the holder's counts", () =>
  Effect.gen(function*() {
    const [patient, hasty] = [Lock.make("two"), Lock.make("two", { ttl: "1 second" })]
    yield* Effect.forkScoped(patient.withLock(() => Effect.never), { startImmediately: true })
    yield* Effect.yieldNow
    const waiting = yield* Effect.forkScoped(hasty.withLock(() => Effect.void), { startImmediately: true })
    yield* TestClock.adjust("8 seconds")
    assert.isUndefined(waiting.pollUnsafe())
    yield* Fiber.interrupt(waiting)
  }).pipe(Effect.provide(MemoryTransport.layer)))
