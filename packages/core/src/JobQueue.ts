/**
 * Queues, for operators: how full, what waits, hold and go on, throw away.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { pauseTopic } from "./Bus.ts"
import { encodeJson } from "./internal/json.ts"
import { isPaused as readPaused, pauseKey, pauses } from "./internal/pause.ts"
import { fromBytes as workerOf, type WorkerInfo, workers as workersCollection } from "./internal/worker/presence.ts"
import { eventsTopic, type JobEvent } from "./JobEvents.ts"
import type { LocatedJob, Place, QueueStats } from "./JobLog.ts"
import * as JobRecord from "./JobRecord.ts"
import { Signing } from "./Signing.ts"
import type { Page, Paged } from "./Store.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export interface Stats extends QueueStats {
  readonly paused: boolean
}

/** Depth by state, age of the oldest due job (ms), live consumers, and whether the queue is paused. */
export const stats = (queue: string): Effect.Effect<Stats, TransportError, Transport> =>
  Transport.use((transport) =>
    Effect.zipWith(
      transport.log.stats(queue),
      readPaused(transport, queue),
      (stats, paused) => ({ ...stats, paused })
    )
  )

/** One page of the jobs in one place. Jobs that move meanwhile may be missed or seen twice. */
export const list = (
  queue: string,
  place: Place,
  page: Page = { limit: 100 }
): Effect.Effect<Paged<LocatedJob>, TransportError, Transport> =>
  Transport.use((transport) => transport.log.list(queue, place, page))

/**
 * Workers start no job of the queue from within a second on, until `resume`,
 * also after restarts. Running handlers go on; enqueuing goes on.
 */
export const pause = (queue: string): Effect.Effect<void, TransportError, Transport> =>
  Transport.use(({ bus, store }) =>
    store.put(pauses(queue), pauseKey, encodeJson({})).pipe(
      Effect.catchTag("RevisionConflict", Effect.die),
      Effect.andThen(announce(bus, queue))
    )
  )

export const resume = (queue: string): Effect.Effect<void, TransportError, Transport> =>
  Transport.use(({ bus, store }) =>
    store.remove(pauses(queue), pauseKey).pipe(
      Effect.catchTag("RevisionConflict", Effect.die),
      Effect.andThen(announce(bus, queue))
    )
  )

// workers look at the flag every second anyway
const announce = (bus: Transport["Service"]["bus"], queue: string) =>
  Effect.ignore(bus.publish(pauseTopic(queue), encodeJson({})))

export const isPaused = (queue: string): Effect.Effect<boolean, TransportError, Transport> =>
  Transport.use((transport) => readPaused(transport, queue))

const purgeBatch = 256

/**
 * Ends every job that waits, queued or scheduled, as cancelled, and answers how
 * many. Running jobs and dead letters stay; one that is handed out meanwhile
 * may be cancelled, and is interrupted at the next heartbeat. Waiters are told.
 */
export const purge = (queue: string): Effect.Effect<number, TransportError, Transport> =>
  Effect.gen(function*() {
    const { bus, clock, log } = yield* Transport
    const signing = yield* Signing
    const purged = new Set<string>()
    for (const place of ["queued", "scheduled"] as const) {
      // a listing may still show what is gone, and miss what moves: go on until a whole pass finds nothing new
      for (let found = -1; found !== purged.size;) {
        found = purged.size
        let cursor: string | undefined
        do {
          const page = yield* log.list(queue, place, { limit: purgeBatch, cursor })
          cursor = page.next
          const now = yield* clock
          const items = page.items.filter(({ envelope }) => !purged.has(envelope.id))
          const [first, ...others] = items.map(({ envelope }) => {
            const record = JobRecord.cancelled(envelope, now)
            return signing?.signRecord(record) ?? record
          })
          if (first === undefined) continue
          const records: NonEmptyReadonlyArray<JobRecord.JobRecord> = [first, ...others]
          const standing = yield* log.withdraw(queue, records)
          const cancelled = items.filter((_, i) => standing[i]!.state === "cancelled")
          for (const { envelope } of cancelled) purged.add(envelope.id)
          const events = cancelled.map(({ envelope: { attempt, id, task } }): JobEvent => ({
            _tag: "Cancelled",
            queue,
            task,
            id,
            at: now,
            attempt
          }))
          // purging is rare: it does not ask whether somebody listens
          yield* Effect.ignore(bus.publish(eventsTopic(queue), encodeJson(events)))
        } while (cursor !== undefined)
      }
    }
    return purged.size
  })

/** One page of the live workers, of all queues. A killed worker is listed for 5 seconds more. */
export const workers = (page: Page = { limit: 100 }): Effect.Effect<Paged<WorkerInfo>, TransportError, Transport> =>
  Transport.use(({ store }) =>
    Effect.map(store.list(workersCollection, page), ({ items, next }) => ({
      items: items.flatMap((row) => Option.toArray(workerOf(row.value))),
      next
    }))
  )
