/**
 * Where pulls wait for jobs, and jobs for pulls.
 */
import type { Delivery } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import * as Arr from "effect/Array"
import type { HandOut } from "./handOut.ts"

export interface Pull {
  readonly max: number
  readonly resume: (deliveries: Arr.NonEmptyReadonlyArray<Delivery>) => void
  readonly fail: (error: TransportError) => void
}

/** ms that jobs without a pull wait for the next one before they are unwanted. */
const patience = 100

export class Desk {
  private readonly pulls: Array<Pull> = []
  private ready: Array<HandOut> = []
  private readonly onUnwanted: (handOuts: ReadonlyArray<HandOut>) => void
  private timer: ReturnType<typeof setTimeout> | undefined = undefined
  private closed = false

  constructor(onUnwanted: (handOuts: ReadonlyArray<HandOut>) => void) {
    this.onUnwanted = onUnwanted
  }

  get isWaiting(): boolean {
    return this.pulls.length > 0
  }

  /** Jobs that all pulls want together. */
  get total(): number {
    let total = 0
    for (const pull of this.pulls) total += Math.max(1, pull.max)
    return total
  }

  /** Of these, how many are not here yet. */
  get missing(): number {
    return this.total - this.ready.length
  }

  /** Answers whether it was served at once. */
  pull(pull: Pull): boolean {
    if (this.ready.length > 0 && this.pulls.length === 0) {
      this.serve(pull)
      return true
    }
    this.pulls.push(pull)
    return false
  }

  remove(pull: Pull): void {
    const index = this.pulls.indexOf(pull)
    if (index >= 0) this.pulls.splice(index, 1)
  }

  failAll(error: TransportError): void {
    for (const pull of this.pulls.splice(0)) pull.fail(error)
  }

  /** They are handed out by `deliver`. */
  put(handOut: HandOut): void {
    this.ready.push(handOut)
  }

  deliver(): void {
    while (this.ready.length > 0 && this.pulls.length > 0) this.serve(this.pulls.shift()!)
    if (this.ready.length === 0) return
    if (this.closed) return this.clear()
    // the next pull comes at once, unless the worker pauses or stops
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      if (!this.isWaiting) this.clear()
    }, patience)
  }

  private serve(pull: Pull): void {
    const served = this.ready.splice(0, Math.max(1, pull.max))
    if (Arr.isReadonlyArrayNonEmpty(served)) pull.resume(served)
  }

  /** Whatever is here is unwanted. */
  clear(): void {
    const unwanted = this.ready
    this.ready = []
    if (unwanted.length > 0) this.onUnwanted(unwanted)
  }

  /** Nobody pulls any more. */
  close(): void {
    this.closed = true
    clearTimeout(this.timer)
    this.pulls.length = 0
    this.clear()
  }
}
