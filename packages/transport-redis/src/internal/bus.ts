/**
 * Broadcast over Redis channels.
 *
 * Whatever shares its first word shares a channel, and listeners pick what has
 * their prefix: patterns would cost every publish, and an ACL cannot allow a
 * part of them. Topics that are many and heard in full have channels of their own.
 */
import type { Bus, Message, Topic } from "@troupe/core/Bus"
import { TransportError, Unsupported } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import * as Bytes from "./bytes.ts"
import type { Hub } from "./hub.ts"
import * as Keys from "./keys.ts"
import type { Link } from "./link.ts"
import * as Lua from "./lua.ts"
import * as Script from "./script.ts"

/** Topics with a channel of their own, by their first word, and how long they are. */
const whole: ReadonlyMap<string, number> = new Map([
  ["results", 2],
  ["job", 3],
  ["cancel", 2],
  ["pause", 2],
  ["progress", 3]
])

const isWhole = (topic: Topic): boolean => whole.get(topic[0]) === topic.length

const startsWith = (topic: ReadonlyArray<unknown>, prefix: Topic): boolean =>
  topic.length >= prefix.length && prefix.every((word, index) => topic[index] === word)

/** The topic travels before the bytes, behind its length. */
const frame = (topic: Topic, bytes: Uint8Array): Buffer => {
  const words = Buffer.from(JSON.stringify(topic))
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(words.length)
  return Buffer.concat([length, words, bytes])
}

/** `undefined` for what is no message of ours. */
const unframe = (framed: Buffer): Message | undefined => {
  try {
    const end = 4 + framed.readUInt32BE(0)
    const topic: unknown = JSON.parse(Bytes.text(framed.subarray(4, end)))
    if (!Array.isArray(topic) || topic.length === 0) return undefined
    // a list of words, as `frame` wrote it
    return { topic: topic as unknown as Topic, bytes: framed.subarray(end) }
  } catch {
    return undefined
  }
}

/** How long a waiter stays registered, ms, and how often it is registered again. */
const registration = { lasts: 60_000, every: 20_000 }

/**
 * KEYS[1] -> what all keys of the queue begin with
 * ARGV[1] -> ms
 * then the ids of jobs whose records somebody waits for
 */
const register = Script.make(`${Lua.prelude}
call('DEL', P .. '-')
local until_ = ms((clock()) + tonumber(ARGV[1]))
for x = 2, #ARGV do call('ZADD', P .. 'jw', until_, ARGV[x]) end
call('PEXPIRE', P .. 'jw', ARGV[1])
return 1
`)

export class RedisBus implements Bus {
  private readonly link: Link
  private readonly hub: Hub
  private readonly keys: Keys.Keys
  /** Jobs that somebody waits for, by queue, with how many do. */
  private readonly waiters = new Map<string, Map<string, number>>()

  constructor(link: Link, hub: Hub, keys: Keys.Keys) {
    this.link = link
    this.hub = hub
    this.keys = keys
  }

  private channel(topic: Topic): string {
    const [first, second = "", third = ""] = topic
    if (!isWhole(topic)) return `${this.keys.topics}${first}`
    if (first === "results") return this.keys.results(second)
    if (first === "job") return Keys.job(this.keys.queue(second), third)
    return `${this.keys.topics}${JSON.stringify(topic)}`
  }

  readonly publish = (topic: Topic, bytes: Uint8Array): Effect.Effect<void, TransportError> =>
    this.link.call({
      operation: "publish",
      queue: "",
      command: "publish",
      args: [this.channel(topic), isWhole(topic) ? Bytes.view(bytes) : frame(topic, bytes)],
      // heard once or not at all
      repeatable: false
    }, () => undefined)

  readonly subscribe = (
    prefix: Topic,
    onMessage: (message: Message) => void,
    onGap?: () => void
  ): Effect.Effect<void, TransportError, Scope> => {
    const channel = this.channel(prefix)
    const [first, queue = "", id = ""] = prefix
    if (isWhole(prefix)) {
      const heard = this.hub.listen(channel, (bytes) => onMessage({ topic: prefix, bytes }), onGap)
      return first === "job" ? Effect.andThen(heard, this.wait(queue, id)) : heard
    }
    if (whole.has(first)) {
      const description = `only whole topics of "${first}" can be listened to`
      return Effect.fail(new TransportError({ reason: new Unsupported({ operation: "subscribe", description }) }))
    }
    return this.hub.listen(channel, (bytes) => {
      const message = unframe(bytes)
      if (message !== undefined && startsWith(message.topic, prefix)) onMessage(message)
    }, onGap)
  }

  /** Registers a waiter until the scope closes: a record is published for jobs with one. */
  private wait(queue: string, id: string): Effect.Effect<void, TransportError, Scope> {
    const change = (by: number) =>
      Effect.sync(() => {
        const ids = this.waiters.get(queue) ?? new Map<string, number>()
        this.waiters.set(queue, ids)
        const count = (ids.get(id) ?? 0) + by
        if (count > 0) ids.set(id, count)
        else ids.delete(id)
        if (ids.size === 0) this.waiters.delete(queue)
      })
    return Effect.andThen(Effect.acquireRelease(change(1), () => change(-1)), this.register(queue, [id]))
  }

  private register(queue: string, ids: ReadonlyArray<string>): Effect.Effect<void, TransportError> {
    return this.link.call({
      operation: "subscribe",
      queue,
      command: "evalsha",
      script: register,
      args: ["1", this.keys.queue(queue), String(registration.lasts), ...ids],
      repeatable: true
    }, () => undefined)
  }

  /** Waiters may wait longer than one registration lasts. */
  readonly registering: Effect.Effect<never> = Effect.forever(
    Effect.andThen(
      Effect.sleep(registration.every),
      Effect.suspend(() =>
        Effect.forEach(
          [...this.waiters],
          ([queue, ids]) => Effect.ignore(this.register(queue, [...ids.keys()].slice(0, 5_000))),
          { discard: true }
        )
      )
    )
  )
}
