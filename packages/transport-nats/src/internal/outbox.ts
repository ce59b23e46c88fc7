/**
 * Publications as the bytes of the protocol, many in one buffer. The client's
 * own `publish` makes four buffers for each and joins them later: that costs
 * more than the rest of a request.
 */
import type { NatsConnection } from "@nats-io/transport-node"
import * as Headers from "./headers.ts"
import { contentOf } from "./message.ts"

/** What the client writes to its socket with. The dependency is exact: a test says when it is gone. */
interface Inner {
  readonly protocol?: {
    readonly sendCommand?: (bytes: Uint8Array) => void
    /** Writes what was sent to the socket now. */
    readonly flushPending?: () => void
  }
}

/** Bytes of a buffer that is filled by and by: what was written is never touched again. */
const slabSize = 256 * 1024

/** Bytes after which the rest of the turn is not waited for. */
const enough = 32 * 1024

/** Larger payloads are not copied. */
const large = 16 * 1024

export class Outbox {
  private readonly connection: NatsConnection
  private slab = Buffer.allocUnsafeSlow(slabSize)
  private from = 0
  private to = 0
  private isScheduled = false

  constructor(connection: NatsConnection) {
    this.connection = connection
  }

  /** Whether publications are written as bytes, or by the client. */
  get isDirect(): boolean {
    return this.inner !== undefined
  }

  private get inner(): Required<NonNullable<Inner["protocol"]>> | undefined {
    // the erased boundary of this file: a class of the client that its types do not show
    const { protocol } = this.connection as unknown as Inner
    return protocol?.sendCommand === undefined || protocol.flushPending === undefined
      ? undefined
      : protocol as Required<NonNullable<Inner["protocol"]>>
  }

  /**
   * Texts are those of `Names`: without blanks; `headers` in ASCII; `head` goes before the bytes, one unit for each.
   * `reply`, `headers` and `head` may be empty. Throws what the client throws.
   */
  publish(subject: string, reply: string, headers: string, head: string, bytes: Uint8Array): void {
    const { connection } = this
    if (bytes.length > large || connection.isClosed() || connection.isDraining() || this.inner === undefined) {
      return this.publishByClient(subject, reply, headers, head, bytes)
    }
    const length = head.length + bytes.length
    const line = headers === ""
      ? `PUB ${subject} ${reply} ${length}\r\n`
      : `HPUB ${subject} ${reply} ${headers.length} ${headers.length + length}\r\n${headers}`
    // a UTF-16 unit takes three bytes at most
    const most = 3 * line.length + length + 2
    if (this.to + most > slabSize) this.renew(most)
    const { slab } = this
    let at = this.to
    if (head !== "" && reply === "") at += slab.write(line + head, at, "latin1")
    else {
      // in what comes from the user or the server there may be anything
      at += slab.write(line, at)
      if (head !== "") at += slab.write(head, at, "latin1")
    }
    slab.set(bytes, at)
    at += bytes.length
    slab[at] = 13
    slab[at + 1] = 10
    this.to = at + 2
    if (this.to - this.from >= enough) {
      this.flush()
      // two in a row would be joined first
      return this.inner?.flushPending()
    }
    if (this.isScheduled) return
    this.isScheduled = true
    queueMicrotask(this.onTurn)
  }

  private publishByClient(subject: string, reply: string, headers: string, head: string, bytes: Uint8Array): void {
    this.flush()
    this.connection.publish(subject, contentOf({ head, bytes }), {
      ...(reply === "" ? undefined : { reply }),
      ...(headers === "" ? undefined : { headers: Headers.wrap(Buffer.from(headers, "latin1")) })
    })
  }

  private renew(least: number): void {
    this.flush()
    this.slab = Buffer.allocUnsafeSlow(Math.max(slabSize, least))
    this.from = 0
    this.to = 0
  }

  private readonly onTurn = (): void => {
    this.isScheduled = false
    this.flush()
  }

  private flush(): void {
    const { from, slab, to } = this
    if (from === to) return
    this.from = to
    this.inner?.sendCommand(slab.subarray(from, to))
  }
}
