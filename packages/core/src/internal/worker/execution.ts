/**
 * The handler's second argument.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import { progressTopic } from "../../Bus.ts"
import type { Execution } from "../../Execution.ts"
import type { Delivery } from "../../JobLog.ts"
import type { Collection } from "../../Store.ts"
import type { Held } from "./held.ts"
import type { Settings } from "./settings.ts"

const fences = (queue: string): Collection => ({ name: "fences", queue, listable: false })

/** Revisions grow also after expiry, so the row itself need not be kept. */
const fenceTimeToLive = 60_000

const empty = new Uint8Array(0)
const text = new TextEncoder()

const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

/** What Troupe's own runtimes may know of the hand-out behind an execution. */
export interface Lease {
  /** When this process got to know of the hand-out (`Sequence`): not before it took place. */
  readonly order: number
  /** Nobody had the job before: only then a settlement that is accepted says that nobody else has run it. */
  readonly isFirst: boolean
  /** This hand-out, and the one that held the key before if it was this worker's too; see `Delivery`. */
  readonly turnId: string | undefined
  readonly follows: string | undefined
  /** Asks the broker whether the job is still ours. If not, interrupts the handler and never returns. */
  readonly confirm: Effect.Effect<void>
}

/** Every revision of a row is greater than the ones before: taking a token is writing the row. */
const takeToken = (
  { transport }: Settings,
  held: Held,
  extendOne: (delivery: Delivery) => Effect.Effect<boolean>
): Effect.Effect<number> => {
  const { id, queue } = held.delivery.envelope
  return transport.store.put(fences(queue), id, empty, { timeToLive: fenceTimeToLive }).pipe(
    Effect.retry({
      while: (error) => error._tag === "TransportError" && error.reason._tag === "Unavailable",
      schedule: backoff
    }),
    Effect.orDie,
    Effect.flatMap((token) =>
      // a token taken after the lease was lost could be greater than the new owner's: it must not get out
      Effect.flatMap(extendOne(held.delivery), (ours) => {
        if (ours) {
          held.fencingToken = token
          return Effect.succeed(token)
        }
        held.stop("leaseLost")
        return Effect.never
      })
    )
  )
}

const confirmLease = (held: Held, extendOne: (delivery: Delivery) => Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(Effect.suspend(() => extendOne(held.delivery)), (ours) => {
    if (ours) return Effect.void
    held.stop("leaseLost")
    return Effect.never
  })

export const makeExecution = (
  settings: Settings,
  held: Held,
  deadline: number | undefined,
  extendOne: (delivery: Delivery) => Effect.Effect<boolean>
): Execution => new HandlerExecution(settings, held, deadline, extendOne)

// a class with getters: one allocation per job, nothing built that the handler does not ask for
export class HandlerExecution implements Execution {
  readonly #settings: Settings
  readonly #held: Held
  readonly #extendOne: (delivery: Delivery) => Effect.Effect<boolean>
  readonly deadline: number | undefined

  constructor(
    settings: Settings,
    held: Held,
    deadline: number | undefined,
    extendOne: (delivery: Delivery) => Effect.Effect<boolean>
  ) {
    this.#settings = settings
    this.#held = held
    this.#extendOne = extendOne
    this.deadline = deadline
  }

  /** Why we interrupted the handler. Not for handlers. */
  get stopReason() {
    return this.#held.stopReason
  }

  static leaseOf(self: HandlerExecution): Lease {
    const held = self.#held
    const extendOne = self.#extendOne
    const { deliveries, envelope, follows, suspectRecord, turnId } = held.delivery
    const { capabilities } = self.#settings.transport
    return {
      order: held.order,
      isFirst: deliveries === 1 && envelope.revision === 0 && !suspectRecord && capabilities.durableDeliveryCount,
      turnId,
      follows,
      // hardly ever asked for
      get confirm() {
        return confirmLease(held, extendOne)
      }
    }
  }

  get id() {
    return this.#held.delivery.envelope.id
  }
  get queue() {
    return this.#held.delivery.envelope.queue
  }
  get task() {
    return this.#held.delivery.envelope.task
  }
  get key() {
    return this.#held.delivery.envelope.key
  }
  get attempt() {
    return this.#held.delivery.envelope.attempt
  }
  get maxAttempts() {
    return this.#held.delivery.envelope.maxAttempts ?? this.#held.task.policy.maxAttempts
  }
  get deliveries() {
    return this.#held.delivery.deliveries
  }
  get headers() {
    return this.#held.delivery.envelope.headers
  }
  get enqueuedAt() {
    return this.#held.delivery.envelope.enqueuedAt
  }
  get fencingToken(): Effect.Effect<number> {
    return Effect.suspend(() =>
      this.#held.fencingToken === undefined
        ? takeToken(this.#settings, this.#held, this.#extendOne)
        : Effect.succeed(this.#held.fencingToken)
    )
  }
  get progress() {
    return (value: Schema.Json): Effect.Effect<void> =>
      Effect.suspend(() => {
        const { emitter, transport } = this.#settings
        const { attempt, id, queue, task } = this
        if (emitter.wanted(queue)) emitter.emit({ _tag: "Progress", queue, task, id, attempt, value })
        return Effect.ignore(transport.bus.publish(progressTopic(queue, id), text.encode(JSON.stringify(value))))
      })
  }
}

/** The lease behind an execution that a worker made. */
export const leaseOf = (execution: Execution): Lease => {
  if (execution instanceof HandlerExecution) return HandlerExecution.leaseOf(execution)
  throw new Error("Actors run in a worker only: this execution is not a worker's")
}
