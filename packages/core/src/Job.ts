/**
 * The typed handle of an enqueued job.
 *
 * A handle is rebuilt from the id in any process: `Job.fromId(Task, id)`.
 * Waiting never misses a result: it comes with a push, or from the record if
 * the push was lost.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { Client } from "./Client.ts"
import * as Codec from "./Codec.ts"
import type { DueOptions } from "./EnqueueOptions.ts"
import {
  AwaitTimeout,
  JobCancelled,
  JobExpired,
  JobFailed,
  type JobNotFound,
  type RescheduleError,
  ResultExpired,
  ResultUnreadable
} from "./JobError.ts"
import type { JobRecord, TerminalState } from "./JobRecord.ts"
import type { Enqueued, JobInfo, JobState, NotScheduled } from "./JobRef.ts"
import type { Signing } from "./Signing.ts"
import type { TransportError } from "./TransportError.ts"

/** How a job can end beside its own errors. */
export type JobEnd = JobFailed | JobCancelled | JobExpired | ResultExpired

/** What `await` can fail with beside the errors of the task. */
export type AwaitError = JobEnd | ResultUnreadable | JobNotFound | TransportError

/** The part of a task that its results need. */
export interface Definition<Success extends Schema.Top, Error extends Schema.Top> {
  readonly _tag: string
  readonly queue: string
  readonly successSchema: Success
  readonly errorSchema: Error
}

export interface Job<out Success, out Error, out R = never> extends Enqueued {
  /** Waits for the end. A broker that is away is waited for, too. */
  readonly await: Effect.Effect<Success, Error | AwaitError, R>
  /** Like `await`, for at most this long. The error of a timeout says which state the job is in. */
  readonly awaitWithin: (timeout: Duration.Input) => Effect.Effect<Success, Error | AwaitError | AwaitTimeout, R>
  /** The end, if the job is over. Does not wait. */
  readonly poll: Effect.Effect<Option.Option<Exit.Exit<Success, Error | JobEnd>>, ResultUnreadable | TransportError, R>
}

type OfSchemas<Success extends Schema.Top, Error extends Schema.Top> = Job<
  Success["Type"],
  Error["Type"],
  Success["DecodingServices"] | Error["DecodingServices"]
>

const end = (record: JobRecord): JobEnd | undefined => {
  const { id, queue, task } = record
  switch (record.state) {
    case "cancelled":
      return new JobCancelled({ id, queue })
    case "expired":
      return new JobExpired({ id, queue })
    case "failed":
      if (record.reason !== undefined && record.reason !== "Error") {
        return new JobFailed({
          id,
          queue,
          task,
          attempts: record.attempts,
          reason: record.reason,
          description: record.message ?? ""
        })
      }
  }
  return record.value.length === 0 ? new ResultExpired({ id, queue, state: record.state as "failed" }) : undefined
}

/** ms that a timeout waits for the state that it reports. */
const stateLimit = 1_000

class Handle<Success extends Schema.Top, Error extends Schema.Top> implements OfSchemas<Success, Error> {
  readonly #definition: Definition<Success, Error>
  readonly #ref: Enqueued
  readonly #signing: Signing | undefined

  constructor(definition: Definition<Success, Error>, ref: Enqueued, signing: Signing | undefined) {
    this.#definition = definition
    this.#ref = ref
    this.#signing = signing
  }

  get id(): string {
    return this.#ref.id
  }
  get queue(): string {
    return this.#ref.queue
  }
  get duplicate(): boolean {
    return this.#ref.duplicate
  }
  get status(): Effect.Effect<JobState, JobNotFound | TransportError> {
    return this.#ref.status
  }
  get info(): Effect.Effect<JobInfo, JobNotFound | TransportError> {
    return this.#ref.info
  }
  get record(): Effect.Effect<Option.Option<JobRecord>, TransportError> {
    return this.#ref.record
  }
  get awaitRecord(): Effect.Effect<JobRecord, JobNotFound | TransportError> {
    return this.#ref.awaitRecord
  }
  get cancel(): Effect.Effect<TerminalState, JobNotFound | TransportError> {
    return this.#ref.cancel
  }
  reschedule(
    due: DueOptions
  ): Effect.Effect<"rescheduled" | NotScheduled, RescheduleError | JobNotFound | TransportError> {
    return this.#ref.reschedule(due)
  }
  get unschedule(): Effect.Effect<"unscheduled" | NotScheduled, JobNotFound | TransportError> {
    return this.#ref.unschedule
  }
  get progress(): Stream.Stream<Schema.Json, JobNotFound | TransportError> {
    return this.#ref.progress
  }

  get await() {
    return Effect.flatMap(this.awaitRecord, (record) => this.#decode(record, Exit.succeed, Exit.fail))
  }

  awaitWithin(timeout: Duration.Input) {
    const onTimeout = Effect.suspend(() =>
      Effect.flatMap(
        // a silent broker must not make the caller wait for longer
        Effect.timeoutOrElse(Effect.orElseSucceed(this.status, () => "unknown" as const), {
          duration: stateLimit,
          orElse: () => Effect.succeed("unknown" as const)
        }),
        (state) => {
          const timeoutMillis = Duration.toMillis(Duration.fromInputUnsafe(timeout))
          return Effect.fail(new AwaitTimeout({ id: this.id, queue: this.queue, timeoutMillis, state }))
        }
      )
    )
    return Effect.timeoutOrElse(this.await, { duration: timeout, orElse: () => onTimeout })
  }

  get poll() {
    return Effect.flatMap(
      this.record,
      (record) =>
        Option.isNone(record)
          ? Effect.succeedNone
          : this.#decode(
            record.value,
            (value) => Exit.succeed(Option.some(Exit.succeed(value))),
            (end) => Exit.succeed(Option.some(Exit.fail(end)))
          )
    )
  }

  /** Without a generator: it would cost more than the result's own decoding. */
  #decode<A, E, B, F>(
    record: JobRecord,
    onSuccess: (value: Success["Type"]) => Effect.Effect<A, E>,
    onEnd: (end: Error["Type"] | JobEnd) => Effect.Effect<B, F>
  ): Effect.Effect<A | B, E | F | ResultUnreadable, Success["DecodingServices"] | Error["DecodingServices"]> {
    const unreadable = ({ message }: { readonly message: string }) =>
      new ResultUnreadable({ id: this.id, queue: this.queue, description: message })
    const refused = this.#signing?.verifyRecord(record)
    if (refused !== undefined) return Effect.fail(unreadable(refused))
    const ended = end(record)
    if (ended !== undefined) return onEnd(ended)
    type Ended = Effect.Effect<
      A | B,
      E | F | ResultUnreadable,
      Success["DecodingServices"] | Error["DecodingServices"]
    >
    return Effect.contextWith((context: Context.Context<never>): Ended => {
      const codec = codecOf(context, record.contentType)
      if (codec === undefined) {
        return Effect.fail(unreadable({ message: `content type "${record.contentType}" is not in Codec.Accepted` }))
      }
      const { errorSchema, successSchema } = this.#definition
      const decode = <S extends Schema.Top>(schema: S) =>
        Effect.mapErrorEager(Codec.compiled(codec, schema).decode(record.value), unreadable)
      return record.state === "succeeded"
        ? Effect.flatMapEager(decode(successSchema), onSuccess)
        : Effect.flatMapEager(decode(errorSchema), onEnd)
    })
  }
}

const codecOf = (context: Context.Context<never>, contentType: string): Codec.Codec | undefined => {
  const accepted = Context.get(context, Codec.Accepted).find((codec) => codec.contentType === contentType)
  if (accepted !== undefined) return accepted
  const codec = Context.get(context, Codec.Codec)
  return codec.contentType === contentType ? codec : undefined
}

/** A typed handle over an untyped one. */
export const fromRef = <Success extends Schema.Top, Error extends Schema.Top>(
  definition: Definition<Success, Error>,
  ref: Enqueued,
  signing: Signing | undefined
): OfSchemas<Success, Error> => new Handle(definition, ref, signing)

/** The handle of a job of this task, enqueued anywhere. Asks nothing: a wrong id shows at the first use. */
export const fromId = <Success extends Schema.Top, Error extends Schema.Top>(
  definition: Definition<Success, Error>,
  id: string
): Effect.Effect<OfSchemas<Success, Error>, never, Client> =>
  Client.useSync((client) => new Handle(definition, client.job(definition.queue, id), client.signing))
