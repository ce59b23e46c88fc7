import { GuaranteeConformance } from "@troupe/core/testing"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { afterAll, beforeAll, test, vi } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

// most of their time is spent waiting for leases and delays, a minute of it in several
vi.setConfig({ maxConcurrency: 20 })

GuaranteeConformance.suite({
  test: test.concurrent,
  name: "redis",
  layer: Layer.unwrap(Effect.sync(() => RedisTransport.layer({ url: server.url }))),
  clock: "live"
})
