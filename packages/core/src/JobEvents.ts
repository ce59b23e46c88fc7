/**
 * Lifecycle events of jobs, broadcast over the bus: at most once, and free
 * while nobody listens.
 *
 * Listeners announce themselves every second; clients and workers emit only
 * while they have heard of one. A listener that starts while jobs run may
 * therefore miss the events of its first second. What must not be missed is in
 * the record of a job, not here.
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Topic } from "./Bus.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export const JobEvent = Schema.Struct({
  _tag: Schema.Literals([
    "Enqueued",
    "Started",
    "Progress",
    "Retried",
    "Snoozed",
    "Released",
    "Succeeded",
    "Failed",
    "Cancelled",
    "Expired",
    "DeadLettered"
  ]),
  queue: Schema.String,
  task: Schema.String,
  id: Schema.String,
  /** ms since the epoch, by the clock of the process that emitted the event. */
  at: Schema.Number,
  /** The attempt that the event is about, or the next one. */
  attempt: Schema.Number,
  /** ms until the job is due again (`Retried`, `Snoozed`). */
  delay: Schema.optionalKey(Schema.Number),
  /** Why (`Retried`, `Released`, `Failed`, `DeadLettered`). */
  reason: Schema.optionalKey(Schema.String),
  /** What the handler reported (`Progress`). */
  value: Schema.optionalKey(Schema.Json)
})

export type JobEvent = typeof JobEvent.Type

export interface Filter {
  readonly queue?: string | undefined
  readonly task?: string | undefined
  readonly id?: string | undefined
}

/** Where events of a queue are published: JSON text, an array of events. */
export const eventsTopic = (queue: string): Topic => ["events", queue]

/** Where listeners announce themselves: the queue they listen to, or nothing for all. */
export const listenersTopic: Topic = ["events-listeners"]

/** How often a listener announces itself, ms. */
export const announceEvery = 1_000

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(JobEvent)))

const matches = (filter: Filter, event: JobEvent) =>
  (filter.queue === undefined || filter.queue === event.queue) &&
  (filter.task === undefined || filter.task === event.task) &&
  (filter.id === undefined || filter.id === event.id)

/**
 * The events from now on. A slow reader loses the oldest of more than 4,096
 * unread events rather than slowing down the workers.
 */
export const stream = (filter: Filter = {}): Stream.Stream<JobEvent, TransportError, Transport> =>
  Stream.callback<JobEvent, TransportError, Transport>(
    Effect.fnUntraced(function*(queue) {
      const { bus } = yield* Transport
      const text = new TextDecoder()
      yield* bus.subscribe(filter.queue === undefined ? ["events"] : eventsTopic(filter.queue), (message) => {
        const events = decode(text.decode(message.bytes))
        if (events._tag === "None") return
        for (const event of events.value) {
          if (matches(filter, event)) Queue.offerUnsafe(queue, event)
        }
      })
      yield* bus.publish(listenersTopic, new TextEncoder().encode(filter.queue ?? "")).pipe(
        Effect.ignore,
        Effect.repeat(Schedule.spaced(announceEvery))
      )
    }),
    { bufferSize: 4_096, strategy: "sliding" }
  )
