/**
 * What the broker knows of one subscription: who it is, what it asked for and
 * whether it can still be heard.
 */
import type { SubscribeOptions } from "../../JobLog.ts"

export class Consumer {
  readonly id: string
  /** ms. */
  readonly lease: number
  /** From the highest to the lowest. */
  readonly priorities: ReadonlyArray<string>
  readonly turns: boolean
  /** Jobs that it has on lease. */
  held = 0
  /** Its scope is closed: it pulls no more, but finishes what it holds. */
  closed = false
  /** It crashed: nothing that it says arrives any more. */
  severed = false

  constructor(options: SubscribeOptions) {
    this.id = options.consumer
    this.lease = options.lease
    this.turns = options.turns === true
    this.priorities = [...options.priorities].reverse()
  }
}
