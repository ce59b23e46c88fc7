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
  /** How many times `ackWait` has passed: whoever stood still may have missed as many hand-outs. None on the model. */
  readonly waits: () => number
  /** How many times as long as on the model something may take. */
  readonly patience: number
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
    const began = performance.now()
    const waits = () => Math.floor((performance.now() - began) / ackWait)
    yield* body({ streams, name: `case${++count}`, crash, waits, patience: 10 })
  })))

export const onModel = (body: Body): Promise<void> =>
  playAtPort(({ server, wire }) =>
    body({
      streams: wire.streams,
      name: `case${++count}`,
      crash: Effect.andThen(
        Effect.sleep(2_000),
        Effect.andThen(Effect.sync(() => server.crash(20)), Effect.sleep(1_000))
      ),
      waits: () => 0,
      patience: 1
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
export const pulling = ({ name, patience, streams }: Rig) =>
  Effect.gen(function*() {
    const events: Array<PullEvent> = []
    let again = () => {}
    const puller = yield* streams.puller(name, "c", 900, (event) => {
      events.push(event)
      if (event._tag === "End") again()
    })
    /** Each once. */
    const messages = () =>
      new Map(events.flatMap((event) => event._tag === "Message" ? [[event.message.sequence, event.message]] : []))
    const during = (wait: Effect.Effect<unknown>) =>
      Effect.gen(function*() {
        events.length = 0
        const request = () => puller.request({ batch: 10, wait: true })
        // a lost connection ends a request
        again = request
        request()
        yield* wait
        again = () => {}
        puller.cancel()
        yield* Effect.sleep(50)
        expect(events.at(-1)).toEqual({ _tag: "End", mayHaveLost: true })
        return [...messages().values()]
      })
    /** What comes in so many ms. */
    const take = (milliseconds: number) => during(Effect.sleep(milliseconds))
    /** What comes, until so many did: on the model within so many ms. */
    const come = (count: number, within: number) =>
      Effect.map(
        during(Effect.repeat(Effect.sleep(10), {
          until: () => messages().size >= count,
          times: within * patience / 10
        })),
        (found) => {
          expect(found.length).toBe(count)
          return found
        }
      )
    return { puller, events, take, come }
  })

/** It is this message, handed out for the time that is given, at least. */
export const isHandOut = (
  { waits }: Rig,
  message: Delivered | undefined,
  content: string,
  deliveries: number
): void => {
  expect(text(message)).toBe(content)
  expect(message?.deliveries).toBeGreaterThanOrEqual(deliveries)
  expect(message?.deliveries).toBeLessThanOrEqual(Math.max(deliveries, 1 + waits()))
}
