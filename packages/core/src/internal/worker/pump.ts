/**
 * Slots and buffer of one queue: starts handlers, one fiber per job, and turns
 * their exits into settlements.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Delivery, Settled, Settlement } from "../../JobLog.ts"
import { ShortLivedSet } from "../../ShortLived.ts"
import * as CronAround from "../cron/around.ts"
import { TimedOut } from "../handler.ts"
import { monotonic } from "../monotonic.ts"
import * as Attempts from "../telemetry/attempts.ts"
import * as ProcessSpan from "../telemetry/processSpan.ts"
import * as Traceparent from "../telemetry/traceparent.ts"
import * as Admission from "./admission.ts"
import * as Deadlines from "./deadlines.ts"
import { makeExecution } from "./execution.ts"
import { Held } from "./held.ts"
import * as Outcome from "./outcome.ts"
import * as Recall from "./recall.ts"
import type { RegisteredTask, Settings } from "./settings.ts"
import type { Settler } from "./settler.ts"
import * as Suspects from "./suspects.ts"
import type { Writer } from "./writer.ts"

export interface Pump {
  /** Everything in hand: buffered, running and not yet settled. */
  readonly held: Iterable<Held> & { readonly size: number }
  /** How many more jobs fit: free slots and prefetch, less what waits already. */
  readonly demand: () => number
  readonly accept: (deliveries: ReadonlyArray<Delivery>) => void
  /** The job has a record already: it is not run. */
  readonly drop: (held: Held) => void
  /** The lease or the job is gone: nothing is settled any more. */
  readonly abandon: (held: Held, reason: "cancelled" | "leaseLost") => void
  /** Hands back what waits in the buffer, uncounted. */
  readonly handBackBuffered: () => void
  /** Slots are free, and every job in the buffer is over the limit of its task. */
  readonly isBlocked: () => boolean
  /** Hands back the last jobs of the buffer, uncounted, for others behind them to come. */
  readonly giveWay: (count: number) => void
  /** Interrupts what runs; it is released, uncounted. */
  readonly stopRunning: () => void
  /** After the drain: leaves no timer behind. */
  readonly close: () => void
  readonly running: () => number
  readonly finished: () => number
}

/** ms after which a job that gave way is due again, at most: then it is behind those that it gave way to. */
const surplusDelay = 1_000

export const make = (options: {
  readonly settings: Settings
  readonly queue: string
  readonly tasks: ReadonlyMap<string, RegisteredTask>
  readonly writer: Writer
  readonly settler: Settler
  readonly suspects: Suspects.Suspects
  readonly extendOne: (delivery: Delivery) => Effect.Effect<boolean>
  /** Looks for the records of jobs that may have one; see `Admission.mayHaveRecord`. Calls back for each job that is free to run. */
  readonly check: (unchecked: ReadonlyArray<Held>, onFree: (one: Held) => void) => void
  /** Asks whether a suspect is poison, and counts it as started if it is not and `starts`. */
  readonly judge: (one: Held, starts: boolean, onVerdict: (verdict: Suspects.Verdict) => void) => void
  /** Called when demand grew or something ended. */
  readonly onProgress: () => void
}): Pump => {
  const { queue, settings, settler, suspects, tasks, writer } = options
  const { clock, emitter } = settings
  const fork = Effect.runForkWith(settings.context)
  const around = CronAround.make(settings)
  const attempts = Attempts.make(settings, queue, tasks)
  const handlers = new Map(
    Array.from(tasks, ([tag, { handler }]) => {
      // merged once: a job adds what is its own
      const begin = attempts.starter(tag, Context.merge(settings.context, handler.services))
      return [tag, { begin, run: handler.startWith(settings.encoding, around) }]
    })
  )
  const held = new ShortLivedSet<Held>()
  let buffer: Array<Held> = []
  const runningByTask = new Map<string, number>()
  let running = 0
  let finished = 0
  let pumping = false

  const deadlines = Deadlines.make({ clock, fork, onDeadline: (one) => one.stop("timedOut") })

  const log = (message: string, delivery: Delivery) => {
    if (!settings.debug) return
    const { attempt, id, task } = delivery.envelope
    fork(Effect.logDebug(message, { queue, id, task, attempt, deliveries: delivery.deliveries }))
  }

  const emit = (kind: Parameters<typeof emitter.emit>[0]["_tag"], delivery: Delivery, more?: object) => {
    if (!emitter.wanted(queue)) return
    const { attempt, id, task } = delivery.envelope
    emitter.emit({ _tag: kind, queue, task, id, attempt, ...more })
  }

  const settle = (settlement: Settlement, then: (answer: Settled) => void) => {
    if (!settings.debug) return settler.push(settlement, then)
    settler.push(settlement, (answer) => {
      log(`Settlement ${settlement._tag}: ${answer}`, settlement.delivery)
      then(answer)
    })
  }

  const forget = (one: Held) => {
    if (one.state === "gone") return
    one.state = "gone"
    held.delete(one)
    if (one.suspect) suspects.count--
  }

  const settleHeld = (one: Held, settlement: Settlement, onSettled: (one: Held) => void) => {
    const ran = one.state !== "buffered"
    one.state = "settling"
    settle(settlement, (answer) => {
      forget(one)
      if (answer !== "settled") return
      if (ran && one.verdict !== undefined) fork(Suspects.acquit(settings, queue, one.delivery, one.verdict))
      onSettled(one)
    })
  }

  const onSucceeded = ({ delivery }: Held) => {
    finished++
    emit("Succeeded", delivery)
  }

  const runsAtLimit = (task: string) => {
    if (settings.taskConcurrency.size === 0) return false
    const limit = settings.taskConcurrency.get(task)
    return limit !== undefined && (runningByTask.get(task) ?? 0) >= limit
  }

  const countRunning = (task: string, by: 1 | -1) => {
    running += by
    if (settings.taskConcurrency.has(task)) runningByTask.set(task, (runningByTask.get(task) ?? 0) + by)
  }

  const isJudged = (one: Held) => {
    // it may end this process at once: what it would take with it, uncounted till then, has to be out of our hands first
    if (suspects.leaving > 0) return false
    if (one.verdict === undefined) {
      one.verdict = "asked"
      options.judge(one, true, (verdict) => {
        one.verdict = verdict
        pump()
      })
    }
    return one.verdict !== "asked"
  }

  /** The first job of the buffer that may start now. */
  const next = (): Held | undefined => {
    const index = buffer.findIndex((one) =>
      one.checked && !runsAtLimit(one.delivery.envelope.task) && (!one.suspect || isJudged(one))
    )
    if (index < 0) return undefined
    return index === 0 ? buffer.shift() : buffer.splice(index, 1)[0]
  }

  const pump = () => {
    // a handler that ends at once comes back here through its exit: let the outer loop go on
    if (pumping) return
    pumping = true
    const now = monotonic(clock)
    while (running < settings.concurrency) {
      const one = next()
      if (one === undefined) break
      // it waited longer than its lease without a confirmed heartbeat: it may run elsewhere
      if (now - one.confirmedAt >= settings.idleTimeout) loseBuffered(one)
      // it was admitted in time, and waited here too long for a slot
      else if (Admission.isExpired(settings, one.delivery)) expire(one)
      else if (one.verdict === "poison") buryPoison(one)
      else start(one)
    }
    pumping = false
    options.onProgress()
  }

  const loseBuffered = (one: Held) => {
    attempts.lostInBuffer(one.delivery)
    forget(one)
  }

  const expire = (one: Held) => {
    log("Not run: expired", one.delivery)
    recall(one.delivery, one.task, writer.expired(one.delivery, one.task.policy), (settlement) => {
      if (one.state === "gone") return
      settleHeld(one, settlement, ({ delivery }) => {
        finished++
        attempts.refused(delivery, settlement)
        emit("Expired", delivery)
      })
    })
  }

  const recall = (
    delivery: Delivery,
    task: RegisteredTask | undefined,
    settlement: Settlement,
    then: (settlement: Settlement) => void
  ) => {
    const recalled = Recall.recall(settings, writer, delivery, task, settlement)
    if (recalled === undefined) then(settlement)
    else fork(Effect.map(recalled, then))
  }

  const start = (one: Held) => {
    const { delivery, delivery: { envelope }, task } = one
    one.state = "running"
    countRunning(envelope.task, 1)
    const { timeout } = task.policy
    const deadline = timeout === undefined ? undefined : clock.currentTimeMillisUnsafe() + timeout
    const execution = makeExecution(settings, one, deadline, options.extendOne)
    log("Start", delivery)
    emit("Started", delivery)
    const decodeWith = settings.accepted.get(envelope.contentType)!
    const handler = handlers.get(envelope.task)!
    const context = handler.begin(one)
    const around = ProcessSpan.surrounding(one.span)
    const fiber = around === undefined
      ? handler.run(context, envelope.body, decodeWith, execution)
      : ProcessSpan.startWithin(around, handler.run, context, envelope.body, decodeWith, execution)
    one.fiber = fiber
    if (timeout !== undefined) deadlines.add(one, monotonic(clock) + timeout)
    fiber.addObserver(around === undefined ? (exit) => ended(one, exit) : ProcessSpan.endOutside(around, one, ended))
  }

  const ended = (one: Held, exit: Exit.Exit<Uint8Array, unknown>) => {
    const { delivery, task } = one
    one.fiber = undefined
    countRunning(delivery.envelope.task, -1)
    if (task.policy.timeout !== undefined) deadlines.remove(one)
    if (one.stopReason === "cancelled" || one.stopReason === "leaseLost") {
      log(`Interrupted: ${one.stopReason}`, delivery)
      attempts.interrupted(one, one.stopReason === "cancelled" ? "cancelled" : "lease_lost")
      forget(one)
    } else if (Exit.isSuccess(exit)) {
      attempts.succeeded(one)
      settleHeld(one, writer.succeeded(delivery, exit.value, task.policy), onSucceeded)
    } else if (one.stopReason === "shutdown" && Cause.hasInterrupts(exit.cause)) {
      // also if its finalizers failed: we interrupted it, so it does not count
      attempts.interrupted(one, "released")
      settleHeld(one, writer.again(delivery, 0), () => emit("Released", delivery, { reason: "shutdown" }))
    } else {
      one.state = "settling"
      fork(settleFailure(one, exit.cause))
    }
    pump()
  }

  const settleFailure = (one: Held, cause: Cause.Cause<unknown>) => {
    const { delivery, task } = one
    const timedOut = one.stopReason === "timedOut" && Cause.hasInterrupts(cause)
      ? new TimedOut(task.policy.timeout!)
      : undefined
    const traceparent = one.span?.sampled === true ? Traceparent.write(one.span) : undefined
    const failed = Outcome.ofFailure(settings, writer, task, delivery, cause, timedOut, traceparent)
    return Effect.map(failed, (outcome) => {
      attempts.failed(one, cause, outcome)
      settleHeld(one, outcome.settlement, () => {
        const { delay, kind, reason } = outcome
        attempts.settled(one, cause, outcome)
        emit(kind, delivery, { reason, ...(delay === undefined ? {} : { delay }) })
        if (kind !== "Failed") return
        finished++
        if (outcome.settlement._tag === "Bury") emit("DeadLettered", delivery, { reason })
      })
    })
  }

  const admit = (delivery: Delivery, now: number, since: number, unchecked: Array<Held>) => {
    const admission = Admission.decide(settings, tasks, writer, delivery, now)
    if (admission._tag === "Settle") return refuse(delivery, admission)
    const suspect = Suspects.isSuspect(delivery)
    const surplus = suspect && suspects.count > 0
    if (surplus && delivery.deliveries <= settings.maxDeliveries) return handBackSuspect(delivery)
    if (suspect && !surplus) Suspects.take(suspects, since)
    log("Handed out", delivery)
    const one = new Held(delivery, admission.task, suspect && !surplus, !Admission.mayHaveRecord(delivery), since)
    held.add(one)
    buffer.push(one)
    if (surplus) lookAt(one)
    else if (!one.checked) unchecked.push(one)
  }

  /** Ends or hands back what is not run. */
  const refuse = (delivery: Delivery, refusal: Extract<Admission.Admission, { _tag: "Settle" }>) => {
    const { why } = refusal
    log(`Not run: ${why}`, delivery)
    recall(delivery, refusal.recall, refusal.settlement, (settlement) =>
      settle(settlement, (answer) => {
        if (answer !== "settled" || settlement._tag === "Forward") return
        finished++
        attempts.refused(delivery, settlement)
        if (settlement !== refusal.settlement) return emit("Succeeded", delivery)
        if (settlement._tag === "Ack") return emit("Expired", delivery)
        emit("Failed", delivery, { reason: why })
        emit("DeadLettered", delivery, { reason: why })
      }))
    if (refusal.settlement._tag !== "Bury") return
    const { id, task } = delivery.envelope
    fork(Effect.logWarning(`Job "${id}" of queue "${queue}" (task "${task}") is dead-lettered: ${why}`))
  }

  const handBackSuspect = (delivery: Delivery) => {
    log("Suspect handed back: this worker holds one already", delivery)
    suspects.leaving++
    const delay = settings.jittered(Suspects.delayOf(suspects, monotonic(clock)))
    settle(writer.handBack(delivery, delay), () => Suspects.left(suspects))
  }

  const buryPoison = (one: Held) => {
    forget(one)
    refuse(one.delivery, Admission.poison(writer, one.delivery, one.task))
  }

  /** It is not this one's turn, but poison is not run: it need not wait, nor does the key that it may hold. */
  const lookAt = (one: Held) =>
    options.judge(one, false, (verdict) => {
      if (one.state !== "buffered") return
      buffer = buffer.filter((other) => other !== one)
      if (verdict === "poison") return buryPoison(one)
      forget(one)
      handBackSuspect(one.delivery)
    })

  const free = (one: Held) => {
    one.checked = true
    pump()
  }

  const drop = (one: Held) => {
    if (one.state !== "buffered") return
    buffer = buffer.filter((other) => other !== one)
    settleHeld(one, { _tag: "Drop", delivery: one.delivery }, () => {})
  }

  suspects.starts.push(pump)

  return {
    held,
    demand: () => settings.concurrency + settings.prefetch - running - buffer.length,
    accept: (deliveries) => {
      attempts.received(deliveries)
      const now = settings.now()
      const since = monotonic(clock)
      const unchecked: Array<Held> = []
      for (const delivery of deliveries) admit(delivery, now, since, unchecked)
      if (unchecked.length > 0) options.check(unchecked, free)
      pump()
    },
    drop,
    abandon: (one, reason) => {
      if (one.state === "buffered") {
        log(`Dropped from the buffer: ${reason}`, one.delivery)
        buffer = buffer.filter((other) => other !== one)
        if (reason === "leaseLost") loseBuffered(one)
        else forget(one)
        options.onProgress()
      } else if (one.state === "running") one.stop(reason)
      // a settlement on its way is answered by the transport: `superseded` if the lease is gone
    },
    handBackBuffered: () => {
      for (const one of buffer) {
        emit("Released", one.delivery, { reason: "not started" })
        settleHeld(one, writer.handBack(one.delivery, 0), () => {})
      }
      buffer = []
      options.onProgress()
    },
    isBlocked: () =>
      running < settings.concurrency && buffer.length > 0 &&
      buffer.every((one) => one.checked && runsAtLimit(one.delivery.envelope.task)),
    giveWay: (count) => {
      for (const one of buffer.splice(Math.max(0, buffer.length - count))) {
        log("Handed back: its task is at its limit", one.delivery)
        settleHeld(one, writer.handBack(one.delivery, settings.jittered(surplusDelay)), () => {})
      }
      options.onProgress()
    },
    stopRunning: () => {
      for (const one of held) if (one.state === "running") one.stop("shutdown")
    },
    close: () => {
      deadlines.close()
      attempts.close()
    },
    running: () => running,
    finished: () => finished
  }
}
