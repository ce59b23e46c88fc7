/**
 * A connection that repeats what can be repeated.
 *
 * A request waits while the server is away, is sent again when its answer does
 * not come, and fails with `Unavailable` after `patience`. Nothing is sent after
 * that: no request runs behind the back of whoever gave it up.
 */
import { createInbox, errors, type Msg, type NatsConnection, type Subscription } from "@nats-io/transport-node"
import { ShortLivedMap } from "@troupe/core/ShortLived"
import type { TransportError } from "@troupe/core/TransportError"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Errors from "./errors.ts"
import * as Handshake from "./handshake.ts"
import { Outbox } from "./outbox.ts"

/** What the caller makes of an answer: nothing more to do, a reason to ask again, or what its parts have to ask. */
export type Verdict = undefined | { readonly again: string } | { readonly parts: ReadonlyArray<Request> }

/** Sends a message without an answer of its own. */
export type Ahead = (subject: string, headers: string, head: string, bytes: Uint8Array) => void

export interface Request {
  /** For errors. */
  readonly operation: string
  readonly subject: string
  /** What precedes the bytes, one UTF-16 unit for each. */
  readonly head?: string | undefined
  readonly bytes: Uint8Array
  /** As `Headers.encode` wrote them; nothing: none. */
  readonly headers?: string
  /** Instead of them when it is sent again. */
  readonly headersAgain?: string
  /** Sends what goes right before it, each time. */
  readonly ahead?: (send: Ahead) => void
  /** What is asked instead of it the second time, as if each had been asked before. */
  readonly parts?: () => ReadonlyArray<Request>
  /** Messages that it consists of: 1 if it does not say. */
  readonly size?: number
  /** It stands back when many are under way. Heartbeats must not. */
  readonly mayWait?: boolean
  readonly onReply: (reply: Msg) => Verdict
  readonly onError: (error: TransportError) => void
}

interface Sent {
  readonly request: Request
  readonly token: number
  /** No later than this it is answered or fails, ms. */
  deadline: number
  /** When it is sent again without an answer, ms. */
  againAt: number
  tries: number
  trouble: string
}

const sizeOf = ({ request }: Sent): number => request.size ?? 1

/** ms between two looks at what takes too long. */
const watchEvery = 50

/** ms without an answer after which a request is sent again. */
const silence = 4_000

const slowest = 500

/** Messages under way at once. More would only wait at the server, and look unanswered. */
const maxPending = 4_096

/** ms. */
const shortestStall = 300

export class Link {
  readonly connection: NatsConnection
  readonly patience: number
  private readonly outbox: Outbox
  private readonly inbox: string
  private readonly inboxPrefix: string | undefined
  private readonly clock: Clock.Clock
  private readonly fork: <A, E>(effect: Effect.Effect<A, E>) => void
  private readonly pending = new ShortLivedMap<number, Sent>()
  /** Messages that they consist of. */
  private underWay = 0
  /** Not sent yet, in their order: so many are under way already. */
  private backlog: Array<Sent> = []
  private readonly replies: Subscription
  private count = 0
  private ready = true
  private closed = false
  private lostAt: number | undefined = undefined
  readonly onReconnect = new Set<() => void>()
  /** Called with the ms for which nobody in this process ran. */
  readonly onStall = new Set<(milliseconds: number) => void>()
  private beatAt = 0

  constructor(options: {
    readonly connection: NatsConnection
    readonly inboxPrefix: string | undefined
    readonly patience: number
    readonly context: Context.Context<never>
    readonly clock: Clock.Clock
  }) {
    this.connection = options.connection
    this.outbox = new Outbox(options.connection)
    this.patience = options.patience
    this.clock = options.clock
    const fork = Effect.runForkWith(options.context)
    this.fork = (effect) => void fork(effect)
    this.inboxPrefix = options.inboxPrefix
    this.inbox = this.newInbox()
    const from = this.inbox.length + 1
    this.replies = this.connection.subscribe(`${this.inbox}.*`, {
      callback: (_error, reply) => {
        const sent = this.pending.get(Number(reply.subject.slice(from)))
        if (sent !== undefined) this.receive(sent, reply)
      }
    })
    this.beatAt = this.monotonic()
    void this.follow()
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  /** Nobody else listens to it: the server must see when we do not any more. */
  newInbox(): string {
    return createInbox(this.inboxPrefix)
  }

  /** Bytes that a server may send at once: it drops a client that is too slow for what is on its way. */
  get maxPull(): number {
    return Math.max(16 * 1024 * 1024, 2 * (this.connection.info?.max_payload ?? 0))
  }

  /** Sends without an answer: it may be lost. Throws what the client throws. */
  post(subject: string, reply: string, bytes: Uint8Array): void {
    this.outbox.publish(subject, reply, "", "", bytes)
  }

  get isReady(): boolean {
    return this.ready
  }

  /** Whether the server says that nobody listens on the subject of the request. */
  static isUnheard(reply: Msg): boolean {
    return reply.data.length === 0 && reply.headers?.code === 503
  }

  /** `now`: of those that are made at once. */
  request(request: Request, now = this.now()): void {
    const sent: Sent = {
      request,
      token: this.count++,
      deadline: now + this.patience,
      againAt: Infinity,
      tries: 0,
      trouble: ""
    }
    if (this.closed) return request.onError(Errors.unavailable(request.operation, "the transport is closed"))
    if (request.mayWait === true && this.underWay >= maxPending) this.backlog.push(sent)
    else this.start(sent, now)
  }

  private start(sent: Sent, now: number): void {
    // its turn has come only now
    sent.deadline = now + this.patience
    this.add(sent, now)
  }

  private add(sent: Sent, now: number): void {
    this.pending.set(sent.token, sent)
    this.underWay += sizeOf(sent)
    if (this.ready) this.send(sent, now)
    else sent.trouble = "the connection is away"
  }

  /** One has ended: the next ones may go, some at a time. */
  private ended(sent: Sent): boolean {
    if (!this.remove(sent)) return false
    if (this.backlog.length > 0 && this.underWay <= maxPending / 2) {
      const now = this.now()
      let count = 0
      for (let room = maxPending / 2; room > 0 && count < this.backlog.length; count++) {
        room -= sizeOf(this.backlog[count]!)
      }
      for (const next of this.backlog.splice(0, count)) this.start(next, now)
    }
    return true
  }

  private remove(sent: Sent): boolean {
    if (!this.pending.delete(sent.token)) return false
    this.underWay -= sizeOf(sent)
    return true
  }

  /** What was sent together goes on one by one: each was sent before, and has the time that is left. */
  private takeApart(sent: Sent, parts: ReadonlyArray<Request>, now: number): void {
    if (!this.remove(sent)) return
    const { deadline, trouble } = sent
    for (const request of parts) {
      this.add({ request, token: this.count++, deadline, againAt: Infinity, tries: 1, trouble }, now)
    }
  }

  private send(sent: Sent, now: number): void {
    const { request } = sent
    const isAgain = sent.tries > 0
    if (isAgain && request.parts !== undefined) return this.takeApart(sent, request.parts(), now)
    sent.tries++
    const { bytes, head = "", subject } = request
    const headers = (isAgain ? request.headersAgain : undefined) ?? request.headers ?? ""
    sent.againAt = now + silence
    try {
      request.ahead?.(this.sendAhead)
      this.outbox.publish(subject, `${this.inbox}.${sent.token}`, headers, head, bytes)
    } catch (error) {
      if (error instanceof errors.InvalidArgumentError || error instanceof errors.InvalidSubjectError) {
        return this.fail(sent, Errors.refused(request.operation, error.message, error))
      }
      // closed or draining: others say so to the user
      sent.trouble = error instanceof Error ? error.message : String(error)
    }
  }

  private readonly sendAhead: Ahead = (subject, headers, head, bytes) =>
    this.outbox.publish(subject, "", headers, head, bytes)

  private receive(sent: Sent, reply: Msg): void {
    const verdict = Link.isUnheard(reply)
      ? { again: "JetStream is not there, or has no leader" }
      : this.judge(sent, reply)
    if (verdict === undefined) {
      this.ended(sent)
      return
    }
    if ("parts" in verdict) return this.takeApart(sent, verdict.parts, this.now())
    sent.trouble = verdict.again
    sent.againAt = this.now() + Math.min(slowest, 25 * 2 ** Math.min(sent.tries, 6))
  }

  private judge(sent: Sent, reply: Msg): Verdict {
    try {
      return sent.request.onReply(reply)
    } catch (error) {
      this.fail(sent, Errors.refused(sent.request.operation, `the answer cannot be read: ${String(error)}`, error))
      return undefined
    }
  }

  private fail(sent: Sent, error: TransportError): void {
    if (this.ended(sent)) sent.request.onError(error)
  }

  private monotonic(): number {
    return Number(this.clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Looks whether this process stood still: what it reads now may be old. */
  checkStall(): void {
    const now = this.monotonic()
    const stall = now - this.beatAt
    this.beatAt = now
    if (stall <= shortestStall) return
    // answers may have come meanwhile
    for (const sent of this.pending.values()) {
      sent.deadline += stall
      sent.againAt += stall
    }
    for (const callback of Array.from(this.onStall)) callback(stall)
  }

  /** Fails what waited for too long, and sends again what was not answered. */
  private sweep(): void {
    if (this.pending.size === 0) return
    const now = this.now()
    for (const sent of Array.from(this.pending.values())) {
      if (now >= sent.deadline) {
        const trouble = sent.trouble === "" ? "no answer" : sent.trouble
        this.fail(sent, Errors.unavailable(sent.request.operation, `${trouble} for ${this.patience} ms`))
      } else if (this.ready && now >= sent.againAt) {
        this.send(sent, now)
      }
    }
  }

  readonly watching: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(watchEvery),
      Effect.sync(() => {
        this.checkStall()
        this.sweep()
      })
    )
  )

  private async follow(): Promise<void> {
    for await (const status of this.connection.status()) {
      switch (status.type) {
        case "disconnect":
          this.lost()
          break
        case "reconnect":
          this.back()
          break
        case "error":
          this.complain(status.error)
          break
      }
    }
  }

  private lost(): void {
    if (this.closed) return
    // lost again on the way back
    if (!this.ready) return Handshake.giveUp(this.connection)
    this.ready = false
    this.lostAt = this.now()
    this.fork(Effect.logWarning("The connection to NATS is lost, connecting again"))
  }

  private back(): void {
    // the client says so once for each time that it was lost
    if (this.closed || this.ready) return
    const now = this.now()
    if (this.lostAt !== undefined) {
      this.fork(Effect.logInfo(`The connection to NATS is back after ${Math.round(now - this.lostAt)} ms`))
    }
    this.lostAt = undefined
    this.ready = true
    for (const sent of Array.from(this.pending.values())) this.send(sent, now)
    for (const callback of Array.from(this.onReconnect)) callback()
  }

  private complain(error: Error): void {
    if (!(error instanceof errors.PermissionViolationError)) return
    const description = `${error.message}: grant the user this right`
    for (const sent of Array.from(this.pending.values())) {
      if (error.operation === "publish" && error.subject === sent.request.subject) {
        this.fail(sent, Errors.refused(sent.request.operation, description, error))
      }
    }
    if (error.operation === "subscription") this.fork(Effect.logError(`NATS refused a subscription: ${description}`))
  }

  close(): void {
    this.closed = true
    this.replies.unsubscribe()
    const open = [...this.pending.values(), ...this.backlog]
    this.backlog = []
    this.pending.clear()
    this.underWay = 0
    for (const { request } of open) {
      request.onError(Errors.unavailable(request.operation, "the transport is closed"))
    }
  }
}

/** The link of a connection, closed with the scope. */
export const make = Effect.fnUntraced(function*(
  options: {
    readonly connection: NatsConnection
    readonly inboxPrefix: string | undefined
    readonly patience: number
  }
): Effect.fn.Return<Link, never, Scope> {
  const context = yield* Effect.context<never>()
  const clock = yield* Clock.Clock
  const link = yield* Effect.acquireRelease(
    Effect.sync(() => new Link({ ...options, context, clock })),
    (link) => Effect.sync(() => link.close())
  )
  yield* Effect.forkScoped(link.watching)
  return link
})
