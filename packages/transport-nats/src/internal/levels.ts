/**
 * The priorities that a queue was ever used with, in a row of their own: jobs
 * without a row are looked for under each of them.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import * as Names from "./names.ts"
import type { Publish, Stored, Streams } from "./streams.ts"

const maxTries = 20

const decode = (stored: Stored | undefined): ReadonlyArray<string> =>
  // as `ensure` wrote them
  stored === undefined ? [] : JSON.parse(Buffer.from(stored.bytes).toString()) as ReadonlyArray<string>

export class Levels {
  private readonly streams: Streams
  /** By stream of rows. */
  private readonly known = new Map<string, Set<string>>()

  constructor(streams: Streams) {
    this.streams = streams
  }

  read(names: Names.QueueNames): Effect.Effect<ReadonlyArray<string>, TransportError> {
    return Effect.map(this.streams.last(names.rows, [Names.levels(names)]), ([stored]) => decode(stored))
  }

  /** Before the first job of a priority. */
  ensure(names: Names.QueueNames, priorities: ReadonlyArray<string>): Effect.Effect<void, TransportError> {
    let known = this.known.get(names.rows)
    if (known === undefined) this.known.set(names.rows, known = new Set())
    for (const priority of priorities) if (!known.has(priority)) return this.add(names, known, priorities)
    return Effect.void
  }

  private readonly add = Effect.fnUntraced({ self: this }, function*(
    names: Names.QueueNames,
    known: Set<string>,
    priorities: ReadonlyArray<string>
  ): Effect.fn.Return<void, TransportError> {
    const subject = Names.levels(names)
    for (let tries = 0; tries < maxTries; tries++) {
      const [stored] = yield* this.streams.last(names.rows, [subject])
      const before = decode(stored)
      const all = new Set([...before, ...priorities])
      if (all.size > before.length) {
        const message: Publish = {
          subject,
          bytes: Buffer.from(JSON.stringify([...all])),
          expected: stored?.sequence ?? 0
        }
        const [answer] = yield* this.streams.publish([message])
        if (answer?._tag === "Failed") return yield* answer.error
        if (answer?._tag !== "Stored") continue
      }
      for (const priority of all) known.add(priority)
      return
    }
    return yield* Errors.unavailable("send", "the list of priorities changes all the time")
  })
}
