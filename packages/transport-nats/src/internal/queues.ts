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
export const duplicateWindow = 60_000

/** The streams of one queue, for whoever creates them beforehand. */
export const configs = (names: Names.QueueNames, limits: Limits): ReadonlyArray<StreamConfig> => [
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
    perSubject: 1,
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

  /** Queues that this process has used. */
  get inUse(): ReadonlyArray<Names.QueueNames> {
    return Array.from(this.ready, (queue) => this.names(queue))
  }
}
