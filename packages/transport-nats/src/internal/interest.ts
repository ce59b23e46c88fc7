/**
 * Who waits for jobs of others. A record is published to the topic of its job
 * only in queues where somebody has said so: it would cost every job a message.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Names from "./names.ts"
import type { Streams } from "./streams.ts"

/** ms for which it is believed that somebody waits, and between two times that it is said. */
const lasts = 60_000
const every = 20_000

/** For whoever waits for jobs of all queues. */
const everything = "*"

const nothing = new Uint8Array(0)

export class Interest {
  private readonly streams: Streams
  private readonly now: () => number
  private readonly said: string
  private readonly asked: string
  /** Our own waiters, by queue. */
  private readonly waiters = new Map<string, number>()
  /** Until when somebody waits, by queue. */
  private readonly heard = new Map<string, number>()

  constructor(streams: Streams, prefix: string, now: () => number) {
    this.streams = streams
    this.now = now
    this.said = `${prefix}i.`
    this.asked = `${prefix}q`
  }

  /** Whether somebody waits for a job of this queue. */
  isThere(queue: string): boolean {
    if (this.heard.size === 0) return false
    const now = this.now()
    return (this.heard.get(Names.encode(queue)) ?? 0) > now || (this.heard.get(everything) ?? 0) > now
  }

  /** Registers a waiter until the scope closes; without a queue for all of them. */
  register(queue: string | undefined): Effect.Effect<void, TransportError, Scope> {
    const word = queue === undefined ? everything : Names.encode(queue)
    const change = (by: number) =>
      Effect.sync(() => {
        const count = (this.waiters.get(word) ?? 0) + by
        if (count > 0) this.waiters.set(word, count)
        else this.waiters.delete(word)
      })
    return Effect.andThen(Effect.acquireRelease(change(1), () => change(-1)), this.say(word))
  }

  /** A queue's own word is no wildcard. */
  private say(word: string): Effect.Effect<void, TransportError> {
    return this.streams.broadcast(this.said + (word === everything ? "=all" : word), nothing)
  }

  private readonly sayAll: Effect.Effect<void> = Effect.suspend(() =>
    Effect.ignore(Effect.forEach(this.waiters.keys(), (word) => this.say(word), { discard: true }))
  )

  /** Listens to the others until the scope closes, and asks whoever waits already. */
  readonly start: Effect.Effect<void, TransportError, Scope> = Effect.gen({ self: this }, function*() {
    const context = yield* Effect.context<never>()
    const from = this.said.length
    yield* this.streams.listen([`${this.said}>`, this.asked], (subject) => {
      if (subject === this.asked) return void Effect.runForkWith(context)(this.sayAll)
      const word = subject.slice(from)
      const now = this.now()
      for (const [old, until] of this.heard) if (until <= now) this.heard.delete(old)
      this.heard.set(word === "=all" ? everything : word, now + lasts)
    })
    yield* this.streams.broadcast(this.asked, nothing)
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(every), this.sayAll)))
  })
}
