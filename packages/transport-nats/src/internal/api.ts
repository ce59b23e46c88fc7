/**
 * JetStream's administration: streams and consumers.
 */
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Errors from "./errors.ts"
import type { Link, Verdict } from "./link.ts"
import type { ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo } from "./streams.ts"

export interface Options {
  readonly replicas: number
  /** Streams and consumers are somebody else's business. */
  readonly bindOnly: boolean
}

interface Call<A> {
  readonly operation: string
  readonly subject: string
  readonly body: string
  readonly done: (answer: A) => void
  /** What to do with an error that is an answer. */
  readonly except?: (kind: Errors.Kind) => (() => void) | undefined
  readonly onError: (error: TransportError) => void
}

const nanoseconds = 1_000_000

interface ApiConsumer {
  /** Not there while the consumer is being deleted: no field is. */
  readonly config?: { readonly ack_wait?: number; readonly filter_subject?: string }
  readonly delivered: { readonly stream_seq: number }
  readonly ack_floor: { readonly stream_seq: number }
  readonly num_pending: number
  readonly num_ack_pending: number
}

interface ApiStream {
  readonly config: Readonly<Record<string, unknown>>
  readonly total?: number
  readonly limit?: number
  readonly state: {
    readonly messages: number
    readonly bytes: number
    readonly first_seq: number
    readonly last_seq: number
    readonly subjects?: Readonly<Record<string, number>>
  }
}

const consumerInfo = ({ ack_floor, config, delivered, num_ack_pending, num_pending }: ApiConsumer) =>
  config === undefined ? undefined : {
    ackWait: (config.ack_wait ?? 0) / nanoseconds,
    delivered: delivered.stream_seq,
    ackFloor: ack_floor.stream_seq,
    pending: num_pending,
    ackPending: num_ack_pending
  }

/** How often, and after how many ms, it is looked for what somebody else creates. */
const joinTries = 10
const joinPause = 50

export const make = (link: Link, options: Options) => {
  const start = <A>(call: Call<A>): void =>
    link.request({
      operation: call.operation,
      subject: call.subject,
      bytes: Buffer.from(call.body),
      onReply: (reply): Verdict => {
        const answer = reply.json<A & { readonly error?: Errors.ApiError }>()
        if (answer.error === undefined) {
          call.done(answer)
          return undefined
        }
        const kind = Errors.kindOf(answer.error)
        const expected = call.except?.(kind)
        if (expected !== undefined) expected()
        else if (kind === "passing") return { again: Errors.describe(answer.error) }
        else call.onError(Errors.refused(call.operation, Errors.describe(answer.error)))
        return undefined
      },
      onError: call.onError
    })

  /** Calls the API; `missing` is the answer if the thing is not there. */
  const call = <A, B>(
    operation: string,
    subject: string,
    body: unknown,
    decode: (answer: A) => B,
    missing?: readonly [Errors.Kind, B]
  ): Effect.Effect<B, TransportError> =>
    Effect.callback((resume) =>
      start<A>({
        operation,
        subject: `$JS.API.${subject}`,
        body: body === undefined ? "" : JSON.stringify(body),
        done: (answer) => resume(Effect.succeed(decode(answer))),
        except: (kind) => {
          if (missing === undefined || (kind !== missing[0] && kind !== "noStream")) return undefined
          return () => resume(Effect.succeed(missing[1]))
        },
        onError: (error) => resume(Effect.fail(error))
      })
    )

  const streamBody = (config: StreamConfig) => ({
    name: config.name,
    subjects: config.subjects,
    retention: config.retention === "work" ? "workqueue" : "limits",
    storage: "file",
    discard: "new",
    num_replicas: options.replicas,
    max_msgs: config.maxMessages ?? -1,
    max_bytes: config.maxBytes ?? -1,
    max_msgs_per_subject: config.perSubject ?? -1,
    max_consumers: -1,
    max_age: 0,
    allow_direct: true,
    duplicate_window: config.duplicateWindow * nanoseconds
  })

  /** What a server does not know it leaves out of its answer. */
  const checkEcho = (config: StreamConfig, answer: ApiStream): string | undefined => {
    const wanted: Readonly<Record<string, unknown>> = streamBody(config)
    for (const name of ["retention", "max_msgs_per_subject", "allow_direct", "num_replicas"]) {
      if (answer.config[name] !== wanted[name]) {
        return `stream "${config.name}" has ${name} ${String(answer.config[name])} instead of ${String(wanted[name])}`
      }
    }
    return undefined
  }

  const streams = new Map<string, StreamConfig>()

  const ensureStream = (config: StreamConfig): Effect.Effect<void, TransportError> => {
    streams.set(config.name, config)
    const operation = `create stream "${config.name}"`
    const check = (answer: ApiStream | undefined) => {
      if (answer === undefined) return Effect.fail(Errors.refused(operation, "it is not there, and bindOnly is set"))
      const mismatch = checkEcho(config, answer)
      return mismatch === undefined ? Effect.void : Effect.fail(Errors.refused(operation, mismatch))
    }
    const read = call<ApiStream, ApiStream | undefined>(
      operation,
      `STREAM.INFO.${config.name}`,
      undefined,
      (answer) => answer,
      ["noStream", undefined]
    )
    if (options.bindOnly) return Effect.flatMap(read, check)
    const create = call<ApiStream, ApiStream | undefined>(
      operation,
      `STREAM.CREATE.${config.name}`,
      streamBody(config),
      (answer) => answer,
      ["taken", undefined]
    )
    /** Of two that create a stream at once, the server may refuse one because of the other's. */
    const join = (tries: number): Effect.Effect<void, TransportError> =>
      Effect.flatMap(read, (found) => {
        if (found !== undefined) return check(found)
        if (tries === 0) return Effect.fail(Errors.refused(operation, "another stream has its name or its subjects"))
        return Effect.andThen(Effect.sleep(joinPause), join(tries - 1))
      })
    // one that is there stays as it is: an admin may have changed its limits
    return Effect.flatMap(read, (found) =>
      found !== undefined
        ? check(found)
        : Effect.flatMap(create, (made) => made === undefined ? join(joinTries) : check(made)))
  }

  const ensureConsumer = (config: ConsumerConfig): Effect.Effect<void, TransportError> => {
    const operation = `create consumer "${config.name}" of stream "${config.stream}"`
    return call<ApiConsumer, void>(
      operation,
      `CONSUMER.DURABLE.CREATE.${config.stream}.${config.name}`,
      {
        stream_name: config.stream,
        config: {
          durable_name: config.name,
          filter_subject: config.filter,
          ack_policy: "explicit",
          deliver_policy: "all",
          replay_policy: "instant",
          ack_wait: config.ackWait * nanoseconds,
          max_deliver: -1,
          max_ack_pending: -1,
          max_waiting: 4096
        }
      },
      () => undefined
    )
  }

  return {
    start,
    isDirect: options.replicas === 1,
    ensureStream,
    /** The stream seems to be gone: once more, if it was ours to create. */
    restore: (stream: string): Effect.Effect<void, TransportError> => {
      const config = streams.get(stream)
      return config === undefined ? Effect.void : ensureStream(config)
    },
    streamInfo: (stream: string, filter?: string): Effect.Effect<StreamInfo | undefined, TransportError> => {
      const page = (
        offset: number,
        found: Map<string, number>
      ): Effect.Effect<StreamInfo | undefined, TransportError> =>
        Effect.flatMap(
          call<ApiStream, ApiStream | undefined>(
            `look at stream "${stream}"`,
            `STREAM.INFO.${stream}`,
            filter === undefined ? undefined : { subjects_filter: filter, offset },
            (answer) => answer,
            ["noStream", undefined]
          ),
          (answer) => {
            if (answer === undefined) return Effect.undefined
            const { state } = answer
            for (const subject in state.subjects) found.set(subject, state.subjects[subject]!)
            const seen = offset + (answer.limit ?? 0)
            if (filter !== undefined && answer.total !== undefined && seen > offset && seen < answer.total) {
              return page(seen, found)
            }
            return Effect.succeed({
              messages: state.messages,
              bytes: state.bytes,
              firstSequence: state.first_seq,
              lastSequence: state.last_seq,
              subjects: found
            })
          }
        )
      return page(0, new Map())
    },
    purge: (stream: string, filter: string, below?: number): Effect.Effect<number, TransportError> =>
      // the server takes 1 for everything
      below !== undefined && below <= 1 ? Effect.succeed(0) : call<{ readonly purged: number }, number>(
        `purge stream "${stream}"`,
        `STREAM.PURGE.${stream}`,
        below === undefined ? { filter } : { filter, seq: below },
        ({ purged }) => purged,
        ["noStream", 0]
      ),
    remove: (stream: string, sequences: ReadonlyArray<number>): Effect.Effect<void, TransportError> =>
      Effect.forEach(sequences, (sequence) =>
        call<unknown, void>(
          `remove from stream "${stream}"`,
          `STREAM.MSG.DELETE.${stream}`,
          // erased: a mere mark does not survive a crash
          { seq: sequence },
          () => undefined,
          ["noMessage", undefined]
        ), { concurrency: "unbounded", discard: true }),
    ensureConsumer,
    consumerInfo: (stream: string, name: string): Effect.Effect<ConsumerInfo | undefined, TransportError> =>
      call<ApiConsumer, ConsumerInfo | undefined>(
        `look at consumer "${name}" of stream "${stream}"`,
        `CONSUMER.INFO.${stream}.${name}`,
        undefined,
        consumerInfo,
        ["noConsumer", undefined]
      ),
    deleteConsumer: (stream: string, name: string): Effect.Effect<void, TransportError> =>
      call<unknown, void>(
        `delete consumer "${name}" of stream "${stream}"`,
        `CONSUMER.DELETE.${stream}.${name}`,
        undefined,
        () => undefined,
        ["noConsumer", undefined]
      )
  }
}
