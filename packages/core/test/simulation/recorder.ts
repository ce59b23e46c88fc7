/**
 * Writes down what the broker accepted and what handlers did, as seen by
 * somebody who stands at the broker and misses nothing.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Envelope from "../../src/Envelope.ts"
import type * as Execution from "../../src/Execution.ts"
import { HandOut } from "../../src/internal/memory/job.ts"
import type { Delivery, Revised, Revision, Settled, Settlement } from "../../src/JobLog.ts"
import type { TerminalState } from "../../src/JobRecord.ts"
import * as Invariants from "../../src/testing/Invariants.ts"
import type { Health } from "./health.ts"
import { showSettlement } from "./seam.ts"
import { leastRetryDelay, maxAttempts, type Step } from "./tasks.ts"
import type { Process, World } from "./world.ts"

interface Mutable extends Invariants.Run {
  endedAt: number | undefined
  outcome: Invariants.Outcome | undefined
  delay: number | undefined
  leaseLostAt: number | undefined
  healthy: boolean
  settled: boolean | undefined
  token: { readonly value: number; readonly takenAt: number } | undefined
}

interface Sent extends Invariants.Sent {
  dueAt: number
  order: number
}

interface ActiveRun {
  readonly run: Mutable
  readonly process: Process
  readonly key: string | undefined
  readonly delivery: Delivery | undefined
  /** By the clock of the worker. */
  interruptedAt: number | undefined
}

const nameOf = (queue: string, id: string) => `${queue}/${id}`

export class Recorder {
  readonly history = Invariants.empty()
  readonly health: Health
  /** What a planted bug hands out in place of a delivery of the broker. */
  readonly stands = new WeakMap<Delivery, Delivery>()
  /** What a handler runs, by the headers that it sees. */
  readonly byHeaders = new WeakMap<object, Delivery>()
  private readonly world: World
  private order = 0
  private readonly newest = new Map<string, Sent>()
  /** That a broker has handed out. */
  private readonly everInHand = new Set<Sent>()
  /** Revisions that a reschedule made. */
  private readonly changes = new Set<string>()
  /** Generations by name and `enqueuedAt`. */
  private readonly generations = new Map<string, number>()
  private readonly keys = new Map<string, string | undefined>()
  /** What a process was handed out and has not settled, by name. */
  private readonly inHand = new Map<Process, Map<string, ReadonlyArray<Delivery>>>()
  private readonly active = new Set<ActiveRun>()
  private readonly runOf = new WeakMap<Delivery, Mutable>()
  private readonly answered = new WeakSet<Delivery>()
  /** When the last sign of life was sent that got an answer, of deliveries that reached their process. */
  private readonly confirmedAt = new WeakMap<Delivery, number>()
  /** The worker may have given these up, or not. */
  private readonly doubtful = new WeakSet<Delivery>()
  /** Runs that ended and must be settled. */
  private readonly unsettled = new Map<Mutable, Process>()
  private readonly inHandsAtWithdraw = new Map<string, boolean>()

  constructor(world: World, health: Health) {
    this.world = world
    this.health = health
  }

  // --- what passes at the broker ---

  handOut(process: Process, deliveries: ReadonlyArray<Delivery>, waitedSince: number): void {
    let hand = this.inHand.get(process)
    if (hand === undefined) this.inHand.set(process, hand = new Map())
    for (const delivery of deliveries) {
      const { attempt, id, queue, revision } = delivery.envelope
      const name = nameOf(queue, id)
      const sent = this.newest.get(name)
      if (sent !== undefined) this.everInHand.add(sent)
      hand.set(name, [...hand.get(name) ?? [], delivery])
      this.health.handedOut(name, delivery, waitedSince)
      this.world.trace(
        process.name,
        `gets ${id} revision ${revision} attempt ${attempt} hand-out ${delivery.deliveries}`
      )
    }
  }

  beforeSettle(process: Process, delivery: Delivery): void {
    const { id, queue } = delivery.envelope
    const hand = this.inHand.get(process)
    const left = hand?.get(nameOf(queue, id))?.filter((other) => other !== delivery) ?? []
    if (left.length === 0) hand?.delete(nameOf(queue, id))
    else hand?.set(nameOf(queue, id), left)
    const run = this.runOf.get(delivery)
    if (run !== undefined && run.settled === undefined && !this.owns(delivery)) this.lost(run)
  }

  afterSettle(process: Process, settlement: Settlement, answer: Settled): void {
    const run = this.runOf.get(settlement.delivery)
    const first = !this.answered.has(settlement.delivery)
    this.answered.add(settlement.delivery)
    if (run !== undefined && run.settled === undefined) run.settled = answer === "settled"
    if (run !== undefined) this.unsettled.delete(run)
    const { id, queue } = settlement.delivery.envelope
    if (first && answer === "settled") this.health.settled(nameOf(queue, id), settlement, run !== undefined)
    this.world.trace(
      process.name,
      `settles ${settlement.delivery.envelope.id} ${showSettlement(settlement)}: ${answer}`
    )
  }

  withdrawing(queue: string, id: string): void {
    this.inHandsAtWithdraw.set(nameOf(queue, id), this.isInHand(queue, id))
  }

  withdrawn(process: Process, queue: string, id: string, state: TerminalState): void {
    this.world.trace(process.name, `withdraws ${id}: ${state}`)
    if (state === "cancelled") this.health.cancelled(nameOf(queue, id))
  }

  revised(process: Process, revision: Revision, answer: Revised): void {
    const target = revision._tag === "Reschedule" ? revision.successor : revision.record
    const name = nameOf(target.queue, target.id)
    this.world.trace(process.name, `${revision._tag} of ${target.id}: ${answer}`)
    if (answer !== "done") return
    if (revision._tag === "Unschedule") {
      // it was in nobody's hands
      this.inHandsAtWithdraw.set(name, false)
      return this.health.cancelled(name)
    }
    const { successor } = revision
    const change = `${name}/${successor.enqueuedAt}/${successor.revision}`
    // a repeat that comes late changes nothing
    if (this.changes.has(change)) return
    this.changes.add(change)
    const sent = this.newest.get(name)
    if (sent === undefined) return
    const { now } = this.world
    const dueAt = Math.max(now, Envelope.dueAt(successor, now))
    this.health.rescheduled(name, successor.key === undefined ? dueAt : undefined)
    if (this.everInHand.has(sent)) {
      const { generation, id, queue } = sent
      this.history.moves.push({ queue, id, generation, movedAt: now, dueAt })
    } else {
      sent.dueAt = dueAt
      // who is due now joins behind those that are; who is due later with others, in the order of their enqueues
      if (dueAt === now) sent.order = this.order++
    }
  }

  /** The broker still knew of these when the worker sent this sign of life. */
  confirm(process: Process, deliveries: ReadonlyArray<Delivery>, sentAt: number): void {
    const lease = this.health.leases.get(process) ?? Infinity
    for (const delivery of deliveries) {
      const before = this.confirmedAt.get(delivery) ?? sentAt
      const age = this.world.now - before
      // an answer that comes later finds a worker that has given the job up; answers may overtake each other
      if (age <= lease) this.confirmedAt.set(delivery, Math.max(before, sentAt))
      // in one instant with the end of the lease: whichever the worker heard of first
      if (age === lease) this.doubtful.add(delivery)
    }
  }

  accept(envelope: Envelope.Envelope, replayed: boolean): void {
    const { enqueuedAt, expiresAt, id, key, queue, task } = envelope
    const name = nameOf(queue, id)
    const before = this.newest.get(name)
    const generation = before === undefined ? 0 : before.generation! + 1
    const { now } = this.world
    const sent: Sent = {
      queue,
      id,
      generation,
      task,
      key,
      replayed,
      acceptedAt: now,
      dueAt: Math.max(now, Envelope.dueAt(envelope, now)),
      order: this.order++,
      maxAttempts: envelope.maxAttempts ?? maxAttempts(task),
      expiresAt
    }
    this.newest.set(name, sent)
    this.health.accepted(name, key === undefined ? sent.dueAt : undefined)
    this.generations.set(`${name}/${enqueuedAt}`, generation)
    this.keys.set(name, key)
    this.history.sent.push(sent)
    const due = sent.dueAt > now ? ` due in ${sent.dueAt - now}` : ""
    this.world.trace("broker", `takes ${id} (${task}${key === undefined ? "" : ` key ${key}`}) for ${queue}${due}`)
  }

  // --- leases ---

  private owns(delivery: Delivery | undefined): boolean {
    const handOut = delivery === undefined ? undefined : this.stands.get(delivery) ?? delivery
    return handOut instanceof HandOut && handOut.current
  }

  private isInHand(queue: string, id: string): boolean {
    for (const [process, hand] of this.inHand) if (process.alive && hand.has(nameOf(queue, id))) return true
    return false
  }

  private noteLostLeases(matches: (active: ActiveRun) => boolean): void {
    for (const one of this.active) {
      if (matches(one) && !this.owns(one.delivery)) this.lost(one.run)
    }
  }

  private lost(run: Mutable): void {
    if (run.leaseLostAt !== undefined) return
    run.leaseLostAt = this.world.now
    run.healthy = this.health.healthy
  }

  // --- handlers ---

  /** A handler that writes down its run. */
  watch<A, E>(
    process: Process,
    execution: Execution.Execution,
    step: Step,
    perform: (onInterrupt: () => void) => Effect.Effect<A, E>
  ): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      // a call that was on its way when the process was killed
      if (!process.alive) return Effect.never
      const one = this.start(process, execution)
      const body = perform(() => {
        one.interruptedAt = process.wallClock
      })
      const fenced = step.fenced
        ? Effect.flatMap(execution.fencingToken, (value) =>
          Effect.suspend(() => {
            one.run.token = { value, takenAt: this.world.now }
            return body
          }))
        : body
      return Effect.onExit(fenced, (exit) => Effect.sync(() => this.end(one, execution, step, exit)))
    })
  }

  private start(process: Process, execution: Execution.Execution): ActiveRun {
    const { attempt, deliveries, id, queue } = execution
    const { now } = this.world
    const name = nameOf(queue, id)
    const key = this.keys.get(name)
    const delivery = this.byHeaders.get(execution.headers)
    const generation = this.generations.get(`${name}/${execution.enqueuedAt}`)
    const run: Mutable = {
      queue,
      id,
      generation,
      worker: process.name,
      attempt,
      deliveries,
      startedAt: now,
      endedAt: undefined,
      outcome: undefined,
      delay: undefined,
      // it was lost before
      leaseLostAt: this.owns(delivery) ? undefined : now - 1,
      healthy: this.health.healthy,
      settled: undefined,
      token: undefined
    }
    this.noteLostLeases((one) =>
      one.run.queue === queue && (one.run.id === id || (key !== undefined && one.key === key))
    )
    const one: ActiveRun = { run, process, key, delivery, interruptedAt: undefined }
    const others = Array.from(this.active, (other) => ({ process: other.process, deliveries: other.run.deliveries }))
    this.health.started(name, process, deliveries, others)
    this.active.add(one)
    if (delivery !== undefined) this.runOf.set(delivery, run)
    this.history.runs.push(run)
    const lease = run.leaseLostAt === undefined ? "" : ", its lease is lost"
    this.world.trace(process.name, `starts ${id} attempt ${attempt} hand-out ${deliveries}${lease}`)
    return one
  }

  private end(one: ActiveRun, execution: Execution.Execution, step: Step, exit: Exit.Exit<unknown, unknown>): void {
    if (!one.process.alive || !this.active.delete(one)) return
    const { now } = this.world
    const { run } = one
    const interrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
    const interruptedAt = one.interruptedAt ?? one.process.wallClock
    const timedOut = interrupted && interruptedAt >= (execution.deadline ?? Infinity)
    const atOnce = interruptedAt === execution.deadline || one.process.stoodStill
    run.endedAt = now
    if (Exit.isSuccess(exit)) run.outcome = "succeeded"
    // at once with a shutdown, it cannot be known from here which of the two it was
    else if (timedOut && atOnce && this.health.isOver(one.process)) {
      run.outcome = undefined
    } else if (timedOut) run.outcome = "failed"
    else if (interrupted) run.outcome = "interrupted"
    else if (step.ends === "snoozes") run.outcome = "snoozed"
    else if (step.ends === "discards") run.outcome = "discarded"
    else run.outcome = "failed"
    run.delay = !timedOut && (step.ends === "snoozes" || step.ends === "retriesAfter")
      ? step.delay
      : leastRetryDelay(execution.task, run.attempt)
    if (!this.owns(one.delivery)) this.lost(run)
    const { cleanup } = step
    const { deadline } = execution
    const name = nameOf(run.queue, run.id)
    const confirmedAt = one.delivery && this.confirmedAt.get(one.delivery)
    this.health.ended(name, one.process, {
      startedAt: run.startedAt,
      deadline,
      cleanup,
      confirmedAt,
      interruptedAt: run.outcome === "interrupted" ? interruptedAt - one.process.skew : undefined,
      leaseLost: run.leaseLostAt !== undefined
    })
    const lease = this.health.leases.get(one.process) ?? 0
    const surelyOwned = run.leaseLostAt === undefined && now - (confirmedAt ?? -Infinity) < lease &&
      !one.process.stoodStill && !(one.delivery !== undefined && this.doubtful.has(one.delivery))
    if (run.outcome !== "interrupted" && surelyOwned && !this.health.isCancelled(name)) {
      this.unsettled.set(run, one.process)
    }
    this.world.trace(one.process.name, `ends ${run.id} attempt ${run.attempt}: ${run.outcome}`)
  }

  /** The process ends by itself. */
  drained(process: Process): void {
    const kept = [...this.inHand.get(process) ?? []].filter(([, deliveries]) =>
      deliveries.some((delivery) => this.confirmedAt.has(delivery) && this.owns(delivery))
    )
    this.health.drained(process, kept.map(([name]) => name))
  }

  /** Every run of the process ends now. */
  killed(process: Process): void {
    this.noteLostLeases((one) => one.process === process)
    for (const one of this.active) {
      if (one.process !== process) continue
      one.run.endedAt = this.world.now
      one.run.outcome = "killed"
      this.active.delete(one)
    }
    this.inHand.delete(process)
    for (const [run, owner] of this.unsettled) if (owner === process) this.unsettled.delete(run)
  }

  /** When everything is over. */
  lookBack(): void {
    this.health.unsettled(Array.from(this.unsettled.keys(), (run) => nameOf(run.queue, run.id)))
  }

  // --- clients ---

  cancelled(queue: string, id: string, answer: TerminalState, calledAt: number): void {
    const name = nameOf(queue, id)
    const newest = this.newest.get(name)
    // replayed meanwhile: the answer may be about the job before
    if (newest !== undefined && newest.generation! > 0 && newest.acceptedAt >= calledAt) return
    const generation = newest?.generation
    // without a withdrawal the record was there before
    const inHands = this.inHandsAtWithdraw.get(name) ?? true
    this.history.cancels.push({ queue, id, generation, returnedAt: this.world.now, answer, inHands })
  }

  /** The jobs that stand for their ids now. */
  get jobs(): Iterable<Invariants.Sent> {
    return this.newest.values()
  }
}
