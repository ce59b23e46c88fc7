/**
 * Broadcast over plain NATS subjects: a topic is a subject, a prefix is the
 * subject and everything below it.
 */
import { type Bus, jobTopic, type Message, resultsTopic, type Topic } from "@troupe/core/Bus"
import * as JobRecord from "@troupe/core/JobRecord"
import type { TransportError } from "@troupe/core/TransportError"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type { Interest } from "./interest.ts"
import * as Names from "./names.ts"
import type { Streams } from "./streams.ts"

/** A new record, and its bytes. */
export interface Announced {
  readonly record: JobRecord.JobRecord
  readonly bytes: Uint8Array
}

/** Some words cannot be read back from their subject: then the topic travels with the message. */
const isPlain = (word: string): boolean => Names.encode(word) === word

const pack = (topic: Topic, bytes: Uint8Array): Uint8Array => {
  const words = Buffer.from(JSON.stringify(topic))
  const length = Buffer.allocUnsafe(4)
  length.writeUInt32BE(words.length)
  return Buffer.concat([length, words, bytes])
}

const unpack = (packed: Uint8Array): Message => {
  const view = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  const end = 4 + view.readUInt32BE(0)
  // a list of words, as `pack` wrote it
  return { topic: JSON.parse(view.toString("utf8", 4, end)) as Topic, bytes: view.subarray(end) }
}

export class NatsBus implements Bus {
  private readonly streams: Streams
  /** `p.` for topics of plain words, `x.` for all others. */
  private readonly prefix: string

  private readonly interest: Interest

  constructor(streams: Streams, prefix: string, interest: Interest) {
    this.streams = streams
    this.prefix = prefix
    this.interest = interest
  }

  private subject(topic: Topic): string {
    return topic.map(Names.encode).join(".")
  }

  readonly publish = (topic: Topic, bytes: Uint8Array): Effect.Effect<void, TransportError> => {
    const subject = this.subject(topic)
    return topic.every(isPlain)
      ? this.streams.broadcast(`${this.prefix}p.${subject}`, bytes)
      : this.streams.broadcast(`${this.prefix}x.${subject}`, pack(topic, bytes))
  }

  readonly subscribe = (
    prefix: Topic,
    onMessage: (message: Message) => void,
    onGap?: () => void
  ): Effect.Effect<void, TransportError, Scope> => {
    const subject = this.subject(prefix)
    const from = this.prefix.length
    const subjects = [`${this.prefix}x.${subject}`, `${this.prefix}x.${subject}.>`]
    if (prefix.every(isPlain)) subjects.push(`${this.prefix}p.${subject}`, `${this.prefix}p.${subject}.>`)
    const listening = this.streams.listen(subjects, (subject, bytes) => {
      if (subject[from] === "x") return onMessage(unpack(bytes))
      const [first = "", ...others] = subject.slice(from + 2).split(".")
      onMessage({ topic: [first, ...others], bytes })
    })
    // the client has subscribed again before it says that it is back
    const gaps = onGap === undefined ? Effect.void : this.streams.onReconnect(onGap)
    const heard = Effect.andThen(listening, gaps)
    const [first, name] = prefix
    return first === "job" || first === "results" ? Effect.andThen(heard, this.interest.register(first, name)) : heard
  }

  /** Whether anybody has to be told of new records. Most of the time nobody waits for any. */
  get isAwaited(): boolean {
    return this.interest.isAnybodyThere
  }

  /** Tells whoever waits of new records. A lost message only costs time. */
  announce(records: ReadonlyArray<Announced>): Effect.Effect<void> {
    if (!this.isAwaited) return Effect.void
    const byClient = new Map<string, [Uint8Array, ...Array<Uint8Array>]>()
    const messages: Array<Effect.Effect<void, TransportError>> = []
    for (const { bytes, record } of records) {
      if (this.interest.isThere(record.queue)) messages.push(this.publish(jobTopic(record.queue, record.id), bytes))
      const client = record.replyTo
      if (client === undefined || !this.interest.isClientThere(client)) continue
      const list = byClient.get(client)
      if (list === undefined) byClient.set(client, [bytes])
      else list.push(bytes)
    }
    for (const [client, list] of byClient) {
      for (const some of this.chunks(list)) {
        messages.push(this.publish(resultsTopic(client), JobRecord.join(some)))
      }
    }
    return Effect.ignore(Effect.all(messages, { discard: true }))
  }

  /** No message is larger than the server takes. */
  private *chunks(records: NonEmptyReadonlyArray<Uint8Array>): Generator<ReadonlyArray<Uint8Array>> {
    let chunk: Array<Uint8Array> = []
    let size = 0
    for (const record of records) {
      if (chunk.length > 0 && size + record.length > this.streams.maxPayload / 2) {
        yield chunk
        chunk = []
        size = 0
      }
      chunk.push(record)
      size += record.length + 4
    }
    yield chunk
  }
}
