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
import { pauses } from "../../src/internal/pause.ts"
import type { Delivery, Settled, Settlement, Subscription } from "../../src/JobLog.ts"
import type { Collection } from "../../src/Store.ts"
import * as Invariants from "../../src/testing/Invariants.ts"
import type { Transport } from "../../src/Transport.ts"
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
  private readonly world: World
  private order = 0
  private readonly newest = new Map<string, Invariants.Sent>()
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
  /** Runs that ended and must be settled. */
  private readonly unsettled = new Map<Mutable, Process>()
  private readonly inHandsAtWithdraw = new Map<string, boolean>()

  constructor(world: World, health: Health) {
    this.world = world
    this.health = health
  }

  /** The transport as one process sees it. */
  tap(process: Process, inner: Transport["Service"]): Transport["Service"] {
    const { log } = inner
    return {
      ...inner,
      store: {
        ...inner.store,
        put: (collection, key, value, options) =>
          Effect.tap(
            inner.store.put(collection, key, value, options),
            () => Effect.sync(() => this.notePause(collection, true))
          ),
        remove: (collection, key, options) =>
          Effect.tap(
            inner.store.remove(collection, key, options),
            () => Effect.sync(() => this.notePause(collection, false))
          )
      },
      log: {
        ...log,
        send: (envelopes) =>
          Effect.tap(log.send(envelopes), (answers) =>
            Effect.sync(() => {
              envelopes.forEach((envelope, i) => {
                if (answers[i] === "sent") this.accept(envelope, false)
                else this.world.trace(process.name, `sends ${envelope.id}: ${String(answers[i])}`)
              })
            })),
        subscribe: (options) =>
          Effect.map(log.subscribe(options), (subscription) => this.tapSubscription(process, subscription)),
        withdraw: (queue, records) =>
          Effect.suspend(() => {
            for (const { id } of records) this.inHandsAtWithdraw.set(nameOf(queue, id), this.isInHand(queue, id))
            return Effect.tap(log.withdraw(queue, records), (standing) =>
              Effect.sync(() => {
                records.forEach(({ id }, i) => {
                  const { state } = standing[i]!
                  this.world.trace(process.name, `withdraws ${id}: ${state}`)
                  if (state === "cancelled") this.health.cancelled(nameOf(queue, id))
                })
              }))
          }),
        redrive: (queue, letters) =>
          Effect.tap(log.redrive(queue, letters), (answers) =>
            Effect.sync(() => {
              letters.forEach(({ as, id }, i) => {
                this.world.trace(process.name, `replays ${id}: ${answers[i]}`)
                if (as !== "drop" && answers[i] === "done") this.accept(as, true)
              })
            }))
      }
    }
  }

  private notePause(collection: Collection, paused: boolean): void {
    if (collection.queue !== undefined && collection.name === pauses(collection.queue).name) {
      this.health.paused(collection.queue, paused)
    }
  }

  /** What is behind the connection: only what arrives there is in the hands of the process. */
  received(inner: Transport["Service"]): Transport["Service"] {
    return {
      ...inner,
      log: {
        ...inner.log,
        subscribe: (options) =>
          Effect.map(inner.log.subscribe(options), (subscription) => ({
            ...subscription,
            pull: (max) =>
              Effect.tap(subscription.pull(max), (deliveries) =>
                Effect.sync(() => {
                  for (const delivery of deliveries) this.confirmedAt.set(delivery, this.world.now)
                })),
            extend: (deliveries) =>
              Effect.suspend(() => {
                const { now } = this.world
                return Effect.tap(subscription.extend(deliveries), (ours) =>
                  Effect.sync(() => {
                    for (const delivery of ours) this.confirmedAt.set(delivery, now)
                  }))
              })
          }))
      }
    }
  }

  private tapSubscription(process: Process, inner: Subscription): Subscription {
    return {
      pull: (max) =>
        Effect.tap(inner.pull(max), (deliveries) =>
          Effect.sync(() => {
            let hand = this.inHand.get(process)
            if (hand === undefined) this.inHand.set(process, hand = new Map())
            for (const delivery of deliveries) {
              const { attempt, id, queue, revision } = delivery.envelope
              hand.set(nameOf(queue, id), [...hand.get(nameOf(queue, id)) ?? [], delivery])
              this.health.handedOut(nameOf(queue, id), delivery)
              const what = `gets ${id} revision ${revision} attempt ${attempt} hand-out ${delivery.deliveries}`
              this.world.trace(process.name, what)
            }
          })),
      extend: inner.extend,
      settle: (settlements) =>
        Effect.suspend(() => {
          for (const { delivery } of settlements) this.beforeSettle(process, delivery)
          return Effect.tap(inner.settle(settlements), (answers) =>
            Effect.sync(() => {
              settlements.forEach((settlement, i) => this.afterSettle(process, settlement, answers[i]!))
            }))
        })
    }
  }

  private beforeSettle(process: Process, delivery: Delivery): void {
    const { id, queue } = delivery.envelope
    const hand = this.inHand.get(process)
    const left = hand?.get(nameOf(queue, id))?.filter((other) => other !== delivery) ?? []
    if (left.length === 0) hand?.delete(nameOf(queue, id))
    else hand?.set(nameOf(queue, id), left)
    const run = this.runOf.get(delivery)
    if (run !== undefined && run.settled === undefined && !this.owns(delivery)) this.lost(run)
  }

  private afterSettle(process: Process, settlement: Settlement, answer: Settled): void {
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

  private accept(envelope: Envelope.Envelope, replayed: boolean): void {
    const { enqueuedAt, expiresAt, id, key, queue, task } = envelope
    const name = nameOf(queue, id)
    const before = this.newest.get(name)
    const generation = before === undefined ? 0 : before.generation! + 1
    const { now } = this.world
    const sent: Invariants.Sent = {
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
    this.health.accepted(name)
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
    const fitting =
      this.inHand.get(process)?.get(name)?.filter((one) =>
        one.deliveries === deliveries && one.envelope.attempt === attempt
      ) ?? []
    const delivery = fitting.findLast((one) => !this.runOf.has(one)) ?? fitting[0]
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
      leaseLostAt: this.owns(delivery) ? undefined : now,
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
    const timedOut = interrupted && (one.interruptedAt ?? one.process.wallClock) >= (execution.deadline ?? Infinity)
    run.endedAt = now
    if (Exit.isSuccess(exit)) run.outcome = "succeeded"
    else if (timedOut) run.outcome = "failed"
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
    this.health.ended(name, one.process, { startedAt: run.startedAt, deadline, cleanup, confirmedAt })
    const lease = this.health.leases.get(one.process) ?? 0
    const surelyOwned = run.leaseLostAt === undefined && now - (confirmedAt ?? -Infinity) < lease
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

  cancelled(queue: string, id: string, answer: Invariants.Cancel["answer"]): void {
    const name = nameOf(queue, id)
    const generation = this.newest.get(name)?.generation
    // without a withdrawal the record was there before
    const inHands = this.inHandsAtWithdraw.get(name) ?? true
    this.history.cancels.push({ queue, id, generation, returnedAt: this.world.now, answer, inHands })
  }

  /** The jobs that stand for their ids now. */
  get jobs(): Iterable<Invariants.Sent> {
    return this.newest.values()
  }
}
