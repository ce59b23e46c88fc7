/**
 * A NATS server with JetStream 2.9 that runs on virtual time: streams,
 * consumers and core messages. It can crash, stand still and lose its leader.
 */
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { World } from "../../../core/test/simulation/world.ts"
import type { Ears } from "./message.ts"
import { Stream, type StreamSettings } from "./stream.ts"
import { matches } from "./subjects.ts"

export interface CoreMessage {
  readonly subject: string
  readonly headers: ReadonlyMap<string, string>
  readonly bytes: Uint8Array
}

interface Listener {
  readonly pattern: string
  readonly onMessage: (message: CoreMessage) => void
}

export class Server {
  readonly streams = new Map<string, Stream>()
  readonly world: World
  /** Between a crash and the restart nobody is there. */
  up = true
  /** Counts its starts. */
  incarnation = 1
  /** Nobody answers for JetStream; core messages pass. */
  leaderless = false
  /** Called when connections are lost, and when they are back. */
  readonly onConnection = new Set<(up: boolean) => void>()
  /** Whoever wants to know. */
  ears: Ears = { stored: () => {}, handedOut: () => {} }
  private readonly random: Prng
  private readonly listeners = new Set<Listener>()
  private stalledUntil = 0
  private stalled: Array<() => void> = []

  constructor(world: World, random: Prng) {
    this.world = world
    this.random = random
  }

  /** Runs once the server gets to it; never if it is down. */
  handle(run: () => void): void {
    if (!this.up) return
    if (this.world.now < this.stalledUntil) this.stalled.push(run)
    else run()
  }

  addStream(settings: StreamSettings): Stream {
    const known = this.streams.get(settings.name)
    if (known !== undefined) {
      known.settings = settings
      return known
    }
    const stream = new Stream(this.world, settings, {
      stored: (name, message) => this.ears.stored(name, message),
      handedOut: (name, handedOut) => this.ears.handedOut(name, handedOut)
    })
    this.streams.set(settings.name, stream)
    return stream
  }

  deleteStream(name: string): boolean {
    const stream = this.streams.get(name)
    for (const consumer of stream?.consumers.values() ?? []) consumer.close()
    return this.streams.delete(name)
  }

  deleteConsumer(stream: string, name: string): boolean {
    this.streams.get(stream)?.consumers.get(name)?.close()
    return this.streams.get(stream)?.consumers.delete(name) ?? false
  }

  /** The stream that stores this subject. */
  streamOf(subject: string): Stream | undefined {
    for (const stream of this.streams.values()) {
      if (stream.settings.subjects.some((pattern) => matches(pattern, subject))) return stream
    }
    return undefined
  }

  /** Whether this is the last hand-out of a message that is not acknowledged. */
  isCurrent(reply: string): boolean {
    const [, , stream = "", consumer = ""] = reply.split(".")
    return this.streams.get(stream)?.consumers.get(consumer)?.isCurrent(reply) ?? false
  }

  publish(message: CoreMessage): void {
    for (const listener of Array.from(this.listeners)) {
      if (matches(listener.pattern, message.subject)) listener.onMessage(message)
    }
  }

  listen(pattern: string, onMessage: (message: CoreMessage) => void): () => void {
    const listener = { pattern, onMessage }
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  /** `kill -9`, and a restart after so many ms. */
  crash(downFor: number): void {
    if (!this.up) return
    this.up = false
    this.stalled = []
    this.stalledUntil = 0
    for (const stream of this.streams.values()) for (const consumer of stream.consumers.values()) consumer.disconnect()
    this.suspend(false)
    for (const hear of Array.from(this.onConnection)) hear(false)
    this.world.after(downFor, () => {
      for (const stream of this.streams.values()) stream.crash(this.random)
      this.up = true
      this.incarnation++
      for (const hear of Array.from(this.onConnection)) hear(true)
    })
  }

  /** SIGSTOP and, so many ms later, SIGCONT. Its timers and what has arrived meanwhile race then. */
  stall(milliseconds: number): void {
    if (!this.up || this.stalledUntil > this.world.now) return
    this.stalledUntil = this.world.now + milliseconds
    this.suspend(true)
    this.world.after(milliseconds, () => {
      if (!this.up) return
      const { stalled } = this
      this.stalled = []
      const timersFirst = this.random.chance(0.5)
      if (timersFirst) this.resume()
      for (const run of stalled) run()
      this.resume()
    })
  }

  /** No leader for so many ms: requests go unanswered, consumers hand out nothing and forget who waits. */
  loseLeader(milliseconds: number): void {
    if (this.leaderless) return
    this.leaderless = true
    this.suspend(true)
    for (const stream of this.streams.values()) for (const consumer of stream.consumers.values()) consumer.disconnect()
    this.world.after(milliseconds, () => {
      this.leaderless = false
      this.resume()
    })
  }

  /** Streams with a limit take nothing more for so many ms. */
  fill(milliseconds: number): void {
    for (const stream of this.streams.values()) stream.full = true
    this.world.after(milliseconds, () => {
      for (const stream of this.streams.values()) stream.full = false
    })
  }

  private suspend(suspended: boolean): void {
    for (const stream of this.streams.values()) {
      for (const consumer of stream.consumers.values()) consumer.suspended = suspended
    }
  }

  private resume(): void {
    this.suspend(false)
    for (const stream of this.streams.values()) for (const consumer of stream.consumers.values()) consumer.serve()
  }
}
