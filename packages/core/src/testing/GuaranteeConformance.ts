/**
 * The guarantees of Troupe as a test suite, through the public API: for whoever
 * writes a transport, and for whoever wants to see them hold. Two lines run it:
 *
 * ```ts
 * import { test } from "vitest"
 * GuaranteeConformance.suite({ test, name: "memory", layer: MemoryTransport.layer, clock: "virtual" })
 * ```
 *
 * A case uses a queue of its own, so a broker can be shared and cases may run
 * at the same time. Faults are made at the seam (`Faults`), so the same cases
 * run on real brokers. What a broker cannot do it declares in
 * `Transport.capabilities`; the suite then checks what is declared instead.
 */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Transport } from "../Transport.ts"
import * as actors from "./guarantees/actors.ts"
import * as atLeastOnce from "./guarantees/atLeastOnce.ts"
import * as badMessages from "./guarantees/badMessages.ts"
import * as bank from "./guarantees/bankCases.ts"
import * as cancel from "./guarantees/cancel.ts"
import * as cron from "./guarantees/cron.ts"
import * as cronExecute from "./guarantees/cronExecute.ts"
import * as events from "./guarantees/events.ts"
import * as fencing from "./guarantees/fencing.ts"
import * as gracePeriod from "./guarantees/gracePeriod.ts"
import * as idleTimeout from "./guarantees/idleTimeout.ts"
import * as keys from "./guarantees/keys.ts"
import type { Case as GuaranteeCase } from "./guarantees/kit.ts"
import * as locks from "./guarantees/locks.ts"
import * as manyKeys from "./guarantees/manyKeys.ts"
import * as neverEarly from "./guarantees/neverEarly.ts"
import * as operations from "./guarantees/operations.ts"
import * as poison from "./guarantees/poison.ts"
import * as producing from "./guarantees/producing.ts"
import * as reschedule from "./guarantees/reschedule.ts"
import * as results from "./guarantees/results.ts"
import * as signing from "./guarantees/signing.ts"
import * as supervision from "./guarantees/supervision.ts"
import * as terminalState from "./guarantees/terminalState.ts"
import * as unique from "./guarantees/unique.ts"
import * as waiters from "./guarantees/waiters.ts"
import { type SuiteOptions, withVirtualClock } from "./TransportConformance.ts"

export type { SuiteOptions } from "./TransportConformance.ts"

/** One promise. It dies with a `CheckFailed` that says what was broken. */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Transport | Scope>
}

const inGroup = (group: string, cases: ReadonlyArray<GuaranteeCase>): ReadonlyArray<Case> =>
  cases.map(({ name, run }) => ({ name: `${group}: ${name}`, run }))

/** All promises, for other runners. Time really passes in them unless they run in `TransportConformance.withVirtualClock`. */
export const cases: ReadonlyArray<Case> = [
  ...inGroup("at least once", atLeastOnce.cases),
  ...inGroup("one terminal state", terminalState.cases),
  ...inGroup("idle timeout", idleTimeout.cases),
  ...inGroup("crashes do not eat attempts", poison.cases),
  ...inGroup("never early", neverEarly.cases),
  ...inGroup("reschedule", reschedule.cases),
  ...inGroup("cancel", cancel.cases),
  ...inGroup("grace period", gracePeriod.cases),
  ...inGroup("per-key order", [...keys.cases, ...manyKeys.cases]),
  ...inGroup("actors", [...actors.cases, ...supervision.cases, ...bank.cases]),
  ...inGroup("unique while alive", unique.cases),
  ...inGroup("signing", signing.cases),
  ...inGroup("bad messages", badMessages.cases),
  ...inGroup("waiters", waiters.cases),
  ...inGroup("fencing", fencing.cases),
  ...inGroup("locks", locks.cases),
  ...inGroup("cron", cron.cases),
  ...inGroup("cron without a task", cronExecute.cases),
  ...inGroup("results", results.cases),
  ...inGroup("producing", producing.cases),
  ...inGroup("operations", operations.cases),
  ...inGroup("events", events.cases)
]

/** ms; on a live clock a record of a minute's life must really run out. */
const timeout = 180_000

/** Declares one test per promise. */
export const suite = (options: SuiteOptions): void => {
  for (const { name, run } of cases) {
    const provided = Effect.provide(Effect.scoped(run), options.layer)
    const timed = options.clock === "virtual" ? withVirtualClock(provided) : provided
    options.test(`${options.name}: ${name}`, () => Effect.runPromise(timed), timeout)
  }
}
