/**
 * What a suite is made of.
 */
import type * as Effect from "effect/Effect"
import type { Sample } from "./measure.ts"

/** How fast jobs go. A process of its own: two rounds to warm up, then the median of five. */
export interface Throughput {
  readonly _tag: "Throughput"
  readonly name: string
  /** Jobs of one round. */
  readonly jobs: number
  /** A new broker per round; its start and end are not measured. */
  readonly round: (jobs: number) => Effect.Effect<Sample>
  /** Rounds of this scenario and of the other take turns, so that whatever else the machine does slows both. */
  readonly against?: { readonly scenario: Throughput; readonly least: number | undefined } | undefined
}

/** What jobs leave behind. A process of its own, once. */
export interface Footprint {
  readonly _tag: "Footprint"
  readonly name: string
  readonly jobs: number
  readonly run: (jobs: number) => Effect.Effect<ReadonlyArray<Figure>>
}

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The largest value allowed. Without one the value is only printed. */
  readonly most?: number | undefined
}

/** Several systems at the same work. Their rounds take turns; only ratios within the run are judged. */
export interface Race {
  readonly _tag: "Race"
  readonly name: string
  readonly jobs: number
  /** Each has a process of its own. */
  readonly entrants: ReadonlyArray<Entrant>
  readonly claims: ReadonlyArray<Claim>
  /** Measured rounds and those before them that warm up. Default: 5 and 2. */
  readonly rounds?: { readonly measured: number; readonly warmUp: number } | undefined
}

export interface Entrant {
  readonly name: string
  readonly round: (jobs: number) => Promise<Lap>
}

/** What one round of an entrant came to, by name and unit: `jobs/s`, `worker µs`, `p50 ms`. */
export type Lap = Readonly<Record<string, number>>

/** What must hold of a figure: of its ratio to another entrant's, round by round, or of its own value. */
export interface Claim {
  readonly of: string
  readonly figure: string
  readonly to?: string | undefined
  readonly least?: number | undefined
  readonly most?: number | undefined
  /** Printed beside the floor. Nothing depends on it. */
  readonly goal?: number | undefined
}

export type Scenario = Throughput | Footprint | Race

export interface Suite {
  readonly name: string
  readonly scenarios: ReadonlyArray<Scenario>
}
