/**
 * Follows one job by queue and id: where it is, how it ended, how to end it.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { cancelTopic, progressTopic } from "../Bus.ts"
import type { DueOptions } from "../EnqueueOptions.ts"
import { JobNotFound } from "../JobError.ts"
import type { LocatedJob } from "../JobLog.ts"
import * as JobRecord from "../JobRecord.ts"
import type { Enqueued, JobInfo, JobState } from "../JobRef.ts"
import type { Signing } from "../Signing.ts"
import { records } from "../Store.ts"
import type { Transport } from "../Transport.ts"
import type { TransportError } from "../TransportError.ts"
import type { Emitter } from "./emitter.ts"
import * as RecordRow from "./recordRow.ts"
import * as Reschedule from "./reschedule.ts"
import type { Calls } from "./telemetry/calls.ts"
import type { Waiters } from "./waiters.ts"

export interface Tracking {
  readonly ref: (queue: string, id: string, stamp: number | undefined, duplicate: boolean) => Enqueued
}

type Found =
  | { readonly _tag: "Record"; readonly record: JobRecord.JobRecord }
  | { readonly _tag: "Located"; readonly job: LocatedJob }

const decodeProgress = Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Json))

const stateOf = (found: Found): JobState =>
  found._tag === "Record" ? found.record.state : found.job.place === "dead" ? "failed" : found.job.place

const infoOf = (found: Found): JobInfo => {
  const record = found._tag === "Record" ? found.record : found.job.record
  if (record !== undefined) {
    return {
      id: record.id,
      queue: record.queue,
      task: record.task,
      state: record.state,
      attempts: record.attempts,
      lastError: record.message,
      reason: record.reason,
      dueAt: undefined,
      enqueuedAt: found._tag === "Located" ? found.job.envelope.enqueuedAt : undefined,
      finishedAt: record.finishedAt,
      priority: undefined,
      key: undefined
    }
  }
  const { dueAt, envelope } = (found as Extract<Found, { _tag: "Located" }>).job
  return {
    id: envelope.id,
    queue: envelope.queue,
    task: envelope.task,
    state: stateOf(found),
    attempts: envelope.attempt - 1,
    lastError: envelope.lastError,
    reason: undefined,
    dueAt,
    enqueuedAt: envelope.enqueuedAt,
    finishedAt: undefined,
    priority: envelope.priority,
    key: envelope.key
  }
}

export const make = (options: {
  readonly transport: Transport["Service"]
  readonly signing: Signing | undefined
  readonly emitter: Emitter
  readonly waiters: Waiters
  readonly aroundCancel: Calls["cancel"]
}): Tracking => {
  const { bus, clock, log, store } = options.transport

  const readRecord = (queue: string, id: string) =>
    Effect.flatMap(store.get(records(queue), [id]), ([row]) =>
      row === undefined || Option.isNone(row)
        ? Effect.succeedNone
        : Effect.asSome(RecordRow.read(queue, id, row.value.value)))

  /** Record, place, record: a job may end between the first two looks. */
  const find = Effect.fnUntraced(function*(
    queue: string,
    id: string
  ): Effect.fn.Return<Found, JobNotFound | TransportError> {
    const before = yield* readRecord(queue, id)
    if (Option.isSome(before)) return { _tag: "Record", record: before.value }
    const [place] = yield* log.locate(queue, [id])
    if (place !== undefined && Option.isSome(place)) return { _tag: "Located", job: place.value }
    const after = yield* readRecord(queue, id)
    if (Option.isSome(after)) return { _tag: "Record", record: after.value }
    return yield* new JobNotFound({ id, queue })
  })

  const cancel = Effect.fnUntraced(function*(queue: string, id: string) {
    const found = yield* find(queue, id)
    if (found._tag === "Record") return found.record.state
    if (found.job.place === "dead") return "failed"
    const { envelope } = found.job
    const record = JobRecord.cancelled(envelope, yield* clock)
    const [standing] = yield* log.withdraw(queue, [options.signing?.signRecord(record) ?? record])
    if (standing!.state === "cancelled") {
      // a lost message only costs time: the next heartbeat omits the job
      yield* Effect.ignore(bus.publish(cancelTopic(queue), new TextEncoder().encode(id)))
      if (options.emitter.wanted(queue)) {
        options.emitter.emit({ _tag: "Cancelled", queue, task: envelope.task, id, attempt: envelope.attempt })
      }
    }
    return standing!.state
  })

  const revising = {
    transport: options.transport,
    signing: options.signing,
    look: (queue: string, id: string) =>
      Effect.map(find(queue, id), (found): Reschedule.Waiting => {
        const state = stateOf(found)
        if (state !== "scheduled") return state
        return (found as Extract<Found, { _tag: "Located" }>).job
      })
  }

  const unschedule = (queue: string, id: string) =>
    Effect.map(Reschedule.unschedule(revising, queue, id), (found) => {
      if (typeof found === "string") return found
      const { attempt, task } = found
      if (options.emitter.wanted(queue)) options.emitter.emit({ _tag: "Cancelled", queue, task, id, attempt })
      return "unscheduled" as const
    })

  const progress = (queue: string, id: string) =>
    Stream.callback<Schema.Json, JobNotFound | TransportError>(
      Effect.fnUntraced(function*(queue_) {
        const text = new TextDecoder()
        yield* bus.subscribe(progressTopic(queue, id), (message) => {
          const value = decodeProgress(text.decode(message.bytes))
          if (Option.isSome(value)) Queue.offerUnsafe(queue_, value.value)
        })
        yield* options.waiters.wait(queue, id, undefined)
        yield* Queue.end(queue_)
      }),
      { bufferSize: 1_024, strategy: "sliding" }
    )

  // getters: an enqueue whose handle nobody asks must not pay for the effects
  class Ref implements Enqueued {
    readonly id: string
    readonly queue: string
    readonly duplicate: boolean
    #stamp: number | undefined
    constructor(queue: string, id: string, stamp: number | undefined, duplicate: boolean) {
      this.id = id
      this.queue = queue
      this.duplicate = duplicate
      this.#stamp = stamp
    }
    get status() {
      return Effect.map(find(this.queue, this.id), stateOf)
    }
    get info() {
      return Effect.map(find(this.queue, this.id), infoOf)
    }
    get record() {
      return readRecord(this.queue, this.id)
    }
    get awaitRecord() {
      return Effect.suspend(() => {
        // the push comes once: who waits again must look
        const stamp = this.#stamp
        this.#stamp = undefined
        return options.waiters.wait(this.queue, this.id, stamp)
      })
    }
    get cancel() {
      return options.aroundCancel(this.queue, this.id, cancel(this.queue, this.id))
    }
    reschedule(due: DueOptions) {
      return Reschedule.reschedule(revising, this.queue, this.id, due)
    }
    get unschedule() {
      return unschedule(this.queue, this.id)
    }
    get progress() {
      return progress(this.queue, this.id)
    }
  }

  return { ref: (queue, id, stamp, duplicate) => new Ref(queue, id, stamp, duplicate) }
}
