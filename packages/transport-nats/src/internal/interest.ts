/**
 * Who waits for what. A record is published to the topic of its job only in
 * queues where somebody has said so, and to the client that enqueued it only
 * while that client has: most of what is enqueued nobody waits for.
 *
 * Whoever waits says so before it looks at the record, and what a server sends
 * to a worker stays in order: a record that is written later finds it heard.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Names from "./names.ts"
import type { Streams } from "./streams.ts"

/** ms for which it is believed that somebody waits, and between two times that it is said. */
const lasts = 60_000
const every = 20_000

/** No word of a queue begins with the mark of `wordOf`. */
const everyQueue = "=all"
const everyClient = "=c"

const wordOf = (topic: "job" | "results", name: string | undefined): string => {
  if (topic === "job") return name === undefined ? everyQueue : Names.encode(name)
  return name === undefined ? everyClient : `${everyClient}-${Names.encode(name)}`
}

const nothing = new Uint8Array(0)

export class Interest {
  private readonly streams: Streams
  private readonly now: () => number
  private readonly said: string
  private readonly asked: string
  /** Our own waiters, by word. */
  private readonly waiters = new Map<string, number>()
  /** Until when somebody waits, by word. */
  private readonly heard = new Map<string, number>()

  constructor(streams: Streams, prefix: string, now: () => number) {
    this.streams = streams
    this.now = now
    this.said = `${prefix}i.`
    this.asked = `${prefix}q`
  }

  private has(word: string, general: string): boolean {
    const now = this.now()
    return (this.heard.get(word) ?? 0) > now || (this.heard.get(general) ?? 0) > now
  }

  /** Whether somebody waits for anything. */
  get isAnybodyThere(): boolean {
    return this.heard.size > 0
  }

  /** Whether somebody waits for a job of this queue. */
  isThere(queue: string): boolean {
    return this.has(wordOf("job", queue), everyQueue)
  }

  /** Whether this client waits for results of what it enqueued. */
  isClientThere(client: string): boolean {
    return this.has(wordOf("results", client), everyClient)
  }

  /** Registers a waiter until the scope closes; without a queue or a client for all of them. */
  register(topic: "job" | "results", name: string | undefined): Effect.Effect<void, TransportError, Scope> {
    const word = wordOf(topic, name)
    const change = (by: number) =>
      Effect.sync(() => {
        const count = (this.waiters.get(word) ?? 0) + by
        if (count > 0) this.waiters.set(word, count)
        else this.waiters.delete(word)
      })
    return Effect.andThen(Effect.acquireRelease(change(1), () => change(-1)), this.say(word))
  }

  private say(word: string): Effect.Effect<void, TransportError> {
    return this.streams.broadcast(this.said + word, nothing)
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
      this.heard.set(word, now + lasts)
    })
    const ask = this.streams.broadcast(this.asked, nothing)
    yield* ask
    // what was said meanwhile is lost
    yield* this.streams.onReconnect(() =>
      void Effect.runForkWith(context)(Effect.ignore(Effect.andThen(ask, this.sayAll)))
    )
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(every), this.sayAll)))
  })
}
