/**
 * The port over a real server: plain requests to JetStream's API, because the
 * client's own calls cost four times the server's work.
 */
import type { Msg } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Api from "./api.ts"
import * as Errors from "./errors.ts"
import * as Headers from "./headers.ts"
import type { Link, Verdict } from "./link.ts"
import * as Message from "./message.ts"
import * as Puller from "./puller.ts"
import type { Acknowledgement, Publish, Published, Stored, Streams } from "./streams.ts"

const nothing = new Uint8Array(0)

const payloads = { done: Buffer.from("+ACK"), working: Buffer.from("+WPI") }

const acknowledgement = (how: Acknowledgement): Buffer => {
  switch (how._tag) {
    case "Done":
      return payloads.done
    case "Working":
      return payloads.working
    case "Delay":
      // nanoseconds
      return Buffer.from(`-NAK {"delay":${Math.ceil(how.milliseconds) * 1_000_000}}`)
  }
}

const headersOf = ({ expected, headers, messageId }: Publish): Buffer | undefined => {
  const list: Array<readonly [string, string]> = []
  if (messageId !== undefined) list.push(["Nats-Msg-Id", messageId])
  if (expected !== undefined) list.push(["Nats-Expected-Last-Subject-Sequence", String(expected)])
  if (headers !== undefined) { for (const name in headers) list.push([name, headers[name]!]) }
  return Headers.encode(list)
}

interface PublishAnswer {
  readonly seq?: number
  readonly duplicate?: boolean
  readonly error?: Errors.ApiError
}

const [brace, letterS, zero, nine] = [125, 115, 48, 57]

/**
 * The sequence in `{"stream":"…", "seq":17}`, or 0 for any other answer. Parsing the JSON costs as much as the rest of a
 * publish does.
 */
const plainSequence = (data: Uint8Array): number => {
  let at = data.length - 1
  if (data[2] !== letterS || data[at] !== brace) return 0
  let sequence = 0
  for (let unit = 1; --at > 0; unit *= 10) {
    const digit = data[at]!
    if (digit < zero || digit > nine) break
    sequence += (digit - zero) * unit
  }
  return sequence
}

/** One effect for many requests: a fiber each would cost more than the request. */
const all = <A, B>(
  items: ReadonlyArray<A>,
  start: (item: A, done: (answer: B) => void) => void
): Effect.Effect<ReadonlyArray<B>> =>
  items.length === 0 ? Effect.succeed([]) : Effect.callback((resume) => {
    const answers: Array<B> = Array.from({ length: items.length })
    let missing = items.length
    for (let index = 0; index < items.length; index++) {
      start(items[index]!, (answer) => {
        answers[index] = answer
        if (--missing === 0) resume(Effect.succeed(answers))
      })
    }
  })

type Result<A> = { readonly value: A } | { readonly error: TransportError }

const orFail = <A>(results: ReadonlyArray<Result<A>>): Effect.Effect<ReadonlyArray<A>, TransportError> => {
  const values: Array<A> = []
  for (const result of results) {
    if ("error" in result) return Effect.fail(result.error)
    values.push(result.value)
  }
  return Effect.succeed(values)
}

export const make = (link: Link, options: Api.Options): Streams => {
  const api = Api.make(link, options)

  const publishOne = (message: Publish, done: (answer: Published) => void): void => {
    link.request({
      operation: `publish to "${message.subject}"`,
      subject: message.subject,
      bytes: message.bytes,
      headers: headersOf(message),
      mayWait: true,
      onReply: (reply): Verdict => {
        const sequence = plainSequence(reply.data)
        if (sequence > 0) {
          done({ _tag: "Stored", sequence })
          return undefined
        }
        const { duplicate, error, seq } = reply.json<PublishAnswer>()
        if (error === undefined) {
          done({ _tag: duplicate === true ? "Duplicate" : "Stored", sequence: seq ?? 0 })
          return undefined
        }
        switch (Errors.kindOf(error)) {
          case "wrongSequence":
            done({ _tag: "WrongSequence" })
            return undefined
          case "full":
            done({ _tag: "Full", description: Errors.describe(error) })
            return undefined
          case "passing":
          case "noStream":
            return { again: Errors.describe(error) }
          default:
            done({
              _tag: "Failed",
              error: Errors.refused(`publish to "${message.subject}"`, Errors.describe(error))
            })
            return undefined
        }
      },
      onError: (error) => done({ _tag: "Failed", error })
    })
  }

  const direct = (stream: string, body: string, done: (answer: Result<Stored | undefined>) => void): void => {
    link.request({
      operation: `get from stream "${stream}"`,
      subject: `$JS.API.DIRECT.GET.${stream}`,
      bytes: Buffer.from(body),
      headers: undefined,
      onReply: (reply: Msg): Verdict => {
        const code = reply.headers?.code ?? 0
        if (code === 404) done({ value: undefined })
        else if (code !== 0) return { again: `${code} ${reply.headers?.description}` }
        else done({ value: Message.stored(reply) })
        return undefined
      },
      onError: (error) => done({ error })
    })
  }

  const get = (stream: string, body: string, done: (answer: Result<Stored | undefined>) => void): void => {
    if (api.isDirect) return direct(stream, body, done)
    api.start<Message.ApiMessage>({
      operation: `get from stream "${stream}"`,
      subject: `$JS.API.STREAM.MSG.GET.${stream}`,
      body,
      done: ({ message }) => done({ value: message === undefined ? undefined : Message.fromApi(message) }),
      except: (kind) => kind === "noMessage" ? () => done({ value: undefined }) : undefined,
      onError: (error) => done({ error })
    })
  }

  return {
    publish: (messages) => all(messages, publishOne),
    last: (stream, subjects) =>
      Effect.flatMap(
        all(subjects, (subject: string, done: (answer: Result<Stored | undefined>) => void) =>
          get(stream, JSON.stringify({ last_by_subj: subject }), done)),
        orFail
      ),
    at: (stream, sequences) =>
      Effect.flatMap(
        all(sequences, (sequence: number, done: (answer: Result<Stored | undefined>) => void) =>
          get(stream, JSON.stringify({ seq: sequence }), done)),
        orFail
      ),
    next: (stream, filter, sequence) =>
      Effect.map(
        Effect.flatMap(
          all([filter], (subject: string, done: (answer: Result<Stored | undefined>) => void) =>
            get(stream, JSON.stringify({ seq: Math.max(1, sequence), next_by_subj: subject }), done)),
          orFail
        ),
        ([found]) =>
          found
      ),
    acknowledge: (replies, how) => {
      const bytes = acknowledgement(how)
      return Effect.asVoid(Effect.flatMap(
        all(replies, (subject: string, done: (answer: Result<void>) => void) =>
          link.request({
            operation: "acknowledge",
            subject,
            bytes,
            headers: undefined,
            onReply: () => {
              done({ value: undefined })
              return undefined
            },
            onError: (error) => done({ error })
          })),
        orFail
      ))
    },
    purge: api.purge,
    remove: api.remove,
    ensureStream: api.ensureStream,
    streamInfo: api.streamInfo,
    ensureConsumer: api.ensureConsumer,
    consumerInfo: api.consumerInfo,
    deleteConsumer: api.deleteConsumer,
    puller: (stream, consumer, heartbeat, onEvent) => Puller.make(link, stream, consumer, heartbeat, onEvent),
    broadcast: (subject, bytes) =>
      Effect.suspend(() => {
        if (!link.isReady) return Effect.fail(Errors.unavailable("broadcast", "the connection is away"))
        try {
          link.connection.publish(subject, bytes.length === 0 ? nothing : bytes)
          return Effect.void
        } catch (error) {
          return Effect.fail(Errors.refused(`broadcast to "${subject}"`, String(error), error))
        }
      }),
    listen: (subjects, onMessage) =>
      Effect.acquireRelease(
        Effect.sync(() =>
          subjects.map((subject) =>
            link.connection.subscribe(subject, {
              callback: (error, message) => {
                if (error === null) onMessage(message.subject, message.data)
              }
            })
          )
        ),
        (subscriptions) => Effect.sync(() => subscriptions.forEach((one) => one.unsubscribe()))
      ).pipe(Effect.andThen(Effect.tryPromise({
        try: () => link.connection.flush(),
        catch: (error) => Errors.unavailable("listen", String(error), error)
      }))),
    incarnation: () => {
      const info = link.connection.info
      return info === undefined || info.cluster !== undefined ? undefined : info.server_id
    },
    onReconnect: (callback) =>
      Effect.acquireRelease(
        Effect.sync(() => void link.onReconnect.add(callback)),
        () => Effect.sync(() => void link.onReconnect.delete(callback))
      ),
    maxPayload: link.connection.info?.max_payload ?? 1024 * 1024
  }
}
