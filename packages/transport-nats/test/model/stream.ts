/**
 * A stream of JetStream 2.9, as it was measured: what it stores, what it
 * refuses, and what a `kill -9` of the server leaves of it.
 */
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { World } from "../../../core/test/simulation/world.ts"
import type * as Port from "../../src/internal/streams.ts"
import { Consumer, type ConsumerSettings } from "./consumer.ts"
import { type Ears, lag, type Stored } from "./message.ts"
import { matches } from "./subjects.ts"

export interface StreamSettings {
  readonly name: string
  readonly subjects: ReadonlyArray<string>
  readonly retention: "limits" | "workqueue"
  /** -1 without a limit, as for the two limits below. */
  readonly maxMessagesPerSubject: number
  readonly maxMessages: number
  readonly maxBytes: number
  readonly discardNew: boolean
  readonly discardNewPerSubject: boolean
  /** ms, 0 for ever. */
  readonly maxAge: number
  /** ms. */
  readonly duplicateWindow: number
}

export const settingsOf = (config: Port.StreamConfig): StreamSettings => ({
  name: config.name,
  subjects: config.subjects,
  retention: config.retention === "work" ? "workqueue" : "limits",
  maxMessagesPerSubject: config.perSubject ?? -1,
  maxMessages: config.maxMessages ?? -1,
  maxBytes: config.maxBytes ?? -1,
  discardNew: config.maxMessages !== undefined || config.maxBytes !== undefined,
  discardNewPerSubject: false,
  maxAge: 0,
  duplicateWindow: config.duplicateWindow
})

export type Published =
  | { readonly _tag: "Stored"; readonly sequence: number; readonly duplicate: boolean }
  | { readonly _tag: "Refused"; readonly code: number; readonly description: string }

const sizeOf = (subject: string, headers: ReadonlyMap<string, string>, bytes: Uint8Array): number => {
  let size = 22 + subject.length + bytes.length
  for (const [name, value] of headers) size += name.length + value.length + 4
  return size
}

export class Stream {
  settings: StreamSettings
  readonly consumers = new Map<string, Consumer>()
  readonly messages = new Map<number, Stored>()
  readonly ears: Ears
  private readonly world: World
  private readonly bySubject = new Map<string, Array<number>>()
  private lastMessageId: string | undefined = undefined
  private readonly messageIds = new Map<string, { readonly sequence: number; readonly time: number }>()
  /** Removed by an acknowledgement: a crash may bring them back. */
  private acknowledged: Array<{ readonly message: Stored; readonly at: number }> = []
  /** As if its limits were reached. */
  full = false
  lastSequence = 0
  bytes = 0

  constructor(world: World, settings: StreamSettings, ears: Ears) {
    this.world = world
    this.ears = ears
    this.settings = settings
  }

  publish(subject: string, headers: ReadonlyMap<string, string>, bytes: Uint8Array): Published {
    this.expire()
    const { discardNew, discardNewPerSubject, maxBytes, maxMessages, maxMessagesPerSubject } = this.settings
    const id = headers.get("Nats-Msg-Id")
    const known = id === undefined ? undefined : this.messageIds.get(id)
    if (known !== undefined) return { _tag: "Stored", sequence: known.sequence, duplicate: true }
    const mine = this.bySubject.get(subject) ?? []
    const expected = headers.get("Nats-Expected-Last-Subject-Sequence")
    if (expected !== undefined && Number(expected) !== (mine.at(-1) ?? 0)) {
      return { _tag: "Refused", code: 10071, description: `wrong last sequence: ${mine.at(-1) ?? 0}` }
    }
    const last = headers.get("Nats-Expected-Last-Msg-Id")
    if (last !== undefined && last !== this.lastMessageId) {
      return { _tag: "Refused", code: 10070, description: `wrong last msg ID: ${this.lastMessageId}` }
    }
    const size = sizeOf(subject, headers, bytes)
    const takesPlace = maxMessagesPerSubject > 0 && mine.length >= maxMessagesPerSubject
    if (discardNew) {
      if (takesPlace && discardNewPerSubject) return full("maximum messages per subject exceeded")
      const replaced = takesPlace ? this.messages.get(mine[0]!) : undefined
      const freed = replaced === undefined ? 0 : sizeOf(replaced.subject, replaced.headers, replaced.bytes)
      if (maxMessages > 0 && replaced === undefined && this.messages.size >= maxMessages) {
        return full("maximum messages exceeded")
      }
      if (this.full && size > freed) return full("maximum bytes exceeded")
      if (maxBytes > 0 && this.bytes - freed + size > maxBytes) return full("maximum bytes exceeded")
    }
    const sequence = ++this.lastSequence
    const message: Stored = { sequence, subject, headers, bytes, time: this.world.now }
    this.keep(message)
    this.ears.stored(this.settings.name, message)
    this.lastMessageId = id
    if (id !== undefined) this.messageIds.set(id, { sequence, time: this.world.now })
    if (takesPlace) this.remove(mine[0]!)
    for (const consumer of this.consumers.values()) consumer.serve()
    return { _tag: "Stored", sequence, duplicate: false }
  }

  private keep(message: Stored): void {
    this.messages.set(message.sequence, message)
    this.bytes += sizeOf(message.subject, message.headers, message.bytes)
    const mine = this.bySubject.get(message.subject)
    if (mine === undefined) this.bySubject.set(message.subject, [message.sequence])
    else {
      mine.push(message.sequence)
      mine.sort((a, b) => a - b)
    }
  }

  /** For good: a purge, an erased message, a replaced one. */
  remove(sequence: number): boolean {
    const message = this.messages.get(sequence)
    if (message === undefined) return false
    this.messages.delete(sequence)
    this.bytes -= sizeOf(message.subject, message.headers, message.bytes)
    const left = this.bySubject.get(message.subject)!.filter((other) => other !== sequence)
    if (left.length === 0) this.bySubject.delete(message.subject)
    else this.bySubject.set(message.subject, left)
    for (const consumer of this.consumers.values()) consumer.forget(sequence)
    return true
  }

  /** By a consumer of a work queue: not yet on disk. */
  acknowledge(sequence: number): void {
    const message = this.messages.get(sequence)
    if (this.settings.retention !== "workqueue" || message === undefined) return
    this.remove(sequence)
    this.acknowledged = this.acknowledged.filter(({ at }) => at > this.world.now - lag)
    this.acknowledged.push({ message, at: this.world.now })
  }

  /**
   * Up to, but without, `before`. Answers how many are gone. Every consumer then
   * believes to have seen all that comes before the first message left of the
   * filter: what it had in flight or before it is never handed out again.
   * A sequence of 0 or 1 is none.
   */
  purge(filter: string | undefined, below = Infinity): number {
    this.expire()
    const before = below <= 1 ? Infinity : below
    let purged = 0
    for (const { sequence, subject } of Array.from(this.messages.values())) {
      if (sequence < before && (filter === undefined || matches(filter, subject)) && this.remove(sequence)) purged++
    }
    const left = this.next(filter ?? ">", 1)
    for (const consumer of this.consumers.values()) consumer.skipTo(left?.sequence ?? this.lastSequence + 1)
    return purged
  }

  /** The last message of this subject, or the first of a pattern from this sequence on. */
  last(subject: string): Stored | undefined {
    this.expire()
    const sequence = this.bySubject.get(subject)?.at(-1)
    return sequence === undefined ? undefined : this.messages.get(sequence)
  }

  next(pattern: string, from: number): Stored | undefined {
    this.expire()
    return this.inOrder().find(({ sequence, subject }) => sequence >= from && matches(pattern, subject))
  }

  inOrder(): ReadonlyArray<Stored> {
    return Array.from(this.messages.values()).sort((a, b) => a.sequence - b.sequence)
  }

  /** How many messages each subject of a pattern has. */
  subjects(pattern: string): ReadonlyMap<string, number> {
    this.expire()
    const found = new Map<string, number>()
    for (const [subject, sequences] of this.bySubject) {
      if (matches(pattern, subject)) found.set(subject, sequences.length)
    }
    return found
  }

  addConsumer(settings: ConsumerSettings): Consumer {
    const known = this.consumers.get(settings.name)
    if (known !== undefined) {
      known.settings = settings
      known.serve()
      return known
    }
    const consumer = new Consumer(this.world, this, settings)
    this.consumers.set(settings.name, consumer)
    return consumer
  }

  private expire(): void {
    const { duplicateWindow, maxAge } = this.settings
    const { now } = this.world
    for (const [id, { time }] of this.messageIds) {
      if (time > now - duplicateWindow) break
      this.messageIds.delete(id)
    }
    if (maxAge === 0) return
    for (const { sequence, time } of Array.from(this.messages.values())) if (time <= now - maxAge) this.remove(sequence)
  }

  /** `kill -9` of the server and its start. */
  crash(random: Prng): void {
    const { now } = this.world
    const written = now - (random.chance(0.6) ? random.int(0, lag) : 0)
    for (const { at, message } of this.acknowledged) if (at > written) this.keep(message)
    this.acknowledged = []
    // the order of insertion is the order of sequences from now on, too
    const sorted = this.inOrder()
    this.messages.clear()
    for (const message of sorted) this.messages.set(message.sequence, message)
    this.messageIds.clear()
    for (const { headers, sequence, time } of sorted) {
      const id = headers.get("Nats-Msg-Id")
      if (id !== undefined) this.messageIds.set(id, { sequence, time })
    }
    for (const consumer of this.consumers.values()) consumer.crash(random)
  }
}

const full = (description: string): Published => ({ _tag: "Refused", code: 10077, description })
