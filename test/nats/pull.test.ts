/**
 * A request for jobs of which the server does not say that it is over.
 */
import { connect } from "@nats-io/transport-node"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, expect, test } from "vitest"
import * as JetStream from "../../packages/transport-nats/src/internal/jetstream.ts"
import * as Link from "../../packages/transport-nats/src/internal/link.ts"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { startProxy } from "../servers/proxy.ts"

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

/** ms between two signs of life: after two of them without one the request is lost, if nothing else tells. */
const heartbeat = 1_500

test("a request that the server forgets without a word is noticed before its silence is", async () => {
  let forgottenAt = Infinity
  const proxy = await startProxy(server.port, (reply) => {
    const at = reply.indexOf("408 Request Timeout")
    if (at < 0) return reply
    forgottenAt = Math.min(forgottenAt, performance.now())
    // looks like one more sign of life
    reply.write("100", at)
    return reply
  })
  const program = Effect.gen(function*() {
    const connection = yield* Effect.acquireRelease(
      Effect.promise(() => connect({ servers: `nats://127.0.0.1:${proxy.port}` })),
      (connection) => Effect.promise(() => connection.close())
    )
    const streams = JetStream.make(yield* Link.make({ connection, inboxPrefix: undefined, patience: 15_000 }), {
      replicas: 1,
      bindOnly: false
    })
    yield* streams.ensureStream({
      name: "pull",
      subjects: ["pull.>"],
      retention: "work",
      perSubject: 1,
      duplicateWindow: 30_000
    })
    yield* streams.ensureConsumer({ stream: "pull", name: "c", filter: "pull.>", ackWait: 3 * heartbeat })
    const end = yield* Deferred.make<number>()
    const puller = yield* streams.puller("pull", "c", heartbeat, (event) => {
      if (event._tag === "End") Deferred.doneUnsafe(end, Effect.succeed(performance.now()))
    })
    puller.request({ batch: 1, wait: true })
    return yield* Deferred.await(end)
  })
  const endedAt = await Effect.runPromise(Effect.scoped(program))
  expect(endedAt).toBeGreaterThan(forgottenAt)
  expect(endedAt - forgottenAt).toBeLessThan(2 * heartbeat)
  await proxy.close()
}, 30_000)
