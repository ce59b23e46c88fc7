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
import type { Link, Request, Verdict } from "./link.ts"
import * as Message from "./message.ts"
import * as Puller from "./puller.ts"
import type { Acknowledgement, Publish, Published, Stored, Streams } from "./streams.ts"

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

const headersOf = ({ expected, headers }: NonNullable<Publish["again"]>, messageId: string | undefined): string => {
  let lines = ""
  // ours first: whoever gets the message looks for them
  if (headers !== undefined) { for (const name in headers) lines += `${name}: ${headers[name]}\r\n` }
  if (messageId !== undefined) lines += `Nats-Msg-Id: ${messageId}\r\n`
  if (expected !== undefined) lines += `Nats-Expected-Last-Subject-Sequence: ${expected}\r\n`
  return Headers.encode(lines)
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

/** What many requests come to. */
class Answers<A> {
  private readonly answers: Array<A>
  private readonly resume: (answers: Effect.Effect<ReadonlyArray<A>>) => void
  private missing: number

  constructor(count: number, resume: (answers: Effect.Effect<ReadonlyArray<A>>) => void) {
    this.answers = Array.from({ length: count })
    this.missing = count
    this.resume = resume
  }

  put(index: number, answer: A): void {
    this.answers[index] = answer
    if (--this.missing === 0) this.resume(Effect.succeed(this.answers))
  }
}

/** One effect for many requests: a fiber each would cost more than the request. */
const all = <A, B>(
  items: ReadonlyArray<A>,
  start: (item: A, index: number, answers: Answers<B>) => void
): Effect.Effect<ReadonlyArray<B>> =>
  items.length === 0 ? Effect.succeed([]) : Effect.callback((resume) => {
    const answers = new Answers<B>(items.length, resume)
    for (let index = 0; index < items.length; index++) start(items[index]!, index, answers)
  })

/** The most frequent request: an object without closures. */
class PublishRequest implements Request {
  readonly message: Publish
  readonly subject: string
  readonly bytes: Uint8Array
  readonly headers: string
  readonly mayWait = true
  private readonly index: number
  private readonly answers: Answers<Published>

  constructor(message: Publish, index: number, answers: Answers<Published>) {
    this.message = message
    this.subject = message.subject
    this.bytes = message.bytes
    this.headers = headersOf(message, message.messageId)
    this.index = index
    this.answers = answers
  }

  get headersAgain(): string {
    const { again, messageId } = this.message
    return again === undefined ? this.headers : headersOf(again, messageId)
  }

  get operation(): string {
    return `publish to "${this.subject}"`
  }

  onReply(reply: Msg): Verdict {
    const sequence = plainSequence(reply.data)
    if (sequence > 0) {
      this.answers.put(this.index, { _tag: "Stored", sequence })
      return undefined
    }
    const { duplicate, error, seq } = reply.json<PublishAnswer>()
    if (error === undefined) {
      this.answers.put(this.index, { _tag: duplicate === true ? "Duplicate" : "Stored", sequence: seq ?? 0 })
      return undefined
    }
    switch (Errors.kindOf(error)) {
      case "wrongSequence":
        this.answers.put(this.index, { _tag: "WrongSequence" })
        return undefined
      case "full":
        this.answers.put(this.index, { _tag: "Full", description: Errors.describe(error) })
        return undefined
      case "passing":
      case "noStream":
        return { again: Errors.describe(error) }
      default:
        this.onError(Errors.refused(this.operation, Errors.describe(error)))
        return undefined
    }
  }

  onError(error: TransportError): void {
    this.answers.put(this.index, { _tag: "Failed", error })
  }
}

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

  type Done = (answer: Result<Stored | undefined>) => void

  const direct = (stream: string, body: string, done: Done): void => {
    link.request({
      operation: `get from stream "${stream}"`,
      subject: `$JS.API.DIRECT.GET.${stream}`,
      bytes: Buffer.from(body),
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

  const get = (stream: string, body: string, done: Done): void => {
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

  /** One answer per body. */
  const getAll = (
    stream: string,
    bodies: ReadonlyArray<string>
  ): Effect.Effect<ReadonlyArray<Stored | undefined>, TransportError> =>
    Effect.flatMap(
      all<string, Result<Stored | undefined>>(bodies, (body, index, answers) =>
        get(stream, body, (answer) => answers.put(index, answer))),
      orFail
    )

  const confirm = (
    acknowledgements: ReadonlyArray<Pick<Request, "subject" | "before">>,
    bytes: Uint8Array
  ): Effect.Effect<void, TransportError> =>
    Effect.asVoid(Effect.flatMap(
      all<Pick<Request, "subject" | "before">, Result<void>>(acknowledgements, (one, index, answers) =>
        link.request({
          ...one,
          operation: "acknowledge",
          bytes,
          onReply: () => {
            answers.put(index, { value: undefined })
            return undefined
          },
          onError: (error) => answers.put(index, { error })
        })),
      orFail
    ))

  return {
    publish: (messages) =>
      all<Publish, Published>(
        messages,
        (message, index, answers) => link.request(new PublishRequest(message, index, answers))
      ),
    last: (stream, subjects) => getAll(stream, subjects.map((subject) => JSON.stringify({ last_by_subj: subject }))),
    at: (stream, sequences) => getAll(stream, sequences.map((sequence) => JSON.stringify({ seq: sequence }))),
    next: (stream, filter, sequence) =>
      Effect.map(
        getAll(stream, [JSON.stringify({ seq: Math.max(1, sequence), next_by_subj: filter })]),
        ([found]) => found
      ),
    acknowledge: (replies, how) => confirm(replies.map((subject) => ({ subject })), acknowledgement(how)),
    finish: (replies) => {
      const byConsumer = new Map<string, Array<string>>()
      for (const reply of replies) {
        const consumer = Message.consumerOf(reply)
        const list = byConsumer.get(consumer)
        if (list === undefined) byConsumer.set(consumer, [reply])
        else list.push(reply)
      }
      return confirm(
        Array.from(byConsumer.values(), (list) => ({ before: list.slice(0, -1), subject: list.at(-1)! })),
        payloads.done
      )
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
          link.post(subject, "", bytes)
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
