/**
 * The promises of the transport seam as a test suite, for whoever writes a
 * transport. Two lines run it:
 *
 * ```ts
 * import { test } from "vitest"
 * TransportConformance.suite({ test, name: "memory", layer: MemoryTransport.layer, clock: "virtual" })
 * ```
 *
 * A case uses queues, topics and collections of its own, so a broker can be
 * shared and cases may run at the same time. What a broker cannot do it
 * declares in `Transport.capabilities`; the suite then checks the weaker promise.
 */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { Transport } from "../Transport.ts"
import * as admin from "./conformance/admin.ts"
import * as bus from "./conformance/bus.ts"
import * as keys from "./conformance/keys.ts"
import { type Case as ConformanceCase, TimePassing, virtualTime } from "./conformance/kit.ts"
import * as leases from "./conformance/leases.ts"
import * as log from "./conformance/log.ts"
import * as revise from "./conformance/revise.ts"
import * as settle from "./conformance/settle.ts"
import * as store from "./conformance/store.ts"

/** One promise. It dies with a `CheckFailed` that says what was broken. */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Transport | Scope>
}

const inGroup = (group: string, cases: ReadonlyArray<ConformanceCase>): ReadonlyArray<Case> =>
  cases.map(({ name, run }) => ({ name: `${group}: ${name}`, run }))

/** All promises, for other runners. Time really passes in them unless they run in `withVirtualClock`. */
export const cases: ReadonlyArray<Case> = [
  ...inGroup("log", log.cases),
  ...inGroup("settle", settle.cases),
  ...inGroup("leases", leases.cases),
  ...inGroup("keys", keys.cases),
  ...inGroup("revise", revise.cases),
  ...inGroup("admin", admin.cases),
  ...inGroup("store", store.cases),
  ...inGroup("bus", bus.cases)
]

/** Runs a case, with its transport inside, under a `TestClock` that the case itself moves. */
export const withVirtualClock = <A, E, R>(run: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  run.pipe(
    Effect.provideService(TimePassing, virtualTime),
    Effect.provide(TestClock.layer())
  )

export interface SuiteOptions {
  /** `test` of vitest, of `node:test` or alike. `timeout` is in ms. */
  readonly test: (name: string, run: () => Promise<void>, timeout?: number) => void
  /** Names the transport in the titles of the tests. */
  readonly name: string
  /** Built anew for every case. */
  readonly layer: Layer.Layer<Transport, unknown>
  /** `virtual` for a transport on the Effect clock: leases and delays pass at once. `live` for a real broker. */
  readonly clock: "virtual" | "live"
}

/** Declares one test per promise. */
export const suite = (options: SuiteOptions): void => {
  for (const { name, run } of cases) {
    const provided = Effect.provide(Effect.scoped(run), options.layer)
    const timed = options.clock === "virtual" ? withVirtualClock(provided) : provided
    options.test(`${options.name}: ${name}`, () => Effect.runPromise(timed), 60_000)
  }
}
