/**
 * Runs jobs without a task in the scheduler itself.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schema from "effect/Schema"
import type { Transport } from "../../Transport.ts"
import type { Ticket } from "../cronHeader.ts"
import { Skipped } from "../handler.ts"
import { encodeJson } from "../json.ts"
import { metrics } from "../telemetry/metrics.ts"
import * as Recorder from "../telemetry/recorder.ts"
import { labelsOf } from "../telemetry/series.ts"
import { describe } from "../worker/outcome.ts"
import { StopNow } from "../worker/stopNow.ts"
import type { BrokerClock } from "./brokerClock.ts"
import * as Runs from "./runs.ts"
import { type Encoded, supervise } from "./supervise.ts"

/** The effect took longer than its timeout. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", { timeout: Schema.Number }) {
  override get message() {
    return `it took longer than its timeout of ${this.timeout} ms`
  }
}

export interface Inline {
  /** Starts a run that nobody else can start any more: it is ours. */
  readonly start: (options: {
    readonly ticket: Ticket
    readonly execute: Effect.Effect<unknown, unknown>
    /** Not before, ms since the epoch. */
    readonly at: number
    /** Not after. */
    readonly expiresAt: number | undefined
  }) => void
  readonly running: () => number
}

const isJson = Schema.is(Schema.Json)

const encode = (value: unknown): Encoded | undefined =>
  isJson(value) ? { contentType: "application/json", bytes: encodeJson(value) } : undefined

export const make = Effect.fnUntraced(function*(options: {
  readonly transport: Transport["Service"]
  readonly clock: BrokerClock
  readonly id: string
  /** ms. */
  readonly gracePeriod: number
}) {
  const { clock, id, transport } = options
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  // bound by the first run: most schedulers have none
  let lateness: ((seconds: number) => void) | undefined
  const noteLateness = (milliseconds: number) => {
    lateness ??= Recorder.of(context).bind(metrics.cronLateness, labelsOf(transport.name))
    lateness(Math.max(0, milliseconds) / 1_000)
  }
  const stopNow = yield* StopNow
  const fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  let isClosing = false

  const run: (options: Parameters<Inline["start"]>[0]) => Effect.Effect<void> = ({ at, execute, expiresAt, ticket }) =>
    Effect.gen(function*() {
      const wait = at - clock.now()
      if (wait > 0) yield* Effect.sleep(wait)
      const now = clock.now()
      if (expiresAt !== undefined && now > expiresAt) {
        // the process stood still between the claim and the start
        const end = {
          status: "SKIPPED" as const,
          at: now,
          reason: "Expired",
          message: "its process could not run it in time"
        }
        yield* Effect.ignore(Runs.update(transport, ticket, (row) => ({ ...(row ?? Runs.fresh(ticket, now)), end })))
        return
      }
      if (ticket.trigger === "schedule") noteLateness(now - at)
      yield* supervise({
        host: {
          transport,
          id,
          now: clock.now,
          stopReason: () => isClosing ? "shutdown" : undefined,
          describe,
          reasonOf: (error) => error instanceof TimedOut ? "TimedOut" : "Error"
        },
        ticket,
        queue: undefined,
        attempt: 1,
        body: execute,
        encodeSuccess: encode,
        encodeError: () => Effect.undefined
      })
    }).pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ||
          cause.reasons.some((one) => Cause.isFailReason(one) && one.error instanceof Skipped)
          ? Effect.void
          : Effect.logWarning(`Cron job "${ticket.name}" failed (run "${ticket.key}")`, cause)
      )
    )

  yield* Effect.addFinalizer(() =>
    Effect.gen(function*() {
      const ended = Effect.forEach([...fibers], (fiber) => Fiber.await(fiber), { discard: true })
      const over = Effect.raceFirst(Effect.sleep(options.gracePeriod), stopNow)
      yield* Effect.raceFirst(ended, over)
      isClosing = true
      yield* Fiber.interruptAll(fibers)
    })
  )

  return {
    start: (options) => {
      const fiber = fork(run(options))
      fibers.add(fiber)
      fiber.addObserver(() => void fibers.delete(fiber))
    },
    running: () => fibers.size
  } satisfies Inline
})
