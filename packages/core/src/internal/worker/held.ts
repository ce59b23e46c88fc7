/**
 * A delivery in the hands of this worker, from hand-out to settlement.
 */
import type * as Fiber from "effect/Fiber"
import type * as Tracer from "effect/Tracer"
import type { Delivery } from "../../JobLog.ts"
import * as Sequence from "../sequence.ts"
import type { RegisteredTask } from "./settings.ts"
import type { Verdict } from "./suspects.ts"

/** Why we interrupted a handler. The first reason stands, but a lost lease beats all: then nothing is settled. */
export type StopReason = "cancelled" | "leaseLost" | "timedOut" | "shutdown"

export class Held {
  readonly delivery: Delivery
  readonly task: RegisteredTask
  readonly suspect: boolean
  /** `gone`: settled, or no longer ours. */
  state: "buffered" | "running" | "settling" | "gone"
  /** False until the store has said that the job has no record yet. */
  checked: boolean
  /** When this process got to know of it (`Sequence`): not before it was handed out. */
  readonly order: number
  /** When the last confirmed sign of life was sent, ms on the monotonic clock. */
  confirmedAt: number
  fiber: Fiber.Fiber<Uint8Array, unknown> | undefined
  stopReason: StopReason | undefined
  fencingToken: number | undefined
  /** Of a suspect that is about to start; see `Suspects.judge`. */
  verdict: Verdict | "asked" | undefined
  /** When the handler started, ns on the monotonic clock. */
  startedAt: bigint
  /** Of the attempt, if somebody traces. */
  span: Tracer.Span | undefined

  constructor(delivery: Delivery, task: RegisteredTask, suspect: boolean, checked: boolean, confirmedAt: number) {
    this.delivery = delivery
    this.state = "buffered"
    this.checked = checked
    this.task = task
    this.suspect = suspect
    this.order = Sequence.next()
    this.confirmedAt = confirmedAt
    this.fiber = undefined
    this.stopReason = undefined
    this.fencingToken = undefined
    this.verdict = undefined
    this.startedAt = 0n
    this.span = undefined
  }

  /** Interrupts the handler if it runs. Its finalizers still run. */
  stop(reason: StopReason): void {
    if (this.stopReason === undefined || reason === "leaseLost") this.stopReason = reason
    this.fiber?.interruptUnsafe()
  }
}
