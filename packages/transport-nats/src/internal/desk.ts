/**
 * Where pulls wait for jobs, and jobs for pulls.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { HandOut } from "./handOut.ts"

export interface Pull {
  readonly max: number
  readonly resume: (deliveries: NonEmptyReadonlyArray<HandOut>) => void
}

export class Desk {
  private readonly pulls: Array<Pull> = []
  private ready: Array<HandOut> = []

  get isWaiting(): boolean {
    return this.pulls.length > 0
  }

  get isEmpty(): boolean {
    return this.ready.length === 0
  }

  /** Jobs that all pulls want together and that are not here. */
  get missing(): number {
    let total = 0
    for (const pull of this.pulls) total += Math.max(1, pull.max)
    return total - this.ready.length
  }

  add(pull: Pull): void {
    this.pulls.push(pull)
  }

  remove(pull: Pull): void {
    const index = this.pulls.indexOf(pull)
    if (index >= 0) this.pulls.splice(index, 1)
  }

  put(handOut: HandOut): void {
    this.ready.push(handOut)
  }

  /** First come, first served. */
  deliver(): void {
    while (this.ready.length > 0 && this.pulls.length > 0) {
      const pull = this.pulls.shift()!
      const [first, ...others] = this.ready.splice(0, Math.max(1, pull.max))
      if (first !== undefined) pull.resume([first, ...others])
    }
  }

  /** Takes away what nobody waits for. */
  clear(): ReadonlyArray<HandOut> {
    const unwanted = this.ready
    this.ready = []
    return unwanted
  }
}
