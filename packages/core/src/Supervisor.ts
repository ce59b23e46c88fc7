/**
 * Supervises the jobs of one queue in one worker.
 *
 * A crashed pull loop restarts with backoff and keeps running jobs alive; a
 * defect in a handler fails only its job; a broker that is away pauses pulling,
 * keeps handlers running and gets its settlements when it is back.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { cancelTopic } from "./Bus.ts"
import { monotonic } from "./internal/monotonic.ts"
import * as QueueStats from "./internal/telemetry/queueStats.ts"
import * as Confirm from "./internal/worker/confirm.ts"
import * as Heartbeat from "./internal/worker/heartbeat.ts"
import type { Held } from "./internal/worker/held.ts"
import * as Pump from "./internal/worker/pump.ts"
import type { RegisteredTask, Settings } from "./internal/worker/settings.ts"
import * as Settler from "./internal/worker/settler.ts"
import * as Suspects from "./internal/worker/suspects.ts"
import * as Vitals from "./internal/worker/vitals.ts"
import * as Writer from "./internal/worker/writer.ts"
import { records } from "./Store.ts"
import type { TransportError } from "./TransportError.ts"

export interface Supervisor {
  readonly queue: string
  readonly vitals: Vitals.Vitals
  /** Jobs whose handler runs now. */
  readonly running: () => number
  /** Jobs in hand: waiting for a slot, running or not yet settled. */
  readonly held: () => number
  /** Jobs that this worker ended. */
  readonly finished: () => number
  /** Begins to pull, unless the queue is paused. */
  readonly start: Effect.Effect<void>
  /** While paused nothing is pulled, and what waits in the buffer is handed back. */
  readonly setPaused: (paused: boolean) => Effect.Effect<void>
  /** Waits until nothing is in hand. */
  readonly idle: Effect.Effect<void>
  /**
   * Stops pulling, hands back what was not started, waits for running handlers
   * until `graceOver`, then interrupts and releases them.
   */
  readonly drain: (graceOver: Effect.Effect<void>) => Effect.Effect<void>
}

/** ms between two looks at whether jobs over the limit of their task keep others from free slots. */
const roomEvery = 250

const restartDelay = { first: 100, longest: 5_000 }

/** Settlements may pile up while the broker is away: then no more jobs are pulled. */
const maxUnsettled = 1_024

/** ms that interrupted handlers get for their finalizers before they are left behind. */
const finalizersLimit = 10_000

const lookupBackoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

export const make = Effect.fnUntraced(function*(
  settings: Settings,
  queue: string,
  tasks: ReadonlyMap<string, RegisteredTask>,
  suspects: Suspects.Suspects
): Effect.fn.Return<Supervisor, TransportError, Scope> {
  const { bus, log, store } = settings.transport
  const vitals = Vitals.make(settings.clock, queue)
  const fork = Effect.runForkWith(settings.context)
  const subscription = yield* log.subscribe({
    queue,
    priorities: settings.priorities,
    consumer: settings.id,
    lease: settings.idleTimeout,
    // who keeps outcomes of its own keeps what it knows of a key, too
    turns: Array.from(tasks.values()).some(({ handler }) => handler.recall !== undefined)
  })

  /** Observers of progress that are called again and again until they answer true. */
  const observers = new Set<() => boolean>()
  const onProgress = () => {
    for (const observer of observers) if (observer()) observers.delete(observer)
  }
  const settler = Settler.make(settings, queue, subscription, onProgress)
  const when = (condition: () => boolean) =>
    Effect.callback<void>((resume) => {
      if (condition()) return resume(Effect.void)
      const observer = () => {
        if (!condition()) return false
        resume(Effect.void)
        return true
      }
      observers.add(observer)
      return Effect.sync(() => observers.delete(observer))
    })

  /** Looks for records until it got an answer, or until the jobs are no longer waiting here. */
  const check = (unchecked: ReadonlyArray<Held>, onFree: (one: Held) => void) => {
    const lookup = Effect.suspend(() => {
      const waiting = unchecked.filter((one) => one.state === "buffered")
      if (waiting.length === 0) return Effect.void
      return Effect.map(store.get(records(queue), waiting.map((one) => one.delivery.envelope.id)), (rows) => {
        waiting.forEach((one, i) => Option.isSome(rows[i]!) ? pump.drop(one) : onFree(one))
      })
    })
    // sandboxed: jobs whose look failed for good would be held for ever
    fork(Effect.retry(Effect.sandbox(lookup), lookupBackoff))
  }

  const judge = (one: Held, starts: boolean, onVerdict: (verdict: Suspects.Verdict) => void) => {
    const look = Effect.suspend(() =>
      one.state === "buffered"
        ? Effect.map(Suspects.judge(settings, queue, one.delivery, starts), onVerdict)
        : Effect.void
    )
    fork(Effect.retry(Effect.sandbox(look), lookupBackoff))
  }

  const pump: Pump.Pump = Pump.make({
    settings,
    queue,
    tasks,
    writer: Writer.make(settings, queue),
    settler,
    suspects,
    extendOne: Confirm.make(settings, subscription),
    check,
    judge,
    onProgress
  })

  // waiting for half a buffer of room keeps batches large; an empty worker asks at once
  const threshold = Math.max(1, Math.ceil(Math.min(settings.prefetch, 64) / 2))
  const hasRoom = () =>
    settler.pending() < maxUnsettled && pump.demand() > 0 && (pump.demand() >= threshold || pump.held.size === 0)

  const pullForever = Effect.gen(function*() {
    let failures = 0
    while (true) {
      yield* when(hasRoom)
      const pulledAt = monotonic(settings.clock)
      if (failures > 0) vitals.pullsAgain()
      // nothing may interrupt between the hand-out and the moment at which the pump holds it
      const exit = yield* Effect.uninterruptibleMask((restore) =>
        Effect.exit(Effect.map(restore(subscription.pull(pump.demand())), pump.accept))
      )
      if (Exit.isSuccess(exit)) {
        if (failures > 0) {
          vitals.pulled()
          yield* Effect.logInfo(`Pulling from queue "${queue}" again`)
        }
        failures = 0
        continue
      }
      if (Cause.hasInterruptsOnly(exit.cause)) return yield* Effect.interrupt
      vitals.pullFailed(Cause.prettyErrors(exit.cause)[0]?.message ?? "pulling failed")
      // one that waited for long had reached the broker: this is a new failure
      if (monotonic(settings.clock) - pulledAt > restartDelay.longest) failures = 0
      if (failures === 0) {
        yield* Effect.logWarning(`Pulling from queue "${queue}" failed, trying again. Running jobs go on.`, exit.cause)
      }
      yield* Effect.sleep(Math.min(restartDelay.longest, restartDelay.first * 2 ** Math.min(failures++, 10)))
    }
  })

  /** As many as a pull asks for at least: the others keep the task at its limit. */
  const makeRoom = Effect.suspend(() => {
    const isBlocked = () => !hasRoom() && pump.isBlocked()
    if (!isBlocked()) return Effect.void
    return Effect.map(log.stats(queue), ({ queued }) => {
      if (queued > 0 && isBlocked()) pump.giveWay(threshold)
    })
  })
  if (settings.givesWay && Array.from(tasks.keys()).some((tag) => settings.taskConcurrency.has(tag))) {
    yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.ignoreCause(makeRoom), roomEvery)))
  }

  let state: "starting" | "started" | "draining" = "starting"
  let paused = false
  let pulling: Fiber.Fiber<unknown> | undefined
  const tell = () => vitals.enter(state === "started" ? paused ? "paused" : "pulling" : state)
  const startPulling = Effect.sync(() => {
    if (state === "started" && !paused) pulling ??= fork(pullForever)
  })
  const stopPulling = Effect.suspend(() => {
    const fiber = pulling
    pulling = undefined
    return fiber === undefined ? Effect.void : Fiber.interrupt(fiber)
  })

  const onLost = (one: Held) => pump.abandon(one, "leaseLost")
  const heartbeat = Heartbeat.run({ settings, queue, subscription, held: pump.held, onLost }).pipe(
    Effect.sandbox,
    Effect.tapError((cause) => Effect.logError(`The heartbeat of queue "${queue}" crashed, restarting it`, cause)),
    Effect.retry(Schedule.spaced("100 millis"))
  )
  yield* Effect.forkScoped(heartbeat, { startImmediately: true })

  yield* QueueStats.poll(settings, queue)

  const text = new TextDecoder()
  yield* bus.subscribe(cancelTopic(queue), (message) => {
    const id = text.decode(message.bytes)
    for (const one of pump.held) if (one.delivery.envelope.id === id) pump.abandon(one, "cancelled")
  })
  yield* Effect.addFinalizer(() => Effect.andThen(stopPulling, Effect.sync(pump.close)))

  const noneRunning = when(() => pump.running() === 0)

  return {
    queue,
    vitals,
    running: pump.running,
    held: () => pump.held.size,
    finished: pump.finished,
    start: Effect.suspend(() => {
      state = "started"
      tell()
      return startPulling
    }),
    setPaused: (next) =>
      Effect.suspend(() => {
        if (next === paused) return Effect.void
        paused = next
        tell()
        return paused ? Effect.andThen(stopPulling, Effect.sync(pump.handBackBuffered)) : startPulling
      }),
    idle: when(() => pump.held.size === 0 && settler.pending() === 0),
    drain: Effect.fnUntraced(function*(graceOver) {
      state = "draining"
      tell()
      yield* stopPulling
      pump.handBackBuffered()
      yield* Effect.raceFirst(noneRunning, graceOver)
      if (pump.running() > 0) {
        yield* Effect.logWarning(`Grace period of queue "${queue}" is over: releasing ${pump.running()} running jobs`)
        pump.stopRunning()
        yield* Effect.timeoutOption(noneRunning, finalizersLimit)
        if (pump.running() > 0) {
          const stuck = [...pump.held].filter((one) => one.state === "running").map((one) => one.delivery.envelope.task)
          yield* Effect.logError(
            `Handlers do not end after ${finalizersLimit} ms of interruption: ${stuck.join(", ")}. ` +
              `They are left behind; their jobs run again elsewhere when the lease ends.`
          )
        }
      }
      const settled = yield* Effect.timeoutOption(settler.drained, settings.idleTimeout)
      if (Option.isNone(settled)) {
        yield* Effect.logError(
          `The broker did not answer ${settler.pending()} settlements of queue "${queue}" in time: those jobs run again.`
        )
      }
    })
  }
})
