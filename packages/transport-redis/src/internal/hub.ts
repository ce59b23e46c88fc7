/**
 * The subscriber connection: channels, and who listens to them.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Redis } from "ioredis"
import * as Bytes from "./bytes.ts"
import * as Errors from "./errors.ts"
import type { Link } from "./link.ts"
import { leave, Vigil } from "./vigil.ts"

export interface Listener {
  readonly onMessage: (message: Buffer) => void
  /** Messages may have been lost: the channel is heard again. */
  readonly onGap: (() => void) | undefined
}

interface Line {
  readonly name: string
  readonly listeners: Set<Listener>
  active: boolean
  /** It was active when the connection was lost. */
  hasGap: boolean
  readonly waiters: Set<(error?: TransportError) => void>
}

/** ms between two signs of life, and without an answer after which the connection counts as dead. */
const pingEvery = 5_000

export class Hub {
  private readonly commands: Link
  private readonly lines = new Map<string, Line>()
  private readonly redis: Redis
  private readonly vigil: Vigil
  private ready = false
  private answered = true

  constructor(redis: Redis, commands: Link) {
    this.redis = redis
    this.vigil = new Vigil(redis, commands.now)
    this.commands = commands
    redis.on("ready", this.opened)
    redis.on("close", this.lost)
    redis.on("messageBuffer", (channel: Buffer, message: Buffer) => {
      const line = this.lines.get(Bytes.text(channel))
      if (line === undefined) return
      // a copy: a listener may come or go while it is called
      for (const { onMessage } of Array.from(line.listeners)) onMessage(message)
    })
    if (redis.status === "ready") this.opened()
  }

  private readonly opened = (): void => {
    this.ready = true
    this.answered = true
    for (const line of this.lines.values()) this.activate(line)
  }

  private readonly lost = (): void => {
    this.ready = false
    for (const line of this.lines.values()) {
      line.hasGap ||= line.active
      line.active = false
    }
  }

  private activate(line: Line): void {
    this.redis.subscribe(line.name).then(() => {
      line.active = true
      for (const resume of line.waiters) resume()
      line.waiters.clear()
      if (!line.hasGap) return
      line.hasGap = false
      for (const { onGap } of Array.from(line.listeners)) onGap?.()
    }, (error: unknown) => {
      // a lost connection activates it when it is back
      if (Errors.kindOf(error) !== "refused") return
      for (const resume of line.waiters) resume(Errors.refused("subscribe", String(error), error))
      line.waiters.clear()
    })
  }

  private add(name: string, listener: Listener): Line {
    let line = this.lines.get(name)
    if (line === undefined) {
      line = { name, listeners: new Set(), active: false, hasGap: false, waiters: new Set() }
      this.lines.set(name, line)
      if (this.ready) this.activate(line)
    }
    line.listeners.add(listener)
    return line
  }

  private remove(line: Line, listener: Listener): void {
    line.listeners.delete(listener)
    if (line.listeners.size > 0) return
    this.lines.delete(line.name)
    if (this.ready) this.redis.unsubscribe(line.name).catch(() => {})
  }

  /** Active when it returns, until the scope closes. The same function may listen twice. */
  listen(
    name: string,
    onMessage: Listener["onMessage"],
    onGap?: Listener["onGap"]
  ): Effect.Effect<void, TransportError, Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const listener: Listener = { onMessage, onGap }
        return { listener, line: this.add(name, listener) }
      }),
      ({ line, listener }) => Effect.sync(() => this.remove(line, listener))
    ).pipe(
      Effect.flatMap(({ line }) =>
        Effect.callback<void, TransportError>((resume) => {
          if (line.active) return resume(Effect.void)
          const waiter = (error?: TransportError) => {
            clearTimeout(timer)
            resume(error === undefined ? Effect.void : Effect.fail(error))
          }
          const timer = setTimeout(() => {
            line.waiters.delete(waiter)
            resume(Effect.fail(Errors.unavailable("subscribe", "the subscriber connection is away")))
          }, this.commands.patience)
          line.waiters.add(waiter)
          return Effect.sync(() => {
            clearTimeout(timer)
            line.waiters.delete(waiter)
          })
        })
      )
    )
  }

  /** A silent connection is dropped; ioredis opens another one. */
  readonly watching: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(pingEvery),
      Effect.sync(() => {
        this.vigil.watch(this.commands.now())
        if (!this.ready) return
        if (!this.answered) return leave(this.redis)
        this.answered = false
        this.redis.ping().then(() => {
          this.answered = true
        }, () => {})
      })
    )
  )

  close(): void {
    this.redis.off("ready", this.opened)
    this.redis.off("close", this.lost)
    this.redis.disconnect()
  }
}
