/**
 * One subscription: fetches for the pulls that wait, settles in the same trip,
 * and knows what it has been given.
 *
 * While there is work a script settles and fetches at once, two trips in
 * flight; while there is none a blocking read waits. What arrives for nobody is
 * given back.
 */
import type { Envelope } from "@troupe/core/Envelope"
import type { Settled, Settlement, SubscribeOptions } from "@troupe/core/JobLog"
import type { TransportError } from "@troupe/core/TransportError"
import type { Redis } from "ioredis"
import { Alarm } from "./alarm.ts"
import { BlockingReader, type Outcome } from "./blocking.ts"
import * as Cycle from "./cycle.ts"
import { Desk, type Pull } from "./desk.ts"
import * as Errors from "./errors.ts"
import { Following } from "./following.ts"
import { tryDecode, wrap } from "./foreign.ts"
import { HandOut, handOutsBefore } from "./handOut.ts"
import { Held } from "./held.ts"
import { type Keys, recovered, waiting } from "./keys.ts"
import type { Arg, Link } from "./link.ts"
import * as Register from "./register.ts"

export interface Settle {
  readonly settlements: ReadonlyArray<Settlement>
  /** ms by the local clock. */
  readonly since: number
  readonly resume: (answers: ReadonlyArray<Settled>) => void
  readonly fail: (error: TransportError) => void
}

/** Jobs per fetch: a longer script would hold up everybody else. */
const maxFetch = 128

/** Settlements per script. */
const maxSettle = 256

/** A pull of at least this many is served in two halves, so that Redis works while we do. */
const halves = 64

export class Consumer {
  readonly base: string
  readonly options: SubscribeOptions
  private readonly link: Link
  private readonly keys: Keys
  private readonly blocking: BlockingReader
  /** What fetches begin with. */
  private readonly streams: ReadonlyArray<string>
  private readonly everywhere: string
  private readonly turns: string
  private readonly following = new Following()
  readonly held = new Held()
  /** Somebody must be there when the first scheduled job is due. */
  readonly alarm: Alarm
  private readonly desk: Desk
  private settles: Array<Settle> = []
  /** Jobs asked for in trips under way, and how many of those trips there are. */
  private requested = 0
  private trips = 0
  /** The last look found nothing: wait for the next job instead of asking. */
  private idle = false
  /** A reply may have been lost together with the jobs in it. */
  private suspicious = false
  private looking = false
  private flushing = false
  private closed = false
  /** When this process was last seen alive. */
  private sweptAt: number
  /** When it had last stood still for longer than a lease. */
  private wokeAt = -Infinity
  private awaySince: number | undefined = undefined

  constructor(options: {
    readonly link: Link
    readonly blocking: Redis
    readonly keys: Keys
    readonly isCluster: boolean
    readonly subscribe: SubscribeOptions
  }) {
    this.link = options.link
    this.keys = options.keys
    this.options = options.subscribe
    this.base = options.keys.queue(options.subscribe.queue)
    this.sweptAt = options.link.now()
    this.desk = new Desk((unwanted) => this.giveBack(unwanted))
    this.alarm = new Alarm(() => this.link.now(), () => this.promote())
    this.everywhere = options.isCluster ? "1" : "0"
    this.turns = options.subscribe.turns === true ? "1" : "0"
    this.streams = [...options.subscribe.priorities].reverse().flatMap((level) => [recovered(level), waiting(level)])
    this.blocking = new BlockingReader({
      redis: options.blocking,
      commands: options.link,
      base: this.base,
      consumer: options.subscribe.consumer,
      streams: this.streams,
      onOutcome: (outcome) => this.onBlocked(outcome),
      onReady: () => this.soon()
    })
    if (options.blocking.status === "ready") this.blocking.identify()
    this.link.onReady.add(this.onLinkReady)
  }

  private readonly onLinkReady = (): void => this.soon()

  /** The id of the connection on which we wait for jobs. */
  get connection(): string {
    return this.blocking.connection
  }

  // --- pulls ---

  pull(pull: Pull): void {
    if (!this.desk.pull(pull)) this.soon()
  }

  /** Calls back when nothing is fetched for the pull any more. */
  cancel(pull: Pull, onCancelled: () => void): void {
    this.desk.remove(pull)
    if (this.desk.isWaiting) return onCancelled()
    this.desk.clear()
    this.blocking.stop(() => {
      if (!this.desk.isWaiting) this.desk.clear()
      onCancelled()
    })
  }

  private giveBack(unwanted: ReadonlyArray<HandOut>): void {
    const args: Array<Arg> = []
    for (const handOut of unwanted) {
      this.held.forget(handOut)
      args.push(handOut.stream.slice(0, 2), handOut.stream.slice(2), handOut.entry)
    }
    // best effort: else they come back with their lease
    this.script("release", Register.release, args, () => {}, () => {})
  }

  // --- trips ---

  settle(settle: Settle): void {
    this.settles.push(settle)
    this.flush()
  }

  /** After everything that is ready to run: settlements on their way join the fetch. */
  private soon(): void {
    if (this.flushing) return
    this.flushing = true
    setImmediate(() => {
      this.flushing = false
      this.flush()
    })
  }

  private flush(): void {
    if (this.suspicious && this.desk.isWaiting) this.lookForLost()
    let wanted = this.wanted()
    while (this.settles.length > 0 || (wanted > 0 && this.trips < 2)) {
      const batch = this.nextBatch()
      this.trip(batch, this.trips < 2 ? wanted : 0)
      wanted = this.wanted()
    }
    this.wait()
  }

  /** Jobs for the next trip. */
  private wanted(): number {
    if (this.idle || !this.desk.isWaiting || !this.link.isReady || this.looking) return 0
    const missing = this.desk.missing - this.requested
    if (missing <= 0) return 0
    return Math.min(maxFetch, this.trips === 0 && this.desk.total >= halves ? Math.ceil(missing / 2) : missing)
  }

  private wait(): void {
    const { blocking, desk } = this
    if (!this.idle || !desk.isWaiting || this.looking || this.requested > 0) return
    if (!blocking.isReady || blocking.isReading) return
    // per stream: jobs of several levels at the very same moment are rare, and the surplus waits for the next pull
    blocking.start(Math.max(1, Math.min(maxFetch, Math.floor(desk.total / 2))), this.link.now())
  }

  private nextBatch(): Array<Settle> {
    const batch: Array<Settle> = []
    let size = 0
    while (this.settles.length > 0 && size < maxSettle) {
      const next = this.settles.shift()!
      batch.push(next)
      size += next.settlements.length
    }
    return batch
  }

  private trip(batch: ReadonlyArray<Settle>, want: number): void {
    const unique: Array<Cycle.Own> = []
    for (const { settlements } of batch) {
      for (const settlement of settlements) {
        const { delivery } = settlement
        if (!(delivery instanceof HandOut) || delivery.repeated(settlement._tag) !== undefined) continue
        if (delivery.batch === batch) continue
        delivery.batch = batch
        // `instanceof` does not narrow the settlement that the delivery is a part of
        unique.push(settlement as Cycle.Own)
      }
    }
    const answer = () => {
      for (const { resume, settlements } of batch) {
        resume(
          settlements.map(({ _tag, delivery }): Settled =>
            delivery instanceof HandOut ? delivery.repeated(_tag) ?? "superseded" : "superseded"
          )
        )
      }
    }
    if (unique.length === 0 && want === 0) return answer()
    const { args, keyed, order } = Cycle.encode(this.keys, this.head(want), unique)
    const askedAt = this.link.now()
    this.trips++
    this.requested += want
    const landed = () => {
      this.trips--
      this.requested -= want
    }
    this.script("settle", Cycle.script, args, (reply) => {
      landed()
      const { entries, following, nextDue, settled } = Cycle.decode(reply as Cycle.Reply, order.length)
      for (let i = 0; i < order.length; i++) {
        const { _tag, delivery } = order[i]!
        delivery.settled(_tag, settled[i]!)
        this.held.forget(delivery)
      }
      following.forEach((entries, group) => this.following.add(order, keyed[group]!, entries))
      if (want > 0) this.idle = entries.length < want
      this.alarm.set(nextDue)
      this.receive(entries, askedAt)
      // after the new jobs: what they come to joins the next trip
      answer()
      this.flush()
    }, (error) => {
      landed()
      if (want > 0) this.suspicious = true
      this.again(batch, error)
      if (error.reason._tag !== "Unavailable") this.desk.failAll(error)
      this.soon()
    })
  }

  /** What every trip begins with. */
  private head(want: number): ReadonlyArray<string> {
    const { everywhere, options, streams, turns } = this
    return [options.consumer, String(want), everywhere, turns, String(streams.length), ...streams]
  }

  /** A lost reply: whoever repeats a settlement gets the same answer. */
  private again(batch: ReadonlyArray<Settle>, error: TransportError): void {
    const now = this.link.now()
    for (const settle of batch) {
      const repeat = error.reason._tag === "Unavailable" && now - settle.since < this.link.patience
      if (repeat && !this.closed) this.settles.push(settle)
      else settle.fail(error)
    }
  }

  private onBlocked(outcome: Outcome): void {
    if (outcome._tag === "Entries") {
      this.idle = !outcome.more
      this.receive(outcome.entries, outcome.askedAt)
      this.soon()
      return
    }
    if (this.closed) return
    // whatever it was, the next look asks
    this.suspicious = true
    this.idle = false
    if (Errors.kindOf(outcome.error) === "refused") {
      this.desk.failAll(Errors.fromRedis("pull", this.options.queue, outcome.error))
    } else this.soon()
  }

  private receive(entries: ReadonlyArray<Cycle.Entry>, askedAt: number): void {
    if (entries.length === 0) return
    this.checkAwake()
    const now = this.link.now()
    if (askedAt <= this.wokeAt) {
      // this process stood still since: they may be somebody else's by now
      this.suspicious = true
      return this.soon()
    }
    for (const one of entries) {
      const envelope = one.head === undefined ? undefined : tryDecode(one.envelope)
      if (envelope !== undefined) this.take(one, envelope, now)
      else {
        wrap(this.link, this.base, this.options.queue, one, (envelope) => {
          this.take(one, envelope, now)
          this.desk.deliver()
        })
      }
    }
    this.desk.deliver()
  }

  private take({ entry, head, stream }: Cycle.Entry, envelope: Envelope, now: number): void {
    const follows = this.following.take(stream, entry)
    const handOut = new HandOut(envelope, handOutsBefore(head ?? ""), stream, entry, now, follows)
    this.held.add(handOut)
    this.desk.put(handOut)
  }

  private promote(): void {
    if (!this.link.isReady) return
    // wakes the blocking read of whoever waits
    this.script("promote", Cycle.script, [...this.head(0), "0"], (reply) => {
      this.alarm.set(Cycle.decode(reply as Cycle.Reply, 0).nextDue)
    }, () => {})
  }

  // --- leases ---

  private checkAwake(): void {
    const now = this.link.now()
    if (now - this.sweptAt > this.options.lease) this.wokeAt = now
    // a clock that was set back: nothing happened later than now
    this.wokeAt = Math.min(this.wokeAt, now)
    this.sweptAt = now
  }

  /** Called all the time: shows that this process is alive. */
  sweep(): void {
    this.checkAwake()
    const now = this.link.now()
    this.held.sweep(now, 2 * this.options.lease)
    this.blocking.watch(now)
    if (this.link.isReady) this.awaySince = undefined
    else this.awaySince ??= now
    if (this.awaySince !== undefined && now - this.awaySince > this.link.patience) {
      this.desk.failAll(Errors.unavailable("pull", `Redis is away for ${now - this.awaySince} ms`))
    }
  }

  /** Asks what Redis has given us: jobs of lost replies are among it. */
  private lookForLost(): void {
    if (this.looking || !this.link.isReady || this.trips > 0) return
    // what it is given meanwhile would be in both answers
    if (this.blocking.isReading) return this.blocking.stop(() => this.soon())
    this.looking = true
    this.suspicious = false
    const askedAt = this.link.now()
    this.script("pull", Register.own, [this.options.consumer, ...this.streams], (reply) => {
      this.looking = false
      const { entries } = Cycle.decode(reply as Cycle.Reply, 0)
      const known = this.held.entries()
      this.receive(entries.filter(({ entry, stream }) => !known.has(stream + entry)), askedAt)
      this.soon()
    }, (error) => {
      this.looking = false
      this.suspicious = true
      this.desk.failAll(error)
    })
  }

  private script(
    operation: string,
    script: Parameters<Link["request"]>[0]["script"],
    args: ReadonlyArray<Arg>,
    onReply: (reply: unknown) => void,
    onError: (error: TransportError) => void
  ): void {
    // not a spread, which takes hundreds of arguments one by one
    const prefixed: Array<Arg> = ["1", this.base]
    this.link.request({
      operation: `${operation} on queue "${this.options.queue}"`,
      queue: this.options.queue,
      command: "evalsha",
      script,
      args: prefixed.concat(args),
      repeatable: operation !== "settle",
      onReply,
      onError
    })
  }

  /** Gives back what nobody pulled; calls back when nothing is under way. */
  close(onClosed: () => void): void {
    this.closed = true
    this.link.onReady.delete(this.onLinkReady)
    this.alarm.clear()
    this.desk.close()
    this.blocking.stop(() => {
      this.blocking.close()
      const landed = () => {
        if (this.trips > 0) setTimeout(landed, 2)
        else onClosed()
      }
      landed()
    })
  }
}
