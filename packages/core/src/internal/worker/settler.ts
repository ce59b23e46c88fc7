/**
 * Collects settlements and sends them in batches: at once when idle, else as
 * soon as the previous batch is answered. Repeats a batch until it is answered.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Settled, Settlement, Subscription } from "../../JobLog.ts"
import type { TransportError } from "../../TransportError.ts"
import type { Settings } from "./settings.ts"

export interface Settler {
  readonly push: (settlement: Settlement, onSettled: (answer: Settled) => void) => void
  /** Settlements that are not answered yet. */
  readonly pending: () => number
  /** Waits until every settlement pushed so far is answered. */
  readonly drained: Effect.Effect<void>
}

/** A full buffer is sent without waiting for the rest of the turn. */
const maxBatch = 256

const backoff = Schedule.jittered(Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("2 seconds")]))

interface Entry {
  readonly settlement: Settlement
  readonly onSettled: (answer: Settled) => void
}

/** What a repeat cannot change is not repeated. */
const passes = (cause: Cause.Cause<TransportError>) =>
  !cause.reasons.some((reason) =>
    Cause.isFailReason(reason) && (reason.error.reason._tag === "Refused" || reason.error.reason._tag === "Unsupported")
  )

/** `onAnswered` is called after every batch. */
export const make = (
  settings: Settings,
  queue: string,
  subscription: Subscription,
  onAnswered: () => void
): Settler => {
  const fork = Effect.runForkWith(settings.context)
  let buffer: Array<Entry> = []
  let flushing = false
  let unanswered = 0
  const waiters: Array<() => void> = []

  /** One line per outage. */
  let failing = false
  const onFailure = (cause: Cause.Cause<TransportError>) =>
    Effect.suspend(() => {
      if (failing) return Effect.void
      failing = true
      return Effect.logWarning(`Settlements of queue "${queue}" are not answered, repeating them`, cause)
    })
  const onAnswer = () => {
    if (!failing) return Effect.void
    failing = false
    return Effect.logInfo(`Settlements of queue "${queue}" are answered again`)
  }

  const settle = (batch: Arr.NonEmptyReadonlyArray<Settlement>): Effect.Effect<ReadonlyArray<Settled>> =>
    subscription.settle(batch).pipe(
      // sandboxed: a defect of the transport must not stop the settlements of every other job
      Effect.sandbox,
      Effect.tapError(onFailure),
      Effect.retry({ while: passes, schedule: backoff }),
      Effect.tap(onAnswer),
      Effect.catch((cause) => refused(batch, cause))
    )

  /** Finds the one that is refused, and leaves it: its lease ends, and the job is handed out again until it is poison. */
  const refused = (batch: Arr.NonEmptyReadonlyArray<Settlement>, cause: Cause.Cause<TransportError>) => {
    if (batch.length > 1) return Effect.map(Effect.forEach(batch, (one) => settle([one])), Arr.flatten)
    const { id, task } = batch[0].delivery.envelope
    const what = `The broker refused the ${batch[0]._tag} of job "${id}" of queue "${queue}" (task "${task}")`
    return Effect.as(Effect.logError(what, cause), ["superseded" as const])
  }

  const done = (entries: ReadonlyArray<Entry>, answers: ReadonlyArray<Settled>) => {
    unanswered -= entries.length
    for (let i = 0; i < entries.length; i++) entries[i]!.onSettled(answers[i]!)
    onAnswered()
    if (unanswered === 0) { for (const resume of waiters.splice(0)) resume() }
  }

  const flush = Effect.gen(function*() {
    // everything that ends in this turn travels together
    yield* Effect.yieldNow
    while (buffer.length > 0) {
      const entries = buffer.splice(0, maxBatch)
      const settlements = entries.map((entry) => entry.settlement)
      if (Arr.isReadonlyArrayNonEmpty(settlements)) done(entries, yield* settle(settlements))
    }
    flushing = false
  })

  return {
    push: (settlement, onSettled) => {
      unanswered++
      buffer.push({ settlement, onSettled })
      if (!flushing) {
        flushing = true
        fork(flush)
      }
    },
    pending: () => unanswered,
    drained: Effect.callback<void>((resume) => {
      if (unanswered === 0) return resume(Effect.void)
      const waiter = () => resume(Effect.void)
      waiters.push(waiter)
      return Effect.sync(() => {
        const index = waiters.indexOf(waiter)
        if (index >= 0) waiters.splice(index, 1)
      })
    })
  }
}
