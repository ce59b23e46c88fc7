/**
 * The streams of the queues: created when they are first needed.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Names from "./names.ts"
import type { StreamConfig, Streams } from "./streams.ts"

/** Limits of the jobs of a queue that are due. */
export interface Limits {
  readonly maxMessages?: number | undefined
  readonly maxBytes?: number | undefined
}

/** ms in which the server knows a message that is published again. Patience has to be shorter. */
export const duplicateWindow = 30_000

/** The streams of one queue, for whoever creates them beforehand. */
const configs = (names: Names.QueueNames, limits: Limits): ReadonlyArray<StreamConfig> => [
  {
    name: names.rows,
    subjects: [`${names.prefix.rows}>`],
    retention: "limits",
    perSubject: 1,
    duplicateWindow
  },
  {
    name: names.delays,
    subjects: [`${names.prefix.delays}>`],
    retention: "work",
    perSubject: undefined,
    duplicateWindow
  },
  {
    name: names.mailboxes,
    subjects: [`${names.prefix.mailboxes}>`],
    retention: "limits",
    perSubject: undefined,
    duplicateWindow
  },
  // the last one: where it is, the others are
  {
    name: names.work,
    subjects: [`${names.prefix.work}>`],
    retention: "work",
    perSubject: 1,
    maxMessages: limits.maxMessages,
    maxBytes: limits.maxBytes,
    duplicateWindow
  }
]

export const tableConfig = (namespace: string): StreamConfig => ({
  name: Names.table(namespace),
  subjects: [`${Names.tablePrefix(namespace)}>`],
  retention: "limits",
  perSubject: 1,
  duplicateWindow
})

export class Queues {
  readonly namespace: string
  private readonly streams: Streams
  private readonly limits: Limits
  private readonly known = new Map<string, Names.QueueNames>()
  private readonly ready = new Set<string>()

  constructor(streams: Streams, namespace: string, limits: Limits) {
    this.streams = streams
    this.namespace = namespace
    this.limits = limits
  }

  names(queue: string): Names.QueueNames {
    let names = this.known.get(queue)
    if (names === undefined) this.known.set(queue, names = Names.queueNames(this.namespace, queue))
    return names
  }

  /** The names of a queue whose streams are there. */
  ensure(queue: string): Effect.Effect<Names.QueueNames, TransportError> {
    const names = this.names(queue)
    if (this.ready.has(queue)) return Effect.succeed(names)
    return Effect.forEach(configs(names, this.limits), this.streams.ensureStream, { discard: true }).pipe(
      Effect.map(() => {
        this.ready.add(queue)
        return names
      })
    )
  }

  /** Something is wrong with its streams: look again before the next use. */
  doubt(queue: string): void {
    this.ready.delete(queue)
  }

  /** Creates streams that somebody deleted. Answers whether there were any. */
  readonly restore = Effect.fnUntraced({ self: this }, function*(
    names: Names.QueueNames
  ): Effect.fn.Return<boolean, TransportError> {
    const missing: Array<string> = []
    for (const { name } of configs(names, this.limits)) {
      if ((yield* this.streams.streamInfo(name)) === undefined) missing.push(name)
    }
    if (missing.length === 0) return false
    yield* Effect.logError(
      `Streams of queue "${names.queue}" were deleted, creating them again: ${
        missing.join(", ")
      }. What they held is lost.`
    )
    this.doubt(names.queue)
    yield* this.ensure(names.queue)
    return true
  })

  /** `undefined`: nobody ever used the queue. */
  find(queue: string): Effect.Effect<Names.QueueNames | undefined, TransportError> {
    const names = this.names(queue)
    if (this.ready.has(queue)) return Effect.succeed(names)
    return Effect.map(this.streams.streamInfo(names.work), (info) => {
      if (info === undefined) return undefined
      this.ready.add(queue)
      return names
    })
  }
}
