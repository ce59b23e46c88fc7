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

export type Scenario = Throughput | Footprint

export interface Suite {
  readonly name: string
  readonly scenarios: ReadonlyArray<Scenario>
}
