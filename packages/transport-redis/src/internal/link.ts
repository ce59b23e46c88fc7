/**
 * A connection that repeats what can be repeated.
 *
 * A request waits while Redis is away and is sent again when a reply was lost;
 * after `patience` it fails with `Unavailable`. Nothing is sent after that: no
 * request runs behind the back of whoever gave it up.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Cluster, Redis } from "ioredis"
import { type Arg, BatchCommand } from "./command.ts"
import * as Errors from "./errors.ts"
import type { Script } from "./script.ts"

export type { Arg }

export interface Request {
  /** For errors: what was asked for, and for which queue. */
  readonly operation: string
  readonly queue: string
  readonly command: string
  readonly script?: Script | undefined
  readonly args: ReadonlyArray<Arg>
  /** False: a lost reply is an error at once. */
  readonly repeatable: boolean
  readonly onReply: (reply: unknown) => void
  readonly onError: (error: TransportError) => void
}

interface Sent {
  readonly request: Request
  /** No later than this it is answered or fails, ms. */
  readonly deadline: number
  sentAt: number
  full: boolean
}

/** ms between two looks at what takes too long. */
const watchEvery = 250

/** ms without an answer after which a connection counts as dead. */
const silence = 5_000

export class Link {
  readonly redis: Redis | Cluster
  readonly patience: number
  private readonly name: string
  private readonly clock: Clock.Clock
  private readonly fork: <A, E>(effect: Effect.Effect<A, E>) => void
  private readonly inFlight = new Set<Sent>()
  private waiting: Array<Sent> = []
  private ready = false
  private closed = false
  private lostAt: number | undefined = undefined
  /** Called whenever the connection is there again. */
  readonly onReady = new Set<() => void>()

  constructor(options: {
    readonly redis: Redis | Cluster
    readonly name: string
    readonly patience: number
    readonly context: Context.Context<never>
    readonly clock: Clock.Clock
  }) {
    this.redis = options.redis
    this.name = options.name
    this.patience = options.patience
    this.clock = options.clock
    const fork = Effect.runForkWith(options.context)
    this.fork = (effect) => void fork(effect)
    this.ready = this.redis.status === "ready"
    this.redis.on("ready", this.opened)
    this.redis.on("close", this.lost)
    this.redis.on("end", this.lost)
  }

  get isReady(): boolean {
    return this.ready
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  private readonly opened = (): void => {
    this.ready = true
    const { lostAt } = this
    this.lostAt = undefined
    if (lostAt !== undefined) {
      this.fork(Effect.logInfo(`The ${this.name} connection to Redis is back after ${this.now() - lostAt} ms`))
    }
    this.flush()
    for (const callback of this.onReady) callback()
  }

  private readonly lost = (): void => {
    const wasReady = this.ready
    this.ready = false
    if (wasReady && !this.closed) {
      this.lostAt = this.now()
      this.fork(Effect.logWarning(`The ${this.name} connection to Redis is lost, connecting again`))
    }
    const cut = [...this.inFlight]
    this.inFlight.clear()
    for (const sent of cut) this.again(sent, new Error("the connection was lost before the reply came"), "lost")
  }

  /** Drops the connection; ioredis opens another one. */
  reset(): void {
    if (!this.closed) this.redis.disconnect(true)
  }

  request(request: Request): void {
    const now = this.now()
    const sent: Sent = { request, deadline: now + this.patience, sentAt: now, full: false }
    if (this.closed) request.onError(Errors.unavailable(request.operation, "the transport is closed"))
    else if (this.ready) this.send(sent)
    else this.waiting.push(sent)
  }

  private send(sent: Sent): void {
    const { args, command, script } = sent.request
    sent.sentAt = this.now()
    this.inFlight.add(sent)
    const built = script === undefined
      ? new BatchCommand(command, [...args])
      : new BatchCommand(sent.full ? "eval" : "evalsha", [sent.full ? script.source : script.sha, ...args])
    built.promise.then(
      (reply: unknown) => {
        // a reply that comes after the connection was given up: somebody else answers for it
        if (this.inFlight.delete(sent)) sent.request.onReply(reply)
      },
      (error: unknown) => {
        if (this.inFlight.delete(sent)) this.again(sent, error, Errors.kindOf(error))
      }
    )
    this.redis.sendCommand(built)
  }

  private again(sent: Sent, error: unknown, kind: Errors.Kind): void {
    const { request } = sent
    if (kind === "noScript" && request.script !== undefined && !sent.full) {
      sent.full = true
      return this.send(sent)
    }
    if (Errors.isDemoted(error)) this.reset()
    const repeat = kind === "passing" || (kind === "lost" && request.repeatable)
    if (!repeat || this.closed || this.now() >= sent.deadline) {
      return request.onError(Errors.fromRedis(request.operation, request.queue, error))
    }
    sent.full = false
    this.waiting.push(sent)
  }

  private flush(): void {
    const { waiting } = this
    this.waiting = []
    for (const sent of waiting) this.send(sent)
  }

  /** Gives up what waits too long, and a connection that answers nothing. */
  private watch(): void {
    const now = this.now()
    const late = this.waiting.filter((sent) => now >= sent.deadline)
    if (late.length > 0) {
      this.waiting = this.waiting.filter((sent) => now < sent.deadline)
      for (const { request } of late) {
        request.onError(Errors.unavailable(request.operation, `Redis did not answer for ${this.patience} ms`))
      }
    }
    for (const sent of this.inFlight) {
      if (now - sent.sentAt < silence) continue
      this.fork(Effect.logWarning(`Redis has not answered for ${now - sent.sentAt} ms, connecting again`))
      this.inFlight.delete(sent)
      this.again(sent, new Error(`Redis did not answer for ${now - sent.sentAt} ms`), "lost")
      this.reset()
      break
    }
    if (this.ready && this.waiting.length > 0) this.flush()
  }

  /** Runs as long as the link. */
  readonly watching: Effect.Effect<never> = Effect.forever(
    Effect.andThen(Effect.sleep(watchEvery), Effect.sync(() => this.watch()))
  )

  close(): void {
    this.closed = true
    this.redis.off("ready", this.opened)
    this.redis.off("close", this.lost)
    this.redis.off("end", this.lost)
    this.redis.on("error", () => {})
    this.redis.disconnect()
    const left = [...this.inFlight, ...this.waiting]
    this.inFlight.clear()
    this.waiting = []
    for (const { request } of left) request.onError(Errors.unavailable(request.operation, "the transport is closed"))
  }

  /** One command or script as an effect. The reply has Buffers for texts. */
  call<A>(
    request: Omit<Request, "onReply" | "onError">,
    decode: (reply: unknown) => A
  ): Effect.Effect<A, TransportError> {
    return Effect.callback<A, TransportError>((resume) => {
      this.request({
        ...request,
        onReply: (reply) => resume(Effect.sync(() => decode(reply))),
        onError: (error) => resume(Effect.fail(error))
      })
    })
  }
}

/** Opens nothing by itself: the connection is there already. */
export const make = (
  options: Omit<ConstructorParameters<typeof Link>[0], "context" | "clock">
): Effect.Effect<Link, never, Scope> =>
  Effect.gen(function*() {
    const context = yield* Effect.context<never>()
    const clock = yield* Clock.Clock
    const link = yield* Effect.acquireRelease(
      Effect.sync(() => new Link({ ...options, context, clock })),
      (link) => Effect.sync(() => link.close())
    )
    yield* Effect.forkScoped(link.watching, { startImmediately: true })
    return link
  })
