import { GuaranteeConformance } from "@troupe/core/testing"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, test, vi } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

// most of their time is spent waiting for leases and delays, a minute of it in several
vi.setConfig({ maxConcurrency: 20 })

GuaranteeConformance.suite({
  test: test.concurrent,
  name: "nats",
  layer: Layer.unwrap(Effect.sync(() => NatsTransport.layer({ servers: server.url }))),
  clock: "live"
})
