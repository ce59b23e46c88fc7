/**
 * The life of the server. Acknowledgements, counts and message ids of an earlier
 * one may be lost, so what is older than this life is looked at before it is
 * handed out, and what was published again at its beginning, too.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { duplicateWindow } from "./queues.ts"
import type { Streams } from "./streams.ts"

const nothing = new Uint8Array(0)

export class Incarnation {
  private readonly streams: Streams
  private readonly stream: string
  private readonly prefix: string
  /** ms since the epoch; nothing is trusted until it is known. */
  private since = Infinity

  /** `prefix`: of the rows in `stream` that show when a life was first seen. */
  constructor(streams: Streams, stream: string, prefix: string) {
    this.streams = streams
    this.stream = stream
    this.prefix = prefix
  }

  /** Whether the server may have forgotten something about a message that it stored then: ms since the epoch. */
  isOlder(timestamp: number): boolean {
    return timestamp < this.since
  }

  readonly observe: Effect.Effect<void, TransportError> = Effect.suspend(() => {
    const name = this.streams.incarnation()
    this.since = Infinity
    if (name === undefined) return Effect.void
    const subject = `${this.prefix}${name}`
    return Effect.flatMap(this.streams.publish([{ subject, bytes: nothing, expected: 0 }]), ([answer]) => {
      if (answer?._tag === "Failed") return Effect.fail(answer.error)
      return Effect.zipWith(
        this.streams.last(this.stream, [subject]),
        this.streams.next(this.stream, `${this.prefix}*`, 1),
        ([stored], first) => {
          if (stored === undefined || this.streams.incarnation() !== name) return
          const isFirst = first?.subject === subject
          this.since = stored.timestamp + (isFirst ? 0 : duplicateWindow)
        }
      )
    })
  })

  /** Looks again whenever the connection was lost. */
  readonly following: Effect.Effect<void, never, Scope> = Effect.gen({ self: this }, function*() {
    const context = yield* Effect.context<never>()
    yield* this.streams.onReconnect(() => {
      this.since = Infinity
      Effect.runForkWith(context)(Effect.ignore(this.observe))
    })
  })
}
