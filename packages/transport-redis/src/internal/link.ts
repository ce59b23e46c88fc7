/**
 * The way to Redis, which repeats what can be repeated.
 *
 * A request waits while its server is away and is sent again when a reply was
 * lost; after `patience` it fails with `Unavailable`. Nothing is sent after that:
 * no request runs behind the back of whoever gave it up.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type { Redis } from "ioredis"
import * as Errors from "./errors.ts"
import { type Owner, type Request, type Sent, Wire } from "./wire.ts"

export type { Arg, Request } from "./wire.ts"

export interface Link {
  /** How long a request waits at most, ms. */
  readonly patience: number
  /** Whether a request would be sent at once. */
  readonly isReady: boolean
  /** Called whenever a connection is there again. */
  readonly onReady: Set<() => void>
  readonly now: () => number
  readonly request: (request: Request) => void
  /** One command or script as an effect. The reply has Buffers for texts. */
  readonly call: <A>(
    request: Omit<Request, "onReply" | "onError">,
    decode: (reply: unknown) => A
  ) => Effect.Effect<A, TransportError>
  /** The same for the server that has the keys that begin so. */
  readonly at: (base: string) => Link
  /** An error that somebody else got may say where a slot is now. */
  readonly learn: (error: unknown) => void
}

export interface Settings {
  readonly patience: number
  readonly replicas: number
  readonly context: Context.Context<never>
  readonly clock: Clock.Clock
  /** From 0 to 1. */
  readonly random: () => number
}

export const settings = (patience: number, replicas: number): Effect.Effect<Settings> =>
  Effect.gen(function*() {
    const random = yield* Random.Random
    return {
      patience,
      replicas,
      context: yield* Effect.context<never>(),
      clock: yield* Clock.Clock,
      random: () => random.nextDoubleUnsafe()
    }
  })

/** ms between two looks at what takes too long. */
const watchEvery = 250

/** So often a request follows at once where servers send it; then it waits for them to agree. */
const maxMoves = 3

const callOn = <A>(
  link: Pick<Link, "request">,
  request: Omit<Request, "onReply" | "onError">,
  decode: (reply: unknown) => A
): Effect.Effect<A, TransportError> =>
  Effect.callback<A, TransportError>((resume) => {
    link.request({
      ...request,
      onReply: (reply) => resume(Effect.sync(() => decode(reply))),
      onError: (error) => resume(Effect.fail(error))
    })
  })

/** What every topology has in common: requests that wait, and their ends. */
export abstract class Dispatcher implements Link, Owner {
  readonly patience: number
  readonly replicas: number
  readonly onReady = new Set<() => void>()
  readonly fork: Owner["fork"]
  private readonly clock: Clock.Clock
  private waiting: Array<Sent> = []
  protected closed = false
  isStarted = false
  private onOpened: ((wire: Wire) => void) | undefined = undefined

  constructor({ clock, context, patience, replicas }: Settings) {
    this.patience = patience
    this.replicas = replicas
    this.clock = clock
    const fork = Effect.runForkWith(context)
    this.fork = (effect) => void fork(effect)
  }

  abstract readonly isReady: boolean
  protected abstract readonly wires: Iterable<Wire>
  /** The connection for the request, if it is there. */
  protected abstract route(sent: Sent): Wire | undefined
  protected abstract slotOf(request: Request): number
  abstract readonly at: (base: string) => Link
  abstract readonly learn: (error: unknown) => void

  readonly now = (): number => this.clock.currentTimeMillisUnsafe()

  readonly request = (request: Request): void => this.begin(request, this.slotOf(request), undefined)

  begin(request: Request, slot: number, pinned: Wire | undefined): void {
    if (this.closed) return request.onError(Errors.unavailable(request.operation, "the transport is closed"))
    const now = this.now()
    const deadline = now + this.patience
    this.dispatch({ request, deadline, slot, pinned, sentAt: now, full: false, moves: 0, error: undefined })
  }

  readonly call: Link["call"] = (request, decode) => callOn(this, request, decode)

  /** The start is over. Calls back with each connection that is there from now on, or there again. */
  start(onOpened: (wire: Wire) => void): void {
    this.isStarted = true
    this.onOpened = onOpened
  }

  /** A link to the server at the other end of a connection. */
  over(wire: Wire): Link {
    return new Lane(this, -1, wire, () => wire.isReady)
  }

  private dispatch(sent: Sent): void {
    const wire = this.route(sent)
    if (wire === undefined) this.waiting.push(sent)
    else wire.send(sent)
  }

  readonly opened = (wire: Wire): void => {
    this.flush()
    this.onOpened?.(wire)
    for (const callback of this.onReady) callback()
  }

  readonly failed = (wire: Wire, sent: Sent, error: unknown, kind: Errors.Kind): void => {
    const { request } = sent
    if (kind === "noScript" && request.script !== undefined && !sent.full && wire.isReady) {
      sent.full = true
      return wire.send(sent)
    }
    if (Errors.isDemoted(error)) wire.reset()
    if (kind === "moved") this.learn(error)
    const repeat = kind === "passing" || kind === "moved" || (kind === "lost" && request.repeatable)
    if (!repeat || this.closed || this.now() >= sent.deadline) {
      return request.onError(Errors.fromRedis(request.operation, request.queue, error))
    }
    sent.full = false
    sent.error = error
    if (kind === "moved" && ++sent.moves <= maxMoves) return this.dispatch(sent)
    this.waiting.push(sent)
  }

  protected flush(): void {
    const { waiting } = this
    this.waiting = []
    for (const sent of waiting) {
      sent.moves = 0
      this.dispatch(sent)
    }
  }

  /** Called all the time: gives up what waits too long, and connections that answer nothing. */
  protected watch(now: number): void {
    const late = this.waiting.filter((sent) => now >= sent.deadline)
    if (late.length > 0) {
      this.waiting = this.waiting.filter((sent) => now < sent.deadline)
      for (const { error, request } of late) {
        const waited = `${this.patience} ms`
        const description = error === undefined
          ? `there was no connection for ${waited}`
          : `tried for ${waited}: ${Errors.text(error)}`
        request.onError(Errors.unavailable(request.operation, description, error))
      }
    }
    for (const wire of this.wires) wire.watch(now)
    if (this.waiting.length > 0) this.flush()
  }

  /** Runs as long as the link. */
  readonly watching: Effect.Effect<never> = Effect.forever(
    Effect.andThen(Effect.sleep(watchEvery), Effect.sync(() => this.watch(this.now())))
  )

  close(): void {
    this.closed = true
    for (const wire of this.wires) wire.close()
    const { waiting } = this
    this.waiting = []
    for (const { request } of waiting) {
      request.onError(Errors.unavailable(request.operation, "the transport is closed"))
    }
  }
}

/** A link to one server of several. */
export class Lane implements Link {
  readonly patience: number
  readonly onReady: Link["onReady"]
  readonly now: Link["now"]
  readonly learn: Link["learn"]
  readonly at: Link["at"]
  private readonly dispatcher: Dispatcher
  private readonly slot: number
  private readonly pinned: Wire | undefined
  private readonly ready: () => boolean

  constructor(dispatcher: Dispatcher, slot: number, pinned: Wire | undefined, ready: () => boolean) {
    this.dispatcher = dispatcher
    this.patience = dispatcher.patience
    this.onReady = dispatcher.onReady
    this.now = dispatcher.now
    this.learn = dispatcher.learn
    this.at = dispatcher.at
    this.slot = slot
    this.pinned = pinned
    this.ready = ready
  }

  get isReady(): boolean {
    return this.ready()
  }

  readonly request = (request: Request): void => this.dispatcher.begin(request, this.slot, this.pinned)

  readonly call: Link["call"] = (request, decode) => callOn(this, request, decode)
}

/** One server, or the one that Sentinels name: the connection itself finds it. */
export class SingleLink extends Dispatcher {
  readonly wire: Wire
  protected readonly wires: ReadonlyArray<Wire>

  constructor(redis: Redis, settings: Settings) {
    super(settings)
    this.wire = new Wire(redis, "command", this)
    this.wires = [this.wire]
  }

  get isReady(): boolean {
    return this.wire.isReady
  }

  protected route(): Wire | undefined {
    return this.wire.isReady ? this.wire : undefined
  }

  protected slotOf(): number {
    return -1
  }

  readonly at = (): Link => this

  readonly learn = (): void => {}
}
