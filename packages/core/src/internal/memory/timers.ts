/**
 * One alarm for everything in the broker that waits for a time. With nothing
 * to wait for there is no fiber and no timer.
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Heap, type Heaped } from "./heap.ts"

export interface Timer extends Heaped {
  wakeAt: number
  /** `late` is how many ms after `wakeAt` the alarm came. */
  readonly ring: (now: number, late: number) => void
}

export class Timers {
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  private readonly heap = new Heap<Timer>((a, b) => a.wakeAt < b.wakeAt)
  private alarmAt = Infinity
  private sleeper: Fiber.Fiber<void> | undefined = undefined
  private closed = false
  private pausedUntil: number | undefined = undefined
  private onResume: (now: number) => void = () => {}

  constructor(clock: Clock.Clock, context: Context.Context<never>) {
    this.clock = clock
    this.context = context
  }

  /** No alarm is set. */
  get idle(): boolean {
    return this.sleeper === undefined
  }

  /** Rings at `at` at the latest. A timer that rings too early finds nothing to do and sets itself anew. */
  set(timer: Timer, at: number): void {
    if (timer.heapIndex < 0) {
      if (at === Infinity) return
      timer.wakeAt = at
      this.heap.push(timer)
    } else {
      if (at >= timer.wakeAt) return
      timer.wakeAt = at
      this.heap.raise(timer)
    }
    this.arm()
  }

  /** Nothing rings before `until`; then `onResume` is called first. */
  pause(until: number, onResume: (now: number) => void): void {
    this.pausedUntil = Math.max(until, this.pausedUntil ?? until)
    this.onResume = onResume
    this.arm()
  }

  close(): void {
    this.closed = true
    this.silence()
  }

  private silence(): void {
    const sleeper = this.sleeper
    this.sleeper = undefined
    this.alarmAt = Infinity
    sleeper?.interruptUnsafe()
  }

  private arm(): void {
    const at = this.pausedUntil ?? this.heap.peek()?.wakeAt ?? Infinity
    if (this.closed || at >= this.alarmAt) return
    this.silence()
    this.alarmAt = at
    // rounded up, and never at once: nothing may ring early, nor inside of the operation that set it
    const delay = Math.max(1, Math.ceil(at - this.clock.currentTimeMillisUnsafe()))
    this.sleeper = Effect.runForkWith(this.context)(
      Effect.andThen(this.clock.sleep(Duration.millis(delay)), Effect.sync(() => this.ring()))
    )
  }

  private ring(): void {
    this.sleeper = undefined
    this.alarmAt = Infinity
    const now = this.clock.currentTimeMillisUnsafe()
    if (this.pausedUntil !== undefined && this.pausedUntil <= now) {
      this.pausedUntil = undefined
      this.onResume(now)
    }
    if (this.pausedUntil === undefined) {
      const due: Array<Timer> = []
      for (let timer = this.heap.peek(); timer !== undefined && timer.wakeAt <= now; timer = this.heap.peek()) {
        this.heap.remove(timer)
        due.push(timer)
      }
      for (const timer of due) timer.ring(now, now - timer.wakeAt)
    }
    this.arm()
  }
}
