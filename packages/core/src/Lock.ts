/**
 * Distributed locks: at most one holder, as long as holders stop when they are told.
 *
 * A holder renews its lock at a third of the `ttl`. One that dies or stands
 * still is replaced after a `ttl` without a renewal, measured by the contender's
 * own clock. A holder that stood still may go on for a moment when it wakes up:
 * let what it writes to check the fencing token, which is greater than that of
 * every holder before.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Hold from "./internal/lock/hold.ts"
import * as Take from "./internal/lock/take.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

/** A lock in our hands. */
export interface Held {
  /** Greater than that of every holder before, also after releases and crashes. Guard outside writes with it. */
  readonly fencingToken: number
  /** Fails as soon as the lock is lost; never succeeds. */
  readonly lost: Effect.Effect<never, LockLost>
  /** Runs an effect and interrupts it when the lock is lost. */
  readonly protect: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | LockLost, R>
}

export interface Lock {
  readonly name: string
  /** ms. */
  readonly ttl: number
  /**
   * Waits for the lock and holds it until the scope closes. What follows is not
   * interrupted when the lock is lost: run it in `held.protect`.
   */
  readonly acquire: Effect.Effect<Held, TransportError, Transport | Scope.Scope>
  /**
   * Waits for the lock, runs the body with it and releases it, however the body
   * ends. When the lock is lost, the body is interrupted and the answer is `LockLost`.
   * Not reentrant: a body that asks for its own lock waits for ever.
   */
  readonly withLock: <A, E, R>(
    body: (held: Held) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | LockLost | TransportError, R | Transport>
  /**
   * Like `withLock` if the lock is free, `None` at once if it is held. The lock
   * of a dead holder is free for who has found it unchanged for a whole `ttl`.
   */
  readonly tryLock: <A, E, R>(
    body: (held: Held) => Effect.Effect<A, E, R>
  ) => Effect.Effect<Option.Option<A>, E | LockLost | TransportError, R | Transport>
}

export interface Options {
  /**
   * How long a lock outlives a holder that does not renew it. At least 100 ms;
   * a few seconds and more suit real brokers. Default: 30 seconds.
   */
  readonly ttl?: Duration.Input | undefined
}

/** The lock went to somebody else, or could not be renewed in time. What the body was doing was interrupted. */
export class LockLost extends Schema.TaggedError<LockLost>()("LockLost", {
  name: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Lock "${this.name}" is lost (${this.description}): somebody else may hold it now.`
  }
}

/** A definition that cannot work. Thrown where the lock is defined. */
export class InvalidLock extends Schema.TaggedError<InvalidLock>()("InvalidLock", {
  name: Schema.String,
  description: Schema.String
}) {
  override get message() {
    return `Lock.make("${this.name}"): ${this.description}.`
  }
}

const leastTtl = 100

const ttlOf = (name: string, input: Duration.Input): number => {
  const duration = Duration.fromInput(input)
  const ttl = Option.isSome(duration) ? Math.ceil(Duration.toMillis(duration.value)) : Number.NaN
  if (ttl >= leastTtl && ttl <= Number.MAX_SAFE_INTEGER) return ttl
  throw new InvalidLock({
    name,
    description: `ttl must be a finite duration of at least ${leastTtl} ms, got ${String(input)}`
  })
}

/** Longest name, in UTF-16 units: brokers limit what may be a key. */
const longestName = 512

const checkName = (name: string) => {
  const bad = (description: string) => new InvalidLock({ name, description })
  if (name.length === 0) throw bad("the name must not be empty")
  if (name.length > longestName) throw bad(`the name has ${name.length} characters, at most ${longestName} are allowed`)
  if (!name.isWellFormed()) throw bad("the name must be well-formed Unicode: it has half a surrogate pair")
}

const heldOf = (name: string, hold: Hold.Hold): Held => {
  const lost = Effect.flatMap(
    Deferred.await(hold.lost),
    (loss) => Effect.fail(new LockLost({ name, description: loss }))
  )
  return {
    fencingToken: hold.token,
    lost,
    protect: (effect) => Effect.raceFirst(lost, effect)
  }
}

/**
 * A lock of this name, one for all processes of the transport. Throws
 * `InvalidLock` for options that cannot work.
 */
export const make = (name: string, options: Options = {}): Lock => {
  checkName(name)
  const ttl = ttlOf(name, options.ttl ?? "30 seconds")
  const request = Effect.zipWith(
    Transport,
    Take.newOwner,
    (transport, owner): Take.Request => ({ transport, name, ttl, owner, claim: undefined })
  )
  const acquire = Effect.map(Effect.flatMap(request, Hold.acquire), (hold) => heldOf(name, hold))
  const acquireNow = Effect.map(
    Effect.flatMap(request, Hold.acquireNow),
    (result) => "token" in result ? Option.some(heldOf(name, result)) : Option.none()
  )
  return {
    name,
    ttl,
    acquire,
    // the lock's scope is not the body's: what the body leaves open is the caller's
    withLock: (body) =>
      Effect.scopedWith((scope) => Effect.flatMap(Scope.provide(scope)(acquire), (held) => held.protect(body(held)))),
    tryLock: (body) =>
      Effect.scopedWith((scope) =>
        Effect.flatMap(
          Scope.provide(scope)(acquireNow),
          (held) => Option.isNone(held) ? Effect.succeedNone : Effect.asSome(held.value.protect(body(held.value)))
        )
      )
  }
}
