/**
 * One consumer of the work stream as a worker sees it: a priority, or the
 * tokens of all keys.
 *
 * While a waiting request stands unanswered the lane is empty: nothing else has
 * to be asked.
 */
import type { Puller } from "./streams.ts"

export class Lane {
  private readonly puller: Puller
  private state: "idle" | "sweeping" | "standing" = "idle"
  private mayHaveMore = true
  private wanted = 0
  private received = 0

  constructor(puller: Puller) {
    this.puller = puller
  }

  get isSweeping(): boolean {
    return this.state === "sweeping"
  }

  /** Asks for up to `want` jobs. Answers whether lower lanes may be asked, too: this one has nothing. */
  ask(want: number): boolean {
    if (this.state === "sweeping") return false
    if (this.state === "standing") return true
    this.received = 0
    if (this.mayHaveMore) {
      this.state = "sweeping"
      this.wanted = want
      this.puller.request({ batch: want, wait: false })
      return false
    }
    this.state = "standing"
    this.wanted = 1
    this.puller.request({ batch: 1, wait: true })
    return true
  }

  onMessage(): void {
    this.received++
  }

  onEnd(): void {
    this.mayHaveMore = this.received > 0 && this.received >= this.wanted
    this.state = "idle"
  }

  /** Nobody wants anything: the server must not send us jobs. */
  stop(): void {
    if (this.state === "standing") this.puller.cancel()
  }
}
