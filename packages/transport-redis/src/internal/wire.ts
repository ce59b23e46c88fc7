/**
 * One connection to one server, and what was sent on it and is not answered.
 *
 * It reconnects by itself; what becomes of requests that it loses is for its
 * owner to say.
 */
import { ShortLivedSet } from "@troupe/core/ShortLived"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Redis } from "ioredis"
import { type Arg, BatchCommand } from "./command.ts"
import { Copies } from "./copies.ts"
import * as Errors from "./errors.ts"
import type { Script } from "./script.ts"
import { leave, silence, Vigil } from "./vigil.ts"

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
  /** True: it is only answered when as many replicas have it as the user wants. */
  readonly accepts?: boolean | undefined
  readonly onReply: (reply: unknown) => void
  readonly onError: (error: TransportError) => void
}

/** A request under way. */
export interface Sent {
  readonly request: Request
  /** No later than this it is answered or fails, ms. */
  readonly deadline: number
  /** In a cluster: the slot of its keys, or -1 for any server. */
  readonly slot: number
  /** Only this server will do. */
  readonly pinned: Wire | undefined
  sentAt: number
  /** Whether the script travels with it. */
  full: boolean
  /** How often a server has sent it elsewhere since it last waited. */
  moves: number
  /** Why it waits. */
  error: unknown
}

export interface Owner {
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<unknown>) => void
  /** Before, what cannot succeed ends the start and needs no line in the log. */
  readonly isStarted: boolean
  /** How many replicas must have what is accepted. */
  readonly replicas: number
  /** The connection is there, maybe again. */
  readonly opened: (wire: Wire) => void
  readonly failed: (wire: Wire, sent: Sent, error: unknown, kind: Errors.Kind) => void
}

/** ms between two lines that say the same. */
const quiet = 10_000

export class Wire {
  readonly redis: Redis
  /** Names it in the log. */
  readonly name: string
  private readonly owner: Owner
  private readonly vigil: Vigil
  private readonly copies: Copies | undefined
  private readonly inFlight = new ShortLivedSet<Sent>()
  private ready = false
  private closed = false
  private lostAt: number | undefined = undefined
  private notedAt = -Infinity

  constructor(redis: Redis, name: string, owner: Owner) {
    this.redis = redis
    this.name = name
    this.owner = owner
    this.vigil = new Vigil(redis, owner.now)
    this.copies = owner.replicas > 0 ? new Copies(redis, owner.replicas) : undefined
    redis.on("ready", this.opened)
    redis.on("error", this.note)
    redis.on("close", this.lost)
    redis.on("end", this.lost)
    if (redis.status === "ready") this.opened()
  }

  get isReady(): boolean {
    return this.ready
  }

  private readonly opened = (): void => {
    this.ready = true
    const { lostAt, owner } = this
    this.lostAt = undefined
    this.notedAt = -Infinity
    if (lostAt !== undefined) {
      owner.fork(Effect.logInfo(`The ${this.name} connection to Redis is back after ${owner.now() - lostAt} ms`))
    }
    owner.opened(this)
  }

  /** Why it is not there: said at once, and then from time to time. */
  private readonly note = (error: Error): void => {
    const now = this.owner.now()
    if (this.ready || this.closed || now - this.notedAt < quiet) return
    const hopeless = Errors.hopeless(error)
    if (hopeless !== undefined && !this.owner.isStarted) return
    this.notedAt = now
    // a host with several addresses fails with an error that says nothing itself
    const inner = error instanceof AggregateError ? error.errors.map(String).join(", ") : ""
    const reason = hopeless ?? (error.message.trim() || inner || error.name)
    this.owner.fork(Effect.logWarning(`The ${this.name} connection to Redis is not there, trying again: ${reason}`))
  }

  private readonly lost = (): void => {
    if (this.ready && !this.closed) {
      this.lostAt = this.owner.now()
      this.owner.fork(Effect.logWarning(`The ${this.name} connection to Redis is lost, connecting again`))
    } else this.note(new Error("it was closed before it was ready"))
    this.ready = false
    this.copies?.lost()
    const cut = [...this.inFlight]
    this.inFlight.clear()
    const error = new Error("the connection was lost before the reply came")
    for (const sent of cut) this.owner.failed(this, sent, error, "lost")
  }

  /** Drops the connection and opens another one. */
  reset(): void {
    if (this.closed || !this.ready) return
    this.lost()
    leave(this.redis)
  }

  send(sent: Sent): void {
    const { accepts, args, command, script } = sent.request
    sent.sentAt = this.owner.now()
    this.inFlight.add(sent)
    const built = script === undefined
      ? new BatchCommand(command, [], args)
      : new BatchCommand(sent.full ? "eval" : "evalsha", [sent.full ? script.source : script.sha], args)
    this.redis.sendCommand(built)
    const answered = accepts === true && this.copies !== undefined
      ? Promise.all([built.promise, this.copies.made()]).then(([reply]) => reply)
      : built.promise
    answered.then(
      (reply: unknown) => {
        built.release()
        // a reply that comes after the connection was given up: somebody else answers for it
        if (this.inFlight.delete(sent)) sent.request.onReply(reply)
      },
      (error: unknown) => {
        if (this.inFlight.delete(sent)) this.owner.failed(this, sent, error, Errors.kindOf(error))
      }
    )
  }

  /** How long it has owed an answer, ms. */
  silentFor(now: number): number {
    // the first one was sent first
    for (const { sentAt } of this.inFlight) return now - sentAt
    return 0
  }

  /** Called all the time: gives up a connection that answers nothing. */
  watch(now: number): void {
    this.vigil.watch(now)
    const silent = this.silentFor(now)
    if (silent < silence) return
    this.owner.fork(Effect.logWarning(`Redis has not answered for ${silent} ms (${this.name}), connecting again`))
    this.reset()
  }

  /** What was under way is lost. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.redis.off("ready", this.opened)
    this.redis.off("close", this.lost)
    this.redis.off("end", this.lost)
    this.redis.disconnect()
    this.lost()
  }
}
