/**
 * The port over a real server: plain requests to JetStream's API, because the
 * client's own calls cost four times the server's work.
 */
import type { Msg } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import { all } from "./answers.ts"
import * as Api from "./api.ts"
import * as Errors from "./errors.ts"
import type { Link, Request, Verdict } from "./link.ts"
import * as Message from "./message.ts"
import * as Publish from "./publish.ts"
import * as Puller from "./puller.ts"
import type { Acknowledgement, Stored, Streams } from "./streams.ts"

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
    acknowledgements: ReadonlyArray<Pick<Request, "subject" | "ahead">>,
    bytes: Uint8Array
  ): Effect.Effect<void, TransportError> =>
    Effect.asVoid(Effect.flatMap(
      all<Pick<Request, "subject" | "ahead">, Result<void>>(acknowledgements, (one, index, answers) =>
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
    publish: Publish.make(link, options.replicas === 1),
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
      let consumer: string | undefined
      let list: Array<string> = []
      for (const reply of replies) {
        // most are of the consumer of the one before
        if (consumer === undefined || !reply.startsWith(consumer)) {
          consumer = Message.consumerOf(reply)
          list = byConsumer.get(consumer) ?? []
          byConsumer.set(consumer, list)
        }
        list.push(reply)
      }
      return confirm(
        Array.from(byConsumer.values(), (list) => {
          const subject = list.pop()!
          return { subject, ahead: (send) => list.forEach((one) => send(one, "", "", payloads.done)) }
        }),
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
