/**
 * What the cases are written with: jobs of a fresh queue, and time that passes
 * on a virtual clock as well as on a real one.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Due, Envelope } from "../../Envelope.ts"
import type { Delivery, LocatedJob, Settlement, SubscribeOptions, Subscription } from "../../JobLog.ts"
import * as JobRecord from "../../JobRecord.ts"
import { records as recordsOf } from "../../Store.ts"
import { Transport } from "../../Transport.ts"
import * as Check from "../Check.ts"

/** How time passes. The default really waits. */
export interface TimePassing {
  /** Lets the broker's clock go on by this many ms. */
  readonly elapse: (milliseconds: number) => Effect.Effect<void>
  /** Waits on the real clock, whatever the broker's clock does. */
  readonly wait: (milliseconds: number) => Effect.Effect<void>
  /** ms that the broker may be later than promised: connections, a busy machine. */
  readonly slack: number
}

export const TimePassing = Context.Reference<TimePassing>("@troupe/core/testing/TimePassing", {
  defaultValue: () => ({ elapse: Effect.sleep, wait: Effect.sleep, slack: 4000 })
})

/** Time that passes on a `TestClock`, as soon as a case asks for it. */
export const virtualTime: TimePassing = {
  elapse: (milliseconds) => TestClock.adjust(milliseconds),
  wait: (milliseconds) => TestClock.withLive(Effect.sleep(milliseconds)),
  slack: 0
}

/** One promise of the transport seam. */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Transport | Scope>
}

type Body<E> = (kit: Kit) => Effect.Effect<void, E, Scope>

const defineWith = (ownLease: number) => <E>(name: string, body: Body<E>): Case => ({
  name,
  run: Effect.gen(function*() {
    const transport = yield* Transport
    const time = yield* TimePassing
    const number = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
    yield* body(new Kit(transport, time, `conformance-${number.toString(36)}`, ownLease))
  })
})

/** The lease of a consumer in a case about leases, unless it says otherwise, ms: the shortest one allowed. */
export const lease = 1000

/** Longer than a machine stands still on which the clock is real. */
const longLease = 30_000

/** A case about leases that run out. */
export const define = defineWith(lease)

/** A case in which no lease runs out. */
export const defineHeld = defineWith(longLease)

/** How much later than the end of a lease a job may be handed out again, ms. */
export const reclaimTolerance = 1000

/** How long a case waits for something that should have happened, ms of real time. */
const patience = 8000

const text = new TextEncoder()

export const bytes = (content: string): Uint8Array => text.encode(content)

export const after = (milliseconds: number): Due => ({ _tag: "After", after: milliseconds })

export interface Arrival {
  readonly delivery: Delivery
  /** By the broker's clock. */
  readonly at: number
}

export class Kit {
  readonly transport: Transport["Service"]
  readonly time: TimePassing
  readonly queue: string
  private readonly ownLease: number
  private count = 0

  constructor(transport: Transport["Service"], time: TimePassing, queue: string, ownLease = lease) {
    this.transport = transport
    this.time = time
    this.queue = queue
    this.ownLease = ownLease
  }

  get log() {
    return this.transport.log
  }

  /** A name that nobody used before. */
  name(prefix: string): string {
    return `${prefix}-${this.queue}-${++this.count}`
  }

  envelope(changes: Partial<Envelope> = {}): Envelope {
    return {
      version: 1,
      id: this.name("job"),
      queue: this.queue,
      task: "Task",
      key: undefined,
      contentType: "application/json",
      headers: {},
      enqueuedAt: 1,
      expiresAt: undefined,
      maxAttempts: undefined,
      replyTo: undefined,
      body: bytes("{}"),
      revision: 0,
      priority: "default",
      due: undefined,
      attempt: 1,
      deliveries: 0,
      writtenAt: 1,
      unknownSince: undefined,
      lastError: undefined,
      prevTraceparent: undefined,
      signature: undefined,
      ...changes
    }
  }

  record(envelope: Envelope, changes: Partial<JobRecord.JobRecord> = {}): JobRecord.JobRecord {
    return {
      version: 1,
      id: envelope.id,
      queue: envelope.queue,
      task: envelope.task,
      state: "succeeded",
      attempts: 1,
      finishedAt: 1,
      reason: undefined,
      message: undefined,
      contentType: "application/json",
      value: bytes("42"),
      timeToLive: 60_000,
      valueTimeToLive: 60_000,
      replyTo: envelope.replyTo,
      signature: undefined,
      ...changes
    }
  }

  cancelled(envelope: Envelope, changes: Partial<JobRecord.JobRecord> = {}): JobRecord.JobRecord {
    return this.record(envelope, { state: "cancelled", attempts: 0, value: new Uint8Array(0), ...changes })
  }

  failed(envelope: Envelope, changes: Partial<JobRecord.JobRecord> = {}): JobRecord.JobRecord {
    return this.record(envelope, { state: "failed", reason: "Error", message: "it broke", ...changes })
  }

  // --- settlements ---

  ack(delivery: Delivery, changes: Partial<JobRecord.JobRecord> = {}): Settlement {
    return { _tag: "Ack", delivery, record: this.record(delivery.envelope, changes) }
  }

  bury(delivery: Delivery, timeToLive = 60_000): Settlement {
    return { _tag: "Bury", delivery, record: this.failed(delivery.envelope), timeToLive }
  }

  forward(delivery: Delivery, changes: Partial<Envelope> = {}): Settlement {
    const { envelope } = delivery
    return {
      _tag: "Forward",
      delivery,
      successor: { ...envelope, due: undefined, deliveries: 0, ...changes, revision: envelope.revision + 1 }
    }
  }

  drop(delivery: Delivery): Settlement {
    return { _tag: "Drop", delivery }
  }

  // --- steps ---

  subscribe(options: Partial<SubscribeOptions> = {}): Effect.Effect<Subscription, unknown, Scope> {
    return this.log.subscribe({
      queue: this.queue,
      priorities: ["default"],
      consumer: this.name("worker"),
      lease: this.ownLease,
      ...options
    })
  }

  /** Sends and insists that all of it was new. */
  send(...envelopes: NonEmptyReadonlyArray<Envelope>): Effect.Effect<void, unknown> {
    return Effect.map(
      this.log.send(envelopes),
      (answers) => Check.equal(answers, envelopes.map(() => "sent" as const), "answers of send")
    )
  }

  /** Pulls until it has `count` jobs. */
  collect(from: Subscription, count: number, max = count): Effect.Effect<ReadonlyArray<Delivery>, unknown> {
    const collected: Array<Delivery> = []
    const step: Effect.Effect<void, unknown> = Effect.suspend(() => {
      const missing = count - collected.length
      if (missing <= 0) return Effect.void
      return Effect.flatMap(from.pull(Math.min(max, missing)), (deliveries) => {
        Check.between(deliveries.length, 1, Math.min(max, missing), "jobs of one pull")
        collected.push(...deliveries)
        return step
      })
    })
    return Effect.as(this.patiently(step, () => `only ${collected.length} of ${count} jobs were handed out`), collected)
  }

  /** The next job. */
  take(from: Subscription): Effect.Effect<Delivery, unknown> {
    return Effect.map(this.collect(from, 1), ([delivery]) => delivery!)
  }

  /** Settles one delivery and insists on the answer. */
  settle(from: Subscription, settlement: Settlement, expected: "settled" | "superseded" = "settled") {
    return Effect.map(
      from.settle([settlement]),
      (answers) => Check.equal(answers, [expected], `answer to ${settlement._tag}`)
    )
  }

  /** Insists that nothing is handed out for this long (ms of the broker's clock). */
  nothing(from: Subscription, why: string, within = 200): Effect.Effect<void, unknown> {
    return Effect.gen({ self: this }, function*() {
      const pull = yield* Effect.forkChild(from.pull(10), { startImmediately: true })
      yield* this.time.elapse(within)
      yield* this.breathe
      yield* Fiber.interrupt(pull)
      const exit = yield* Fiber.await(pull)
      if (exit._tag === "Success") {
        Check.fail(`${why}, but ${exit.value.map((one) => one.envelope.id).join(", ")} was handed out`)
      }
    })
  }

  /** Waits for the next job and insists on when it comes, by the broker's clock. */
  arrival(
    from: Subscription,
    what: string,
    limits: { readonly notBefore: number; readonly notAfter: number }
  ): Effect.Effect<Arrival, unknown> {
    return Effect.gen({ self: this }, function*() {
      const { clock } = this.transport
      const pull = yield* Effect.forkChild(
        Effect.flatMap(from.pull(1), ([delivery]) => Effect.map(clock, (at): Arrival => ({ delivery, at }))),
        { startImmediately: true }
      )
      // on a virtual clock this stops one ms before the limit
      yield* this.time.elapse(Math.max(0, limits.notBefore - (yield* clock) - 1))
      // somebody looks at the queue: that must not make anything early
      yield* this.log.stats(this.queue)
      yield* this.breathe
      for (let step = 1; pull.pollUnsafe() === undefined; step = Math.min(step * 2, 50)) {
        if ((yield* clock) > limits.notAfter + this.time.slack) {
          yield* Fiber.interrupt(pull)
          Check.fail(`${what} was not handed out ${Math.round(limits.notAfter - limits.notBefore)} ms after its time`)
        }
        yield* this.time.elapse(step)
        yield* this.breathe
      }
      const arrival = yield* Fiber.join(pull)
      Check.between(arrival.at, limits.notBefore, limits.notAfter + this.time.slack, `when ${what} was handed out`)
      return arrival
    })
  }

  /** Lets the lease of a delivery run out and takes the job again. The lease began between the two times. */
  reclaim(from: Subscription, earliest: number, latest = earliest): Effect.Effect<Arrival, unknown> {
    return this.arrival(from, "a job whose lease ran out", {
      notBefore: earliest + lease,
      notAfter: latest + lease + reclaimTolerance
    })
  }

  /**
   * Insists on how often a job was handed out by now. The last time was not before `since`; one that reached nobody,
   * because who pulled stood still, counts, too, and took a lease.
   */
  counted({ deliveries }: Delivery, expected: number, since: number, what: string): Effect.Effect<void, unknown> {
    return Effect.map(this.now(), (now) => {
      const unheard = Math.max(0, Math.floor((now - since) / lease))
      Check.between(deliveries, expected, expected + unheard, what)
    })
  }

  // --- views ---

  now(): Effect.Effect<number, unknown> {
    return this.transport.clock
  }

  storedRecord(envelope: Envelope): Effect.Effect<JobRecord.JobRecord | undefined, unknown> {
    return Effect.map(
      this.transport.store.get(recordsOf(envelope.queue), [envelope.id]),
      ([row]) => row === undefined || Option.isNone(row) ? undefined : JobRecord.fromBytes(row.value.value)
    )
  }

  locate(envelope: Envelope): Effect.Effect<LocatedJob | undefined, unknown> {
    return Effect.map(
      this.log.locate(envelope.queue, [envelope.id]),
      ([found]) => found === undefined ? undefined : Option.getOrUndefined(found)
    )
  }

  place(envelope: Envelope): Effect.Effect<string, unknown> {
    return Effect.map(this.locate(envelope), (found) => found?.place ?? "nowhere")
  }

  // --- patience ---

  /** Lets everything run that can run now, without the broker's clock going on where it is virtual. */
  get breathe(): Effect.Effect<void> {
    return this.time.wait(2)
  }

  /** Fails with `message` if `effect` takes too long on the real clock. */
  patiently<A, E, R>(effect: Effect.Effect<A, E, R>, message: () => string): Effect.Effect<A, E, R> {
    return Effect.raceFirst(
      effect,
      Effect.flatMap(this.time.wait(patience), () => Effect.sync(() => Check.fail(message())))
    )
  }

  /** Waits for something that arrives without being asked for. */
  until(condition: () => boolean, message: () => string): Effect.Effect<void> {
    const step: Effect.Effect<void> = Effect.suspend(() =>
      condition() ? Effect.void : Effect.andThen(this.time.wait(2), step)
    )
    return this.patiently(step, message)
  }

  /** Lets the clock go on until `check` answers true: expiry is "at least", so it may come a little later. */
  eventually(check: Effect.Effect<boolean, unknown>, what: string): Effect.Effect<void, unknown> {
    const attempt = (left: number): Effect.Effect<void, unknown> =>
      Effect.flatMap(check, (done) => {
        if (done) return Effect.void
        if (left === 0) return Effect.sync(() => Check.fail(`${what} did not happen`))
        return Effect.andThen(this.time.elapse(100), attempt(left - 1))
      })
    return attempt(60)
  }
}
