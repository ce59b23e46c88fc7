/**
 * The pulls that wait for a job, first come, first served.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { Delivery } from "../../JobLog.ts"
import type { Consumer } from "./consumer.ts"

type Batch = NonEmptyReadonlyArray<Delivery>

export interface Pull {
  readonly consumer: Consumer
  readonly max: number
  readonly resume: (effect: Effect.Effect<Batch>) => void
}

export class Pulls {
  private readonly pulls = new Set<Pull>()
  /** A dispatch is on its way: whoever pulls now has others before them. */
  dispatching = false

  get waiting(): boolean {
    return this.pulls.size > 0
  }

  add(pull: Pull): void {
    this.pulls.add(pull)
  }

  remove(pull: Pull): void {
    this.pulls.delete(pull)
  }

  /**
   * Calls `take` for one after the other. A resumed fiber runs at once and may
   * pull again; then it waits behind the others for the next round.
   */
  serve(take: (consumer: Consumer, max: number) => Batch | undefined): void {
    let waiting = this.pulls.size
    for (const pull of this.pulls) {
      if (waiting-- === 0) break
      const batch = take(pull.consumer, pull.max)
      if (batch === undefined) continue
      this.pulls.delete(pull)
      if (waiting === 0) this.dispatching = false
      pull.resume(Effect.succeed(batch))
    }
    this.dispatching = false
  }

  /** The scope of the consumer closed: its pulls end. */
  close(consumer: Consumer): void {
    for (const pull of this.pulls) {
      if (pull.consumer !== consumer) continue
      this.pulls.delete(pull)
      pull.resume(Effect.interrupt)
    }
  }

  /** The consumer cannot be heard any more: its pulls never end. */
  sever(consumer: Consumer): void {
    for (const pull of this.pulls) if (pull.consumer === consumer) this.pulls.delete(pull)
  }
}
