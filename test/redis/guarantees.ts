/**
 * Guarantees that depend on the broker most, a few of each kind: all of them
 * run on a single server, these also where there are several.
 */
import { GuaranteeConformance } from "@troupe/core/testing"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import { test } from "vitest"

/** How their names begin. */
const chosen = [
  "at least once: a job whose worker crashed",
  "at least once: a hand-out whose reply was lost",
  "at least once: an enqueue whose reply was lost",
  "at least once: a broker that is away for less",
  "one terminal state: a cancel that is overtaken",
  "one terminal state: a success that comes after a cancel",
  "one terminal state: when cancels race",
  "idle timeout: a job is handed out again",
  "idle timeout: a worker whose heartbeat is refused for a lease",
  "crashes do not eat attempts: a failure starts the count",
  "crashes do not eat attempts: a job handed out more than",
  "never early: a job with a delay starts",
  "never early: a retry starts",
  "never early: a snooze starts",
  "reschedule: a job that is rescheduled starts",
  "reschedule: a reschedule whose reply was lost",
  "cancel: a running job that is cancelled",
  "cancel: a running job whose cancel message was lost",
  "grace period: prefetched jobs",
  "grace period: settlements that were on their way",
  "per-key order: jobs of one key run one at a time",
  "per-key order: a head whose worker crashed",
  "per-key order: a head that waits for a retry keeps",
  "per-key order: 10,000 keys",
  "actors: messages of one key",
  "actors: a message whose worker crashes after the write",
  "actors: a write that arrives while",
  "unique while alive: of many clients",
  "unique while alive: the same id is one job while it runs",
  "unique while alive: a dead letter is replayed",
  "signing: signed jobs",
  "signing: a job whose body was changed",
  "bad messages: a message of random bytes",
  "waiters: a waiter is woken",
  "waiters: results of many jobs",
  "fencing: tokens grow",
  "fencing: a handler whose worker lost",
  "locks: of many contenders",
  "locks: a holder that dies",
  "locks: an acquisition whose answer is lost",
  "cron: a job runs when it is triggered",
  "cron: each tick runs once",
  "cron: a run whose worker is killed",
  "cron without a task: it runs",
  "results: a typed error",
  "producing: enqueueMany is one call",
  "operations: jobs of a higher priority",
  "operations: purge",
  "operations: stats and lists",
  "events: the events of a job"
]

export const someGuarantees = (name: string, layer: Layer.Layer<Transport, unknown>): void => {
  for (const start of chosen) {
    const promise = GuaranteeConformance.cases.find((one) => one.name.startsWith(start))
    if (promise === undefined) throw new Error(`no guarantee begins with "${start}"`)
    test.concurrent(
      `${name}: ${promise.name}`,
      () => Effect.runPromise(Effect.provide(Effect.scoped(promise.run), layer)),
      60_000
    )
  }
}
