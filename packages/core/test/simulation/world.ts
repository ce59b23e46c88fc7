/**
 * A world of processes that share nothing but time. Effect programs run in
 * them on a scheduler and a clock of their own, so that a process can be
 * killed between any two steps, or stand still while time goes on.
 *
 * `TestClock` cannot do either: it knows one process.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Scheduler from "effect/Scheduler"
import { Heap } from "../../src/internal/memory/heap.ts"
import type { Prng } from "./prng.ts"

interface Timer {
  readonly at: number
  readonly sequence: number
  readonly run: () => void
  heapIndex: number
}

/** Tasks in one virtual instant: more of them are a loop that never ends. */
const maxTasksPerInstant = 200_000

export class World {
  /** ms since the epoch; the clock of the broker. */
  now = 1_700_000_000_000
  readonly startedAt = this.now
  readonly lines: Array<string> = []
  private readonly random: Prng
  private readonly timers = new Heap<Timer>((a, b) => a.at < b.at || (a.at === b.at && a.sequence < b.sequence))
  private sequence = 0
  private readonly runnable: Array<Process> = []

  constructor(random: Prng) {
    this.random = random
  }

  trace(who: string, what: string): void {
    this.lines.push(`${((this.now - this.startedAt) / 1000).toFixed(3).padStart(8)} ${who.padEnd(7)} ${what}`)
  }

  /** Calls `run` after so many ms, outside of every process. Answers how to call it off. */
  after(milliseconds: number, run: () => void): () => void {
    const timer: Timer = { at: this.now + Math.max(0, milliseconds), sequence: this.sequence++, run, heapIndex: -1 }
    // what never comes needs no timer
    if (timer.at < Infinity) this.timers.push(timer)
    return () => {
      if (timer.heapIndex >= 0) this.timers.remove(timer)
    }
  }

  wake(process: Process): void {
    this.runnable.push(process)
  }

  /** Lets time pass until the condition holds or nothing can happen any more. */
  async run(until: () => boolean): Promise<void> {
    while (!until()) {
      this.drain()
      // promises and microtasks belong to the instant
      await undefined
      if (this.runnable.length > 0) continue
      const timer = this.timers.pop()
      if (timer === undefined) return
      this.now = Math.max(this.now, timer.at)
      timer.run()
    }
  }

  private drain(): void {
    let tasks = 0
    while (this.runnable.length > 0) {
      // processes run in any order, what one of them does stays in order
      const index = this.runnable.length === 1 ? 0 : this.random.int(0, this.runnable.length - 1)
      const process = this.runnable[index]!
      this.runnable[index] = this.runnable[this.runnable.length - 1]!
      this.runnable.pop()
      tasks += process.runTasks()
      if (tasks > maxTasksPerInstant) throw new Error(`process "${process.name}" never comes to rest`)
    }
  }
}

export class Process {
  readonly name: string
  readonly world: World
  /** What programs run with: clock, scheduler, random numbers and a logger. */
  readonly context: Context.Context<never>
  alive = true
  /** It was frozen at least once. */
  stoodStill = false
  /** ms by which the wall clock of its host is wrong. */
  readonly skew: number
  private tasks: Array<() => void> = []
  private queued = false
  private frozen = false

  constructor(world: World, name: string, random: Prng, skew = 0) {
    this.world = world
    this.name = name
    this.skew = skew
    const logger = Logger.make(({ message }) => {
      this.world.trace(this.name, `logs ${[message].flat().map((part) => part instanceof Error ? part.message : part)}`)
    })
    this.context = Context.make(Clock.Clock, this.clock()).pipe(
      Context.add(Scheduler.Scheduler, {
        executionMode: "async",
        shouldYield: (fiber) => fiber.currentOpCount >= 2048,
        makeDispatcher: () => ({ scheduleTask: (task) => this.post(task), flush: () => {} })
      }),
      Context.add(Random.Random, random.service),
      Context.add(Logger.CurrentLoggers, new Set([logger])),
      Context.add(References.MinimumLogLevel, "Warn")
    )
  }

  /** Runs later, in order, unless the process ends before. */
  post(task: () => void): void {
    if (!this.alive) return
    this.tasks.push(task)
    if (this.queued || this.frozen) return
    this.queued = true
    this.world.wake(this)
  }

  /** Starts a program. Its fiber ends with the process, without finalizers. */
  fork<A, E>(effect: Effect.Effect<A, E>, onStart?: (fiber: Fiber.Fiber<A, E>) => void): void {
    this.post(() => {
      const fiber = Effect.runForkWith(this.context)(effect)
      onStart?.(fiber)
    })
  }

  /** Like `kill -9`. */
  kill(): void {
    this.alive = false
    this.tasks = []
  }

  /** Like SIGSTOP and SIGCONT, or an event loop that is blocked. */
  freeze(milliseconds: number): void {
    if (this.frozen || !this.alive) return
    this.frozen = true
    this.stoodStill = true
    this.world.after(milliseconds, () => {
      this.frozen = false
      const { tasks } = this
      this.tasks = []
      for (const task of tasks) this.post(task)
    })
  }

  get wallClock(): number {
    return this.world.now + this.skew
  }

  /** What was queued when it began; what that queues comes next. */
  runTasks(): number {
    this.queued = false
    if (!this.alive || this.frozen) return 0
    const { tasks } = this
    this.tasks = []
    for (let i = 0; i < tasks.length; i++) {
      if (!this.alive) return i
      if (this.frozen) {
        this.tasks.unshift(...tasks.slice(i))
        return i
      }
      tasks[i]!()
    }
    return tasks.length
  }

  private clock(): Clock.Clock {
    const millis = () => this.wallClock
    const nanos = () => BigInt(millis()) * 1_000_000n
    // the monotonic clock knows nothing of the wall clock
    const monotonic = () => BigInt(this.world.now - this.world.startedAt) * 1_000_000n
    return {
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
      monotonicTimeNanosUnsafe: monotonic,
      monotonicTimeNanos: Effect.sync(monotonic),
      sleep: (duration) =>
        Effect.callback<void>((resume) => {
          const cancel = this.world.after(
            Math.ceil(Duration.toMillis(duration)),
            () => this.post(() => resume(Effect.void))
          )
          return Effect.sync(cancel)
        })
    }
  }
}
