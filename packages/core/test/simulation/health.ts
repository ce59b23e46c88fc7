/**
 * What a simulated world can check beyond the invariants of a history: exact
 * hand-out counts, and how soon things happen while nothing is wrong.
 */
import * as Envelope from "../../src/Envelope.ts"
import type { Delivery, Settlement } from "../../src/JobLog.ts"
import type { Kind, Violation } from "../../src/testing/Invariants.ts"
import { isLossy, type Network } from "./link.ts"
import type { Process, World } from "./world.ts"

interface Count {
  base: number
  handOuts: number
  /** When the job could be handed out; `undefined` if its key decides. */
  dueAt: number | undefined
  firstHandOutAt: number | undefined
  unknownSince: number | undefined
  /** How often it was started as a suspect, for all that the broker was told. */
  starts: number
}

/** What the plan promises of every worker. */
interface Terms {
  readonly network: Network
  /** ms. */
  readonly unknownTaskTimeout: number
  readonly maxDeliveries: number
  readonly actions: ReadonlyArray<{ readonly action: { readonly _tag: string } }>
}

interface EndedRun {
  readonly startedAt: number
  readonly deadline: number | undefined
  /** ms that the handler takes to be interrupted. */
  readonly cleanup: number
  /** By the broker's clock; `undefined` unless it was interrupted. */
  readonly interruptedAt: number | undefined
  readonly leaseLost: boolean
  /** When the last sign of life was sent that the broker answered. */
  readonly confirmedAt: number | undefined
}

/** Hand-outs from which on a job is a suspect. */
const suspectFrom = 3

/** ms until waiters read by themselves, workers look at the pause flag, the broker serves a pull that waits. */
const promised = { reread: 5_000, pause: 1_000, handOut: 5 }

export class Health {
  readonly complaints: Array<Violation> = []
  /** ms, by worker. */
  readonly leases = new WeakMap<Process, number>()
  /** Workers that were told to stop, and until when running handlers may go on. */
  readonly graceUntil = new WeakMap<Process, number>()
  /** Nothing stood still, was cut off or got lost so far. */
  healthy = true
  private readonly world: World
  private readonly terms: Terms
  /** ms that a few round trips take. */
  private readonly slack: number
  private readonly counts = new Map<string, Count>()
  private readonly cancelledAt = new Map<string, number>()
  private readonly pausedAt = new Map<string, number>()

  constructor(world: World, terms: Terms) {
    this.world = world
    this.terms = terms
    this.healthy = !isLossy(terms.network)
    this.slack = 20 + 10 * terms.network.latency
  }

  private complain(kind: Kind, name: string, message: string): void {
    const [queue, ...id] = name.split("/")
    this.complaints.push({ kind, queue: queue!, id: id.join("/"), at: this.world.now, message })
  }

  accepted(name: string, dueAt: number | undefined): void {
    const unseen = { firstHandOutAt: undefined, unknownSince: undefined }
    this.counts.set(name, { base: 0, handOuts: 0, starts: 0, dueAt, ...unseen })
    this.cancelledAt.delete(name)
  }

  /** `waitedSince`: when the pull that got it had arrived. */
  handedOut(name: string, { deliveries }: Delivery, waitedSince: number): void {
    const count = this.counts.get(name)
    if (count === undefined) return
    const { now } = this.world
    count.handOuts++
    count.firstHandOutAt ??= now
    if (count.handOuts === 1 && count.dueAt !== undefined && this.healthy) {
      const late = now - Math.max(count.dueAt, waitedSince)
      if (late > promised.handOut) {
        this.complain("Unfinished", name, `it was handed out ${late} ms after it could have been`)
      }
    }
    const expected = count.base + count.handOuts
    if (deliveries === expected) return
    this.complain("TooManyDeliveries", name, `it was handed out with count ${deliveries} instead of ${expected}`)
  }

  rescheduled(name: string, dueAt: number | undefined): void {
    const count = this.counts.get(name)
    if (count !== undefined) count.dueAt = dueAt
  }

  /** A worker has said that it starts the job as a suspect. */
  suspected(name: string): void {
    const count = this.counts.get(name)
    if (count !== undefined) count.starts++
  }

  /** `started`: a handler ran with this delivery. */
  settled(name: string, settlement: Settlement, started: boolean): void {
    const count = this.counts.get(name)
    if (count === undefined) return
    const { now } = this.world
    if (settlement._tag === "Bury" && settlement.record.reason === "UnknownTask") {
      const waited = now - (count.firstHandOutAt ?? now)
      if (waited + this.slack < this.terms.unknownTaskTimeout) {
        this.complain("WrongRecord", name, `its task was given up as unknown after ${waited} ms`)
      }
    }
    if (settlement._tag === "Bury" && settlement.record.reason === "Poison") {
      const least = this.terms.maxDeliveries - suspectFrom + 1
      if (count.starts < least) {
        this.complain("WrongRecord", name, `it is poison after ${count.starts} starts as a suspect, not ${least}`)
      }
    }
    if (settlement._tag !== "Forward") return
    const { delivery, successor } = settlement
    if (count.unknownSince !== undefined && successor.unknownSince !== count.unknownSince) {
      this.complain("WrongRecord", name, "the time since which its task is unknown was forgotten")
    }
    count.unknownSince = successor.unknownSince
    count.base = successor.deliveries
    count.handOuts = 0
    count.dueAt = successor.key === undefined ? Envelope.dueAt(successor, now) : undefined
    const expected = started ? 0 : delivery.deliveries - 1
    if (successor.deliveries === expected) return
    const what = started ? "a run of it" : "a hand-back without a run"
    this.complain(
      "TooManyDeliveries",
      name,
      `${what} set its hand-outs to ${successor.deliveries} instead of ${expected}`
    )
  }

  started(
    name: string,
    process: Process,
    deliveries: number,
    others: Iterable<{ readonly process: Process; readonly deliveries: number }>
  ): void {
    if (deliveries >= suspectFrom) {
      for (const other of others) {
        if (other.process !== process || other.deliveries < suspectFrom) continue
        this.complain("TooManyDeliveries", name, `worker "${process.name}" runs two suspects at once`)
      }
    }
    const pausedAt = this.pausedAt.get(name.split("/")[0]!)
    if (pausedAt === undefined || !this.healthy) return
    const late = this.world.now - pausedAt
    if (late > promised.pause + this.slack) {
      this.complain("EarlyStart", name, `worker "${process.name}" started it ${late} ms after its queue was paused`)
    }
  }

  ended(name: string, process: Process, run: EndedRun): void {
    const { now } = this.world
    const limit = this.slack + run.cleanup
    const lease = this.leases.get(process) ?? Infinity
    // its own clock tells the worker when nobody confirms its lease any more
    const unconfirmed = now - (run.confirmedAt ?? now)
    if (!process.stoodStill && unconfirmed > lease + limit) {
      this.complain(
        "Unfinished",
        name,
        `worker "${process.name}" ran it for ${unconfirmed} ms without a confirmed lease`
      )
    }
    if (!this.healthy) return
    if (run.interruptedAt !== undefined) this.interrupted(name, process, run)
    const cancelledAt = this.cancelledAt.get(name) ?? Infinity
    // a purge tells no worker
    const told = this.terms.network.losePush === 0 && !this.terms.actions.some(({ action }) => action._tag === "Purge")
    const heartbeat = told ? 0 : lease / 3
    if (cancelledAt > run.startedAt && now - cancelledAt > limit + heartbeat) {
      this.complain("Unfinished", name, `worker "${process.name}" ran it for ${now - cancelledAt} ms after its cancel`)
    }
    const late = process.wallClock - (run.deadline ?? Infinity)
    if (late > limit) {
      this.complain("Unfinished", name, `worker "${process.name}" ran it for ${late} ms after its time limit`)
    }
  }

  /** There must be a reason, and at shutdown the grace period comes first. */
  private interrupted(name: string, process: Process, { interruptedAt, leaseLost }: EndedRun): void {
    if (leaseLost || this.cancelledAt.has(name)) return
    const grace = this.graceUntil.get(process)
    if (grace !== undefined && interruptedAt !== undefined && interruptedAt >= grace) return
    this.complain("Unfinished", name, `worker "${process.name}" interrupted it without a reason`)
  }

  cancelled(name: string): void {
    if (!this.cancelledAt.has(name)) this.cancelledAt.set(name, this.world.now)
  }

  paused(queue: string, paused: boolean): void {
    if (!paused) this.pausedAt.delete(queue)
    else if (!this.pausedAt.has(queue)) this.pausedAt.set(queue, this.world.now)
  }

  /** A worker has drained and holds these jobs all the same. */
  drained(process: Process, names: Iterable<string>): void {
    if (!this.healthy) return
    for (const name of names) this.complain("Unfinished", name, `worker "${process.name}" drained and kept its lease`)
  }

  /** The grace period of the worker is over. */
  isOver(process: Process): boolean {
    return (this.graceUntil.get(process) ?? Infinity) <= this.world.now
  }

  /** Whether the job was cancelled since it was accepted. */
  isCancelled(name: string): boolean {
    return this.cancelledAt.has(name)
  }

  /** These runs ended in workers that live on, and the broker never heard of it. */
  unsettled(names: Iterable<string>): void {
    for (const name of names) this.complain("Unfinished", name, "a run of it ended and was never settled")
  }

  /** A worker with nothing to do does not ask for work on all of its queues. */
  idle(process: Process, pulls: number, queues: number): void {
    if (pulls >= queues) return
    this.complain("Unfinished", "?/?", `worker "${process.name}" pulls from ${pulls} of its ${queues} queues`)
  }

  /** A waiter heard of the end of a job. */
  told(name: string, waitingSince: number, finishedAt: number): void {
    if (!this.healthy) return
    const late = this.world.now - Math.max(waitingSince, finishedAt)
    if (late > promised.reread + this.slack) {
      this.complain("Unfinished", name, `a waiter was told of its end ${late} ms late`)
    }
  }
}
