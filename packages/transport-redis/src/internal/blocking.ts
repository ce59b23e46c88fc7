/**
 * Waits for jobs on a connection of its own while a queue is empty.
 */
import type { Redis } from "ioredis"
import * as Bytes from "./bytes.ts"
import { BatchCommand } from "./command.ts"
import type { Entry } from "./cycle.ts"
import * as Errors from "./errors.ts"
import { headOf } from "./handOut.ts"
import { group } from "./keys.ts"
import type { Link } from "./link.ts"
import { unblock } from "./unblock.ts"
import { leave, Vigil } from "./vigil.ts"

/** ms that Redis holds a read at most: a dead connection is noticed after it. */
const block = 5_000

/** ms after which a read that should have ended means a dead connection. */
const overdue = block + 2_000

const nothing = Buffer.alloc(0)

export type Outcome =
  /** `more`: a stream gave all that it was asked for, there may be more. */
  | {
    readonly _tag: "Entries"
    readonly entries: ReadonlyArray<Entry>
    readonly more: boolean
    /** When the read began, ms. */
    readonly askedAt: number
  }
  /** `lost`: jobs may have been handed out that never arrived. */
  | { readonly _tag: "Failed"; readonly error: unknown }

export class BlockingReader {
  private readonly redis: Redis
  private readonly vigil: Vigil
  private readonly commands: Link
  private readonly base: string
  private readonly consumer: string
  private readonly streams: ReadonlyArray<string>
  private readonly onOutcome: (outcome: Outcome) => void
  private readonly onReady: () => void
  private clientId: string | undefined = undefined
  /** Counts reads: an old one cannot end a new one. */
  private epoch = 0
  private startedAt: number | undefined = undefined
  private readonly waiters: Array<() => void> = []

  constructor(options: {
    readonly redis: Redis
    readonly commands: Link
    readonly base: string
    readonly consumer: string
    readonly streams: ReadonlyArray<string>
    readonly onOutcome: (outcome: Outcome) => void
    /** The connection is there: a read can start. */
    readonly onReady: () => void
  }) {
    this.redis = options.redis
    this.vigil = new Vigil(options.redis, options.commands.now)
    this.commands = options.commands
    this.base = options.base
    this.consumer = options.consumer
    this.streams = options.streams
    this.onOutcome = options.onOutcome
    this.onReady = options.onReady
    this.redis.on("ready", this.identify)
    this.redis.on("close", this.lost)
  }

  get isReady(): boolean {
    return this.clientId !== undefined
  }

  /** Its id at Redis, "0" while there is none. */
  get connection(): string {
    return this.clientId ?? "0"
  }

  get isReading(): boolean {
    return this.startedAt !== undefined
  }

  readonly identify = (): void => {
    this.redis.client("ID").then((id) => {
      this.clientId = String(id)
      this.onReady()
    }, () => leave(this.redis))
  }

  private readonly lost = (): void => {
    this.clientId = undefined
    if (this.isReading) this.end(this.epoch, { _tag: "Failed", error: new Error("the connection was lost") })
  }

  /** `count`: jobs per stream. */
  start(count: number, now: number): void {
    const epoch = ++this.epoch
    this.startedAt = now
    const streams = this.streams.map((stream) => this.base + stream)
    const args = ["GROUP", group, this.consumer, "COUNT", String(count), "BLOCK", String(block), "STREAMS", ...streams]
    const command = new BatchCommand("xreadgroup", [...args, ...streams.map(() => ">")], [])
    command.promise.then(
      (reply: unknown) => {
        command.release()
        this.end(epoch, { _tag: "Entries", ...this.decode(reply, count), askedAt: now })
      },
      (error: unknown) => {
        this.commands.learn(error)
        this.end(epoch, { _tag: "Failed", error })
        // another connection finds whoever has the queue now
        if (Errors.isDemoted(error) || Errors.kindOf(error) === "moved") leave(this.redis)
      }
    )
    this.redis.sendCommand(command)
  }

  private end(epoch: number, outcome: Outcome): void {
    if (epoch !== this.epoch || !this.isReading) return
    this.startedAt = undefined
    this.onOutcome(outcome)
    for (const resume of this.waiters.splice(0)) resume()
  }

  private decode(reply: unknown, count: number): { readonly entries: ReadonlyArray<Entry>; readonly more: boolean } {
    const entries: Array<Entry> = []
    let more = false
    // the shape of XREADGROUP: streams of entries of fields
    for (const [key, found] of (reply ?? []) as Array<[Buffer, Array<[Buffer, Array<Buffer>]>]>) {
      const stream = Bytes.text(key).slice(this.base.length)
      if (found.length >= count) more = true
      for (const [entry, fields] of found) {
        entries.push({
          stream,
          entry: Bytes.ascii(entry),
          head: fields.length === 2 ? headOf(fields[0]!) : undefined,
          envelope: fields[1] ?? nothing
        })
      }
    }
    return { entries, more }
  }

  /** Calls back when no read is under way any more. */
  stop(onStopped: () => void): void {
    if (!this.isReading) return onStopped()
    this.waiters.push(onStopped)
    if (this.waiters.length === 1) this.unblock(this.epoch, 0)
  }

  private unblock(epoch: number, tries: number): void {
    if (epoch !== this.epoch || !this.isReading) return
    if (this.clientId === undefined || tries > 20) return leave(this.redis)
    unblock({
      link: this.commands,
      base: this.base,
      queue: "",
      connection: this.clientId,
      // the read has not reached Redis yet, or it has just been answered
      onReply: (ended) => {
        if (!ended) setTimeout(() => this.unblock(epoch, tries + 1), 2)
      },
      onError: () => leave(this.redis)
    })
  }

  /** Ends a read that is overdue. */
  watch(now: number): void {
    this.vigil.watch(now)
    if (this.startedAt !== undefined && now - this.startedAt > overdue) leave(this.redis)
  }

  close(): void {
    this.redis.off("ready", this.identify)
    this.redis.off("close", this.lost)
    this.startedAt = undefined
    this.redis.disconnect()
  }
}
