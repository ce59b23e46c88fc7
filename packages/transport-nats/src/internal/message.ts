/**
 * Messages as the server sends them, and as the port shows them.
 */
import type { Msg } from "@nats-io/transport-node"
import * as Headers from "./headers.ts"
import type { Delivered, Stored } from "./streams.ts"

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

/** A delivery: its reply subject says what the server knows of it. */
class PulledMessage implements Delivered {
  readonly subject: string
  readonly reply: string
  readonly sequence: number
  readonly timestamp: number
  readonly deliveries: number
  private readonly message: Msg
  private parsed: ReadonlyMap<string, string> | undefined = undefined

  constructor(message: Msg) {
    this.message = message
    this.subject = message.subject
    const reply = message.reply ?? ""
    this.reply = reply
    // $JS.ACK[.domain.account].stream.consumer.deliveries.sequence.consumer sequence.time.pending[.random]
    const words = reply.split(".")
    const from = words.length > 9 ? 6 : 4
    this.deliveries = Number(words[from])
    this.sequence = Number(words[from + 1])
    // nanoseconds
    this.timestamp = Math.floor(Number(words[from + 3]) / 1_000_000)
  }

  get bytes(): Uint8Array {
    return this.message.data
  }

  get headers(): ReadonlyMap<string, string> {
    return this.parsed ??= Headers.decode(this.message.headers)
  }
}

export const pulled = (message: Msg): Delivered => new PulledMessage(message)
