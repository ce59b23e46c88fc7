/**
 * Streams that several processes create at once, and those that somebody else has.
 */
import { connect } from "@nats-io/transport-node"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, expect, test } from "vitest"
import * as JetStream from "../../packages/transport-nats/src/internal/jetstream.ts"
import * as Link from "../../packages/transport-nats/src/internal/link.ts"
import { type NatsServer, startNats } from "../servers/nats.ts"

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

/** The streams as one process sees them. */
const process = Effect.gen(function*() {
  const connection = yield* Effect.acquireRelease(
    Effect.promise(() => connect({ servers: server.url })),
    (connection) => Effect.promise(() => connection.close())
  )
  const link = yield* Link.make({ connection, inboxPrefix: undefined, patience: 10_000 })
  return JetStream.make(link, { replicas: 1, bindOnly: false })
})

const config = (name: string, subject = name) => ({
  name,
  subjects: [`${subject}.>`],
  retention: "work" as const,
  perSubject: 1 as const,
  duplicateWindow: 120_000
})

test(
  "a stream that many processes create at once is there for all of them",
  () =>
    Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const processes = yield* Effect.all(Array.from({ length: 8 }, () => process))
      for (let round = 0; round < 400; round++) {
        const stream = config(`many${round}`)
        yield* Effect.forEach(processes, (one) => one.ensureStream(stream), { concurrency: "unbounded", discard: true })
      }
    }))),
  60_000
)

test(
  "a stream whose subjects another one has is refused",
  () =>
    Effect.runPromise(Effect.scoped(Effect.gen(function*() {
      const one = yield* process
      yield* one.ensureStream(config("theirs"))
      const error = yield* Effect.flip(one.ensureStream(config("ours", "theirs")))
      expect(error.message).toContain(`create stream "ours": another stream has its name or its subjects`)
    }))),
  60_000
)
