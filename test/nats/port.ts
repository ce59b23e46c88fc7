/**
 * What the cases of the port are written with: they run on the model of JetStream and on a server.
 */
import { connect } from "@nats-io/transport-node"
import type { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import { expect } from "vitest"
import * as JetStream from "../../packages/transport-nats/src/internal/jetstream.ts"
import * as Link from "../../packages/transport-nats/src/internal/link.ts"
import type { Delivered, Published, PullEvent, Streams } from "../../packages/transport-nats/src/internal/streams.ts"
import { playAtPort } from "../../packages/transport-nats/test/model/play.ts"
import type { NatsServer } from "../servers/nats.ts"

export interface Rig {
  readonly streams: Streams
  /** Words for streams and subjects of this case. */
  readonly name: string
  /** `kill -9` and a restart, once everything has been written down. */
  readonly crash: Effect.Effect<void>
}

export type Body = (rig: Rig) => Effect.Effect<void, TransportError, Scope>

let count = 0

/** ms that a message is somebody's: several times as long as a busy machine stands still. */
export const ackWait = 3_000

export const connected = (server: NatsServer) =>
  Effect.acquireRelease(
    Effect.promise(() => connect({ servers: server.url, maxReconnectAttempts: -1, reconnectTimeWait: 50 })),
    (connection) => Effect.promise(() => connection.close())
  )

export const onServer = (server: NatsServer, body: Body): Promise<void> =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const connection = yield* connected(server)
    const link = yield* Link.make({ connection, inboxPrefix: undefined, patience: 10_000 })
    const streams = JetStream.make(link, { replicas: 1, bindOnly: false })
    const crash = Effect.promise(async () => {
      await new Promise((resolve) => setTimeout(resolve, 2_000))
      await server.kill()
      await server.restart()
    })
    yield* body({ streams, name: `case${++count}`, crash })
  })))

export const onModel = (body: Body): Promise<void> =>
  playAtPort(({ server, wire }) =>
    body({
      streams: wire.streams,
      name: `case${++count}`,
      crash: Effect.andThen(
        Effect.sleep(2_000),
        Effect.andThen(Effect.sync(() => server.crash(20)), Effect.sleep(1_000))
      )
    })
  )

export const bytes = (text: string) => new TextEncoder().encode(text)
export const text = (message: { readonly bytes: Uint8Array } | undefined) =>
  message && new TextDecoder().decode(message.bytes)

export const work = ({ name, streams }: Rig, config: { readonly maxMessages?: number } = {}) =>
  Effect.gen(function*() {
    yield* streams.ensureStream({
      name,
      subjects: [`${name}.>`],
      retention: "work",
      perSubject: 1,
      maxMessages: config.maxMessages,
      duplicateWindow: 120_000
    })
    yield* streams.ensureConsumer({ stream: name, name: "c", filter: `${name}.>`, ackWait })
  })

export const publish = (
  { name, streams }: Rig,
  word: string,
  content: string,
  options: { readonly messageId?: string; readonly expected?: number } = {}
): Effect.Effect<Published> =>
  Effect.map(
    streams.publish([{ subject: `${name}.${word}`, bytes: bytes(content), ...options }]),
    ([answer]) => answer!
  )

/** A puller that keeps what comes. Its requests live for about `ackWait`. */
export const pulling = ({ name, streams }: Rig) =>
  Effect.gen(function*() {
    const events: Array<PullEvent> = []
    let again = () => {}
    const puller = yield* streams.puller(name, "c", 900, (event) => {
      events.push(event)
      if (event._tag === "End") again()
    })
    const messages = () => events.flatMap((event) => event._tag === "Message" ? [event.message] : [])
    /** What comes within so many ms. */
    const take = (milliseconds: number) =>
      Effect.gen(function*() {
        events.length = 0
        const request = () => puller.request({ batch: 10, wait: true })
        // a lost connection ends a request
        again = request
        request()
        yield* Effect.sleep(milliseconds)
        again = () => {}
        puller.cancel()
        yield* Effect.sleep(50)
        expect(events.at(-1)).toEqual({ _tag: "End", mayHaveLost: true })
        return messages()
      })
    return { puller, events, take }
  })

export const shown = (messages: ReadonlyArray<Delivered>) => messages.map((one) => `${text(one)} ${one.deliveries}`)
