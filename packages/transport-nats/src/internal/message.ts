/**
 * Messages as the server sends them, and as the port shows them.
 */
import type { Msg } from "@nats-io/transport-node"
import * as Headers from "./headers.ts"
import type { Delivered, Publish, Stored } from "./streams.ts"

/** An answer to a direct get. */
export const stored = (reply: Msg): Stored => {
  const headers = Headers.decode(reply.headers)
  return {
    subject: headers.get("Nats-Subject") ?? "",
    bytes: reply.data,
    headers,
    sequence: Number(headers.get("Nats-Sequence")),
    timestamp: Date.parse(headers.get("Nats-Time-Stamp") ?? "")
  }
}

/** An answer to a get by the API. */
export interface ApiMessage {
  readonly message?: {
    readonly subject: string
    readonly seq: number
    readonly hdrs?: string
    readonly data?: string
    readonly time: string
  }
}

const parse = (block: string): ReadonlyMap<string, string> => {
  const headers = new Map<string, string>()
  for (const line of block.split("\r\n").slice(1)) {
    const colon = line.indexOf(":")
    if (colon > 0) headers.set(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return headers
}

export const fromApi = ({ data, hdrs, seq, subject, time }: NonNullable<ApiMessage["message"]>): Stored => ({
  subject,
  bytes: data === undefined ? new Uint8Array(0) : Buffer.from(data, "base64"),
  headers: hdrs === undefined ? new Map() : parse(Buffer.from(hdrs, "base64").toString("latin1")),
  sequence: seq,
  timestamp: Date.parse(time)
})

/** What a message will hold. */
export const contentOf = ({ bytes, head = "" }: Pick<Publish, "bytes" | "head">): Uint8Array =>
  head === "" ? bytes : Buffer.concat([Buffer.from(head, "latin1"), bytes])

/** What the last one began with: most come from the same consumer. */
let last = ""

/** What the reply subjects of one consumer begin with, up to the dot behind its name. */
export const consumerOf = (reply: string): string => {
  if (last !== "" && reply.startsWith(last)) return last
  const dots = dotsOf(reply)
  return last = reply.slice(0, dots[consumerAt(dots)]! + 1)
}

const dotsOf = (text: string): ReadonlyArray<number> => {
  const dots: Array<number> = []
  for (let at = text.indexOf("."); at >= 0; at = text.indexOf(".", at + 1)) dots.push(at)
  return dots
}

/** The dot behind the name of the consumer. */
const consumerAt = (dots: ReadonlyArray<number>): number => dots.length > 8 ? 5 : 3

const behindDot = (text: string, from: number): number => text.indexOf(".", from) + 1

/** Digits of a text up to something else. */
const numberAt = (text: string, from: number): number => {
  let value = 0
  for (let at = from; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
  }
  return value
}

/** A delivery: its reply subject says what the server knows of it. */
class PulledMessage implements Delivered {
  readonly subject: string
  readonly bytes: Uint8Array
  readonly reply: string
  readonly sequence: number
  readonly timestamp: number
  readonly deliveries: number
  private readonly message: Msg
  private parsed: ReadonlyMap<string, string> | undefined = undefined

  constructor(message: Msg) {
    this.message = message
    this.subject = message.subject
    this.bytes = message.data
    const reply = message.reply ?? ""
    this.reply = reply
    // $JS.ACK[.domain.account].stream.consumer.deliveries.sequence.consumer sequence.time.pending[.random]
    let at = consumerOf(reply).length
    this.deliveries = numberAt(reply, at)
    this.sequence = numberAt(reply, at = behindDot(reply, at))
    at = behindDot(reply, behindDot(reply, at))
    // nanoseconds
    this.timestamp = Math.floor(numberAt(reply, at) / 1_000_000)
  }

  get headers(): ReadonlyMap<string, string> {
    return this.parsed ??= Headers.mayHaveOurs(this.bytes)
      ? Headers.decode(this.message.headers)
      : Headers.none
  }
}

export const pulled = (message: Msg): Delivered => new PulledMessage(message)
