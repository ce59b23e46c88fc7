/**
 * A durable pull consumer of JetStream 2.9, as it was measured: it knows
 * messages by their sequence only, so it honours whatever old acknowledgement
 * or heartbeat arrives.
 */
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { World } from "../../../core/test/simulation/world.ts"
import { type Ears, type HandedOut, lag, type Stored } from "./message.ts"
import { matches } from "./subjects.ts"

export interface ConsumerSettings {
  readonly name: string
  readonly filter: string | undefined
  /** ms. */
  readonly ackWait: number
  /** -1 without a limit. */
  readonly maxAckPending: number
}

/** A pull that waits at the server. */
export interface Request {
  readonly batch: number
  /** ms; `undefined` for no_wait. */
  readonly expires: number | undefined
  readonly onMessage: (handedOut: HandedOut) => void
  /** 404 nothing there, 408 time over or batch not filled, 409 the consumer is gone. */
  readonly onEnd: (status: 404 | 408 | 409) => void
}

/** The stream of a consumer. */
export interface Source {
  readonly settings: { readonly name: string }
  readonly messages: ReadonlyMap<number, Stored>
  readonly ears: Ears
  readonly inOrder: () => ReadonlyArray<Stored>
  readonly acknowledge: (sequence: number) => void
}

interface Waiting extends Request {
  left: number
  readonly until: number
}

/** A message that was handed out and not acknowledged. */
interface Pending {
  readonly firstAt: number
  deliveries: number
  /** When it is handed out again. */
  deadline: number
  /** Of the last hand-out. */
  reply: string
}

interface Acknowledged {
  readonly pending: Pending
  readonly at: number
}

export class Consumer {
  settings: ConsumerSettings
  private readonly world: World
  private readonly stream: Source
  private readonly pending = new Map<number, Pending>()
  private readonly acknowledged = new Map<number, Acknowledged>()
  private handOuts = 0
  private readonly waiting: Array<Waiting> = []
  private readonly drops = new WeakMap<() => void, Waiting>()
  /** The sequence after the last that was handed out for the first time. */
  private nextSequence = 1
  private callOff = () => {}
  /** While there is no leader nothing is handed out. */
  suspended = false

  constructor(world: World, stream: Source, settings: ConsumerSettings) {
    this.world = world
    this.stream = stream
    this.settings = settings
  }

  get info() {
    const lowest = Math.min(...this.pending.keys(), this.nextSequence)
    return {
      numAckPending: this.pending.size,
      numPending: this.stream.inOrder().filter((message) => this.isUnseen(message)).length,
      /** Up to here everything is acknowledged. */
      ackFloor: lowest - 1,
      delivered: this.nextSequence - 1,
      numWaiting: this.waiting.length
    }
  }

  private isUnseen({ sequence, subject }: Stored): boolean {
    return sequence >= this.nextSequence && !this.pending.has(sequence) && !this.acknowledged.has(sequence) &&
      (this.settings.filter === undefined || matches(this.settings.filter, subject))
  }

  pull(request: Request): () => void {
    const { batch, expires } = request
    const one: Waiting = { ...request, left: batch, until: this.world.now + (expires ?? 0) }
    this.waiting.push(one)
    this.serve()
    if (expires === undefined) this.finish(one, one.left === batch ? 404 : 408)
    else this.world.after(expires, () => this.finish(one, 408))
    const drop = () => void this.drop(one)
    this.drops.set(drop, one)
    return drop
  }

  /** Whether the pull that this ends still waits. */
  waits(drop: () => void): boolean {
    return this.waiting.includes(this.drops.get(drop)!)
  }

  private drop(one: Waiting): boolean {
    const index = this.waiting.indexOf(one)
    if (index < 0) return false
    this.waiting.splice(index, 1)
    return true
  }

  private finish(one: Waiting, status: 404 | 408 | 409): void {
    if (this.drop(one)) one.onEnd(status)
  }

  /** Ends all pulls, as when the consumer is deleted. */
  close(): void {
    for (const one of Array.from(this.waiting)) this.finish(one, 409)
    this.callOff()
  }

  /** Nobody hears of it any more: the connections are gone. */
  disconnect(): void {
    this.waiting.length = 0
  }

  serve(): void {
    if (this.suspended) return
    while (this.waiting.length > 0) {
      const one = this.waiting[0]!
      const message = this.choose()
      if (message === undefined) break
      this.handOut(message, one)
      if (--one.left === 0) this.drop(one)
    }
    this.wakeForRedelivery()
  }

  private choose(): Stored | undefined {
    const { now } = this.world
    for (const [sequence, { deadline }] of this.pending) {
      if (deadline > now) continue
      const message = this.stream.messages.get(sequence)
      if (message !== undefined) return message
      this.pending.delete(sequence)
    }
    const { maxAckPending } = this.settings
    if (maxAckPending > 0 && this.pending.size >= maxAckPending) return undefined
    for (const message of this.stream.messages.values()) if (this.isUnseen(message)) return message
    return undefined
  }

  private handOut(message: Stored, one: Waiting): void {
    const { ackWait, name } = this.settings
    const { sequence } = message
    const pending = this.pending.get(sequence) ??
      { firstAt: this.world.now, deliveries: 0, deadline: 0, reply: "" }
    pending.deliveries++
    pending.deadline = this.world.now + ackWait
    this.pending.set(sequence, pending)
    if (sequence >= this.nextSequence) this.nextSequence = sequence + 1
    const reply = `$JS.ACK.${this.stream.settings.name}.${name}.${pending.deliveries}.${sequence}.${++this.handOuts}`
    pending.reply = reply
    const handedOut = { message, reply, deliveries: pending.deliveries }
    this.stream.ears.handedOut(this.stream.settings.name, handedOut)
    one.onMessage(handedOut)
  }

  private wakeForRedelivery(): void {
    this.callOff()
    if (this.waiting.length === 0) return
    let first = Infinity
    for (const { deadline } of this.pending.values()) first = Math.min(first, deadline)
    this.callOff = this.world.after(first - this.world.now, () => this.serve())
  }

  /** Whoever answers, and however often the message was handed out since. */
  answer(sequence: number, answer: "ack" | "progress" | "nak" | "term", delay = 0): void {
    const pending = this.pending.get(sequence)
    if (answer === "ack" || answer === "term") {
      if (pending !== undefined) this.acknowledge(sequence, pending)
      this.stream.acknowledge(sequence)
    } else if (pending !== undefined) {
      pending.deadline = this.world.now + (answer === "nak" ? delay : this.settings.ackWait)
    }
    this.serve()
  }

  private acknowledge(sequence: number, pending: Pending): void {
    const { now } = this.world
    this.pending.delete(sequence)
    // what is on disk as removed is never asked for again
    for (const [old, { at }] of this.acknowledged) {
      if (at > now - lag) break
      if (!this.stream.messages.has(old)) this.acknowledged.delete(old)
    }
    this.acknowledged.set(sequence, { pending, at: now })
  }

  /** Whether this is the last hand-out of a message that is not acknowledged. */
  isCurrent(reply: string): boolean {
    return this.pending.get(Number(reply.split(".")[5]))?.reply === reply
  }

  /** The message is no longer in the stream. */
  forget(sequence: number): void {
    this.pending.delete(sequence)
  }

  /** After a purge. */
  skipTo(sequence: number): void {
    this.nextSequence = Math.max(this.nextSequence, sequence)
    for (const seen of Array.from(this.pending.keys())) if (seen < sequence) this.pending.delete(seen)
    this.serve()
  }

  /** What it wrote last is what it knows: a little old, its counts perhaps lost, its deadlines early. */
  crash(random: Prng): void {
    this.disconnect()
    const { now } = this.world
    const written = now - (random.chance(0.6) ? random.int(0, lag) : 0)
    const countsLost = random.chance(0.25)
    for (const [sequence, { at, pending }] of Array.from(this.acknowledged)) {
      if (at <= written) continue
      this.acknowledged.delete(sequence)
      this.pending.set(sequence, pending)
    }
    const known = [...this.pending].sort(([a], [b]) => a - b)
    this.pending.clear()
    for (const [sequence, pending] of known) {
      if (pending.firstAt > written) this.nextSequence = Math.min(this.nextSequence, sequence)
      else if (this.stream.messages.has(sequence)) {
        const deliveries = countsLost ? 0 : pending.deliveries
        this.pending.set(sequence, { ...pending, deliveries, deadline: now + random.int(0, this.settings.ackWait) })
      }
    }
  }
}
