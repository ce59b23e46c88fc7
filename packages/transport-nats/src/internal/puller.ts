/**
 * Pull requests to one consumer, one at a time, on an inbox of their own.
 */
import type { Msg, Subscription } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Link } from "./link.ts"
import * as Message from "./message.ts"
import type { Puller, PullEvent } from "./streams.ts"

/** ms that a waiting request lives at least and at most. */
const shortestLife = 1_000
const longestLife = 33_000

/**
 * ms that a waiting request lives: about a lease. The server gives jobs to the request of a host that vanished until it
 * is over, and each of them comes again a lease later only. Not just a lease: whoever asks right after a job came would
 * have the end of the request meet the end of the lease.
 */
const lifeOf = (heartbeat: number): number => Math.ceil(Math.min(longestLife, Math.max(shortestLife, 3.5 * heartbeat)))

/** ms after which the end of a request is asked for: a server that just had a job for it forgets it without a word. */
const endPatience = 200

/** ms between two signs of life of it. */
const shortest = 100
const longest = 5_000

/** ms without an answer after which a request that does not wait is lost. */
const silence = 2_000

/** ms before the end of a request is told that failed at once. */
const pause = 250

const nanoseconds = 1_000_000

export const make = (
  link: Link,
  stream: string,
  consumer: string,
  heartbeat: number,
  onEvent: (event: PullEvent) => void
): Effect.Effect<Puller, TransportError, Scope> =>
  Effect.gen(function*() {
    const pulls = yield* Effect.acquireRelease(
      Effect.sync(() => new Pulls(link, stream, consumer, heartbeat, onEvent)),
      (pulls) => Effect.sync(() => pulls.close())
    )
    yield* Effect.forkScoped(pulls.watching)
    return pulls
  })

class Pulls implements Puller {
  private readonly link: Link
  private readonly subject: string
  private readonly heartbeat: number
  private readonly life: number
  private readonly onEvent: (event: PullEvent) => void
  private subscription: Subscription | undefined = undefined
  private inbox = ""
  /** Messages that the request under way may still bring; 0 without one. */
  private missing = 0
  private silentUntil = Infinity
  /** When the server has forgotten the request, heard or not. */
  private overAt = Infinity
  private requests = 0
  private isStale = false

  constructor(
    link: Link,
    stream: string,
    consumer: string,
    heartbeat: number,
    onEvent: (event: PullEvent) => void
  ) {
    this.link = link
    this.subject = `$JS.API.CONSUMER.MSG.NEXT.${stream}.${consumer}`
    this.heartbeat = Math.ceil(Math.min(longest, Math.max(shortest, heartbeat)))
    this.life = lifeOf(heartbeat)
    this.onEvent = onEvent
    link.onReconnect.add(this.lost)
    link.onStall.add(this.stalled)
  }

  request({ batch, wait }: { readonly batch: number; readonly wait: boolean }): void {
    this.open()
    this.missing = batch
    const body = wait
      ? { batch, expires: this.life * nanoseconds, idle_heartbeat: this.heartbeat * nanoseconds }
      : { batch, no_wait: true, max_bytes: this.link.maxPull }
    const now = this.link.now()
    this.requests++
    this.overAt = wait ? now + this.life + endPatience : Infinity
    this.silentUntil = now + (wait ? this.patience : silence)
    try {
      this.link.post(this.subject, this.inbox, Buffer.from(JSON.stringify(body)))
    } catch {
      this.silentUntil = this.link.now() + pause
    }
  }

  /** ms without a sign of life after which a waiting request is lost. */
  private get patience(): number {
    return Math.max(silence, 2 * this.heartbeat)
  }

  cancel(): void {
    this.drop()
    this.end(true)
  }

  private open(): void {
    if (this.subscription !== undefined) return
    this.inbox = this.link.newInbox()
    const subscription = this.link.connection.subscribe(this.inbox, {
      callback: (error, message) => {
        if (error === null && this.subscription === subscription) this.receive(message)
      }
    })
    this.subscription = subscription
  }

  private drop(): void {
    this.subscription?.unsubscribe()
    this.subscription = undefined
  }

  private receive(message: Msg): void {
    this.link.checkStall()
    // it comes again with the lease that began when it was sent
    if (this.isStale) return
    // a status is empty: headers are not read for nothing
    const code = message.data.length > 0 ? 0 : message.headers?.code ?? 0
    if (code === 0) {
      this.silentUntil = this.link.now() + this.patience
      this.onEvent({ _tag: "Message", message: Message.pulled(message) })
      if (this.missing > 0 && --this.missing === 0) this.onEvent({ _tag: "End", mayHaveLost: false })
      return
    }
    // a sign of life
    if (code === 100) {
      this.silentUntil = this.link.now() + this.patience
      return
    }
    const isFull = code === 409 && /MaxBytes|Batch Completed/i.test(message.headers?.description ?? "")
    // nobody there or a refusal: not again at once
    if (code === 503 || (code === 409 && !isFull)) this.silentUntil = this.link.now() + pause
    else this.end(false)
  }

  private end(mayHaveLost: boolean): void {
    if (this.missing === 0) return
    this.missing = 0
    this.onEvent({ _tag: "End", mayHaveLost })
  }

  /**
   * This process stood still. What the server sent meanwhile sat in the socket for an unknown part of its lease, and may
   * be in other hands: whatever comes before the answer to a question that we ask now is not for us.
   */
  private readonly stalled = (milliseconds: number): void => {
    if (this.isStale || milliseconds < 1.5 * this.heartbeat) return
    this.isStale = true
    const over = () => {
      this.isStale = false
      this.lost()
    }
    this.link.connection.flush().then(over, over)
  }

  /** The server forgot the request with the connection, or never heard of it. */
  private readonly lost = (): void => {
    this.drop()
    this.end(true)
  }

  readonly watching: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(100),
      Effect.sync(() => {
        if (this.missing === 0 || !this.link.isReady) return
        const now = this.link.now()
        if (now >= this.silentUntil) this.lost()
        else if (now >= this.overAt) this.confirmOver()
      })
    )
  )

  /** What the server sent for the request comes before the answer to a question that we ask now. */
  private confirmOver(): void {
    const request = this.requests
    this.overAt = Infinity
    const over = () => {
      if (this.requests === request && this.missing > 0) this.lost()
    }
    this.link.connection.flush().then(over, () => {})
  }

  close(): void {
    this.link.onReconnect.delete(this.lost)
    this.link.onStall.delete(this.stalled)
    this.missing = 0
    this.drop()
  }
}
