/**
 * Writes down what the modelled server stored and handed out, what clients
 * were told and what handlers did.
 */
import * as Envelope from "@troupe/core/Envelope"
import type * as Execution from "@troupe/core/Execution"
import type { JobRecord, TerminalState } from "@troupe/core/JobRecord"
import { Invariants } from "@troupe/core/testing"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { leastRetryDelay, maxAttempts, type Step } from "../../../core/test/simulation/tasks.ts"
import type { Process, World } from "../../../core/test/simulation/world.ts"

interface Run extends Invariants.Run {
  endedAt: number | undefined
  outcome: Invariants.Outcome | undefined
  delay: number | undefined
  leaseLostAt: number | undefined
  healthy: boolean
  token: { readonly value: number; readonly takenAt: number } | undefined
}

interface Sent extends Invariants.Sent {
  accepted: boolean
  replayed: boolean
  order: number
  dueAt: number
  dueBy: number
  isDelayed: boolean
}

interface ActiveRun {
  readonly run: Run
  readonly process: Process
  readonly handOut: HandOut | undefined
}

/** What a handler runs. */
interface HandOut {
  readonly reply: string
  readonly enqueuedAt: number
  readonly revision: number
}

/** ms: a lease and a request of an old owner that nobody knows to be dead, and everything down twice meanwhile. */
const latest = 45_000

const nameOf = (queue: string, id: string) => `${queue}/${id}`

export class Recorder {
  readonly history = Invariants.empty()
  readonly complaints: Array<Invariants.Violation> = []
  /** What a handler runs, by the headers that it sees. */
  readonly handOuts = new WeakMap<object, HandOut>()
  /** Nothing stood still, was cut off or got lost so far. */
  healthy = true
  private readonly world: World
  private readonly isCurrent: (reply: string) => boolean
  private order = 0
  private readonly newest = new Map<string, Sent>()
  /** By name and time of the enqueue: a replay has another one. */
  private readonly sent = new Map<string, Sent>()
  /** The bytes of every revision, by name, time of the enqueue and revision. */
  private readonly revisions = new Map<string, string>()
  /** Revisions that a reschedule writes: their bytes. */
  private readonly moves = new Set<string>()
  /** The last revision that a stream has stored, by name and time of the enqueue. */
  private readonly lastRevision = new Map<string, number>()
  /** When a row said that its revision may be run, by name, time of the enqueue and revision, until it is where workers find it. */
  private readonly awaited = new Map<string, number>()
  private readonly handedOutAt = new Map<string, number>()
  private readonly endedAt = new Map<string, number>()
  /** As the last record of a name says. */
  private readonly finishedAt = new Map<string, number>()
  private readonly active = new Set<ActiveRun>()
  private readonly ran = new Set<Sent>()
  private readonly replays: Array<{ readonly names: ReadonlySet<string>; readonly from: number; to: number }> = []

  /** `isCurrent`: whether the server would take this for the last hand-out of its message. */
  constructor(world: World, isCurrent: (reply: string) => boolean) {
    this.world = world
    this.isCurrent = isCurrent
  }

  complain(kind: Invariants.Kind, queue: string, id: string, message: string): void {
    this.complaints.push({ kind, queue, id, at: this.world.now, message })
  }

  // --- at the server ---

  /** An envelope reached a stream for the first time, or again. */
  stored(envelope: Envelope.Envelope, where: string, dueAt: number, isDue: boolean): void {
    const { enqueuedAt, id, key, queue, revision, task } = envelope
    const name = nameOf(queue, id)
    const bytes = Buffer.from(Envelope.toBytes(envelope)).toString("latin1")
    const known = this.revisions.get(`${name}/${enqueuedAt}/${revision}`)
    this.world.trace(
      "server",
      `${known === undefined ? "stores" : "stores again"} ${id} revision ${revision} in ${where}`
    )
    const claimed = this.sent.get(`${name}/${enqueuedAt}`)
    // of two that were sent in the same millisecond the first may have been given up
    const isGivenUp = revision === 0 && claimed !== undefined && !claimed.accepted && !this.ran.has(claimed)
    if (known !== undefined && known !== bytes && !isGivenUp) {
      this.complain("JobOverlap", queue, id, `revision ${revision} of it has two different envelopes`)
    }
    this.revisions.set(`${name}/${enqueuedAt}/${revision}`, bytes)
    this.lastRevision.set(
      `${name}/${enqueuedAt}`,
      Math.max(revision, this.lastRevision.get(`${name}/${enqueuedAt}`) ?? 0)
    )
    this.noteLostLeases()
    this.follow(envelope, dueAt, isDue)
    const sent = this.sent.get(`${name}/${enqueuedAt}`)
    if (sent !== undefined) {
      if (known === undefined && this.moves.has(bytes)) this.moved(sent, dueAt)
      if (isDue) this.joined(sent)
      return
    }
    const { now } = this.world
    const before = this.newest.get(name)
    // given up by whoever claimed it
    const isReplaced = before !== undefined && !before.accepted && !this.ran.has(before)
    if (isReplaced) this.history.sent.splice(this.history.sent.indexOf(before), 1)
    const one: Sent = {
      queue,
      id,
      generation: before === undefined ? 0 : isReplaced ? before.generation : before.generation! + 1,
      task,
      key,
      accepted: false,
      // the first that is seen of a replay is a successor
      replayed: revision > 0,
      acceptedAt: now,
      dueAt: Math.max(now, dueAt),
      // a delayed job joins its key when somebody sees that it is due
      dueBy: isDue ? Math.max(now, dueAt) : Infinity,
      isDelayed: dueAt > now,
      order: this.order++,
      maxAttempts: envelope.maxAttempts ?? maxAttempts(task),
      expiresAt: envelope.expiresAt
    }
    this.newest.set(name, one)
    this.sent.set(`${name}/${enqueuedAt}`, one)
    this.history.sent.push(one)
  }

  /** A successor is published soon after its row, or when it is due: not only because somebody asks for it. */
  private follow({ enqueuedAt, id, key, queue, revision }: Envelope.Envelope, dueAt: number, isDue: boolean): void {
    // that of a key needs no message
    if (revision === 0 || key !== undefined) return
    const name = `${nameOf(queue, id)}/${enqueuedAt}/${revision}`
    const { now } = this.world
    if (!isDue) {
      if (!this.awaited.has(name)) this.awaited.set(name, Math.max(now, dueAt))
      return
    }
    const late = now - (this.awaited.get(name) ?? now)
    // it is published once
    this.awaited.set(name, Infinity)
    if (late > latest) {
      this.complain("Unfinished", queue, id, `revision ${revision} could be run ${late} ms after it was due`)
    }
  }

  /** Somebody wants a waiting job to become this. */
  moving(envelope: Envelope.Envelope): void {
    this.moves.add(Buffer.from(Envelope.toBytes(envelope)).toString("latin1"))
  }

  /** The row of the job says so now. */
  private moved(sent: Sent, to: number): void {
    const { now } = this.world
    const dueAt = Math.max(now, to)
    if (sent.dueBy < Infinity) {
      const { generation, id, queue } = sent
      this.history.moves.push({ queue, id, generation, movedAt: now, dueAt })
    } else {
      sent.dueAt = dueAt
      sent.isDelayed = dueAt > now
    }
  }

  /** It is where workers find it. */
  private joined(sent: Sent): void {
    const { now } = this.world
    if (sent.dueBy < Infinity) return
    const late = now - sent.dueAt
    sent.dueBy = now
    // the order of a key is that of its mailbox; a job that is due at once is due when it is there
    sent.order = this.order++
    if (!sent.isDelayed) sent.dueAt = now
    // a claim whose sender is gone is finished by whoever asks for it, a minute later
    if (late > latest && sent.accepted) {
      this.complain("Unfinished", sent.queue, sent.id, `it could be run ${late} ms after it was due`)
    }
  }

  /** Somebody was told that the job is accepted. */
  accepted(envelope: Envelope.Envelope): void {
    const { enqueuedAt, id, queue } = envelope
    const one = this.sent.get(`${nameOf(queue, id)}/${enqueuedAt}`)
    if (one === undefined) this.complain("Loss", queue, id, "it was accepted, and no stream has ever stored it")
    else one.accepted = true
  }

  /** Letters are replayed from now on, until the answer. Without one nobody knows. */
  replaying(queue: string, ids: ReadonlyArray<string>): () => void {
    const replay = { names: new Set(ids.map((id) => nameOf(queue, id))), from: this.world.now, to: Infinity }
    this.replays.push(replay)
    return () => {
      replay.to = this.world.now
    }
  }

  isReplaying(queue: string, id: string, at: number): boolean {
    const name = nameOf(queue, id)
    return this.replays.some(({ from, names, to }) => names.has(name) && from <= at && at <= to)
  }

  /** A dead letter was replayed as this. */
  replayed(envelope: Envelope.Envelope): void {
    const { enqueuedAt, id, queue } = envelope
    const one = this.sent.get(`${nameOf(queue, id)}/${enqueuedAt}`)
    if (one === undefined) return this.complain("Loss", queue, id, "its replay was accepted, and no stream stored it")
    one.accepted = true
  }

  // --- leases ---

  private owns(name: string, handOut: HandOut | undefined): boolean {
    if (handOut === undefined || !this.isCurrent(handOut.reply)) return false
    const { enqueuedAt, reply, revision } = handOut
    // whoever had it before may have settled it: the row says so
    if ((this.lastRevision.get(`${name}/${enqueuedAt}`) ?? 0) > revision) return false
    // whoever had it when it ended hears of it, or finds out when it settles
    return (this.endedAt.get(name) ?? -Infinity) < (this.handedOutAt.get(reply) ?? Infinity)
  }

  handedOut(reply: string): void {
    this.handedOutAt.set(reply, this.world.now)
    this.noteLostLeases()
  }

  /** The record is there. */
  ended({ finishedAt, id, queue }: JobRecord): void {
    this.restored(nameOf(queue, id), finishedAt)
    this.endedAt.set(nameOf(queue, id), this.world.now)
    this.noteLostLeases()
  }

  /** Whoever gives up a replay puts the record back that was there. */
  private restored(name: string, finishedAt: number): void {
    const isBack = this.finishedAt.get(name) === finishedAt
    this.finishedAt.set(name, finishedAt)
    const newest = this.newest.get(name)
    if (!isBack || newest === undefined || newest.accepted || this.ran.has(newest)) return
    // for a while there was the replay in its place
    const { observations } = this.history
    const seen = observations.splice(0).filter(({ at, id, queue, record }) =>
      record !== undefined || at < newest.acceptedAt || nameOf(queue, id) !== name
    )
    observations.push(...seen)
    this.history.sent.splice(this.history.sent.indexOf(newest), 1)
    const before = this.history.sent.findLast((sent) => nameOf(sent.queue, sent.id) === name)
    if (before === undefined) this.newest.delete(name)
    // those that are kept here are those that `stored` made
    else this.newest.set(name, before as Sent)
  }

  /** Something was handed out again, taken away or forgotten. */
  private noteLostLeases(): void {
    for (const { handOut, run } of this.active) {
      if (run.leaseLostAt !== undefined || this.owns(nameOf(run.queue, run.id), handOut)) continue
      run.leaseLostAt = this.world.now
      // the record of a job that was cancelled takes it away
      run.healthy = this.healthy && !this.endedAt.has(nameOf(run.queue, run.id))
    }
  }

  // --- handlers ---

  watch<A, E>(
    process: Process,
    execution: Execution.Execution,
    step: Step,
    body: Effect.Effect<A, E>
  ): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (!process.alive) return Effect.never
      const one = this.start(process, execution)
      const fenced = step.fenced
        ? Effect.flatMap(execution.fencingToken, (value) => {
          one.run.token = { value, takenAt: this.world.now }
          return body
        })
        : body
      return Effect.onExit(fenced, (exit) => Effect.sync(() => this.end(one, execution, step, exit)))
    })
  }

  private start(process: Process, execution: Execution.Execution): ActiveRun {
    const { attempt, deliveries, enqueuedAt, headers, id, queue } = execution
    const handOut = this.handOuts.get(headers)
    this.noteLostLeases()
    const sent = this.sent.get(`${nameOf(queue, id)}/${enqueuedAt}`)
    const run: Run = {
      queue,
      id,
      generation: sent?.generation,
      worker: process.name,
      attempt,
      deliveries,
      startedAt: this.world.now,
      endedAt: undefined,
      outcome: undefined,
      delay: undefined,
      // it was lost before
      leaseLostAt: this.owns(nameOf(queue, id), handOut) ? undefined : this.world.now - 1,
      healthy: false,
      token: undefined
    }
    if (sent !== undefined) this.ran.add(sent)
    const one: ActiveRun = { run, process, handOut }
    this.active.add(one)
    this.history.runs.push(run)
    const lease = run.leaseLostAt === undefined ? "" : ", its lease is lost"
    this.world.trace(process.name, `starts ${id} attempt ${attempt} hand-out ${deliveries}${lease}`)
    return one
  }

  private end(one: ActiveRun, { deadline, task }: Execution.Execution, step: Step, exit: Exit.Exit<unknown, unknown>) {
    if (!one.process.alive || !this.active.delete(one)) return
    const { run } = one
    this.noteLostLeases()
    run.endedAt = this.world.now
    const interrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
    if (Exit.isSuccess(exit)) run.outcome = "succeeded"
    // a timeout and a lost lease interrupt alike
    else if (interrupted) run.outcome = one.process.wallClock >= (deadline ?? Infinity) ? undefined : "interrupted"
    else if (step.ends === "snoozes") run.outcome = "snoozed"
    else if (step.ends === "discards") run.outcome = "discarded"
    else run.outcome = "failed"
    run.delay = step.ends === "snoozes" || step.ends === "retriesAfter"
      ? step.delay
      : leastRetryDelay(task, run.attempt)
    if (run.outcome === undefined) run.delay = Math.min(run.delay, leastRetryDelay(task, run.attempt))
    this.world.trace(
      one.process.name,
      `ends ${run.id} attempt ${run.attempt}: ${run.outcome ?? "timed out or interrupted"}`
    )
  }

  killed(process: Process): void {
    for (const one of this.active) {
      if (one.process !== process) continue
      one.run.endedAt = this.world.now
      one.run.outcome = "killed"
      this.active.delete(one)
    }
  }

  // --- clients ---

  cancelled(queue: string, id: string, answer: TerminalState): void {
    const generation = this.newest.get(nameOf(queue, id))?.generation
    this.history.cancels.push({ queue, id, generation, returnedAt: this.world.now, answer })
    this.world.trace("client", `cancelled ${id}: ${answer}`)
  }

  told(queue: string, id: string, record: JobRecord): void {
    const { now } = this.world
    this.history.observations.push({ queue, id, at: now, places: undefined, record: Invariants.view(record) })
    this.world.trace("client", `is told ${id}: ${record.state}`)
  }

  /** `since`: when the look began. */
  observed(one: Invariants.Observation, since: number): void {
    // its time is that of the end of the look: a record, or the job itself, may have come in between
    const name = nameOf(one.queue, one.id)
    const endedAt = this.endedAt.get(name) ?? -Infinity
    const cameAt = this.newest.get(name)?.acceptedAt ?? -Infinity
    if (one.record === undefined && Math.max(endedAt, cameAt) >= since) return
    this.history.observations.push(one)
  }

  get jobs(): Iterable<Invariants.Sent> {
    return this.newest.values()
  }
}
