import { TransportConformance } from "@troupe/core/testing"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "ioredis"
import { afterAll, beforeAll, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
/** A user with the documented rights and no others: the suite shows that they are enough. */
let url: string
beforeAll(async () => {
  server = await startRedis()
  const admin = new Redis(server.url)
  await admin.call("ACL", "SETUSER", "troupe", "on", ">secret", "~troupe:*", "&troupe:*", ...RedisTransport.acl)
  admin.disconnect()
  url = `redis://troupe:secret@${server.host}:${server.port}/0`
})
afterAll(() => server.stop())

TransportConformance.suite({
  // most of their time is spent waiting for leases and delays
  test: test.concurrent,
  name: "redis",
  layer: Layer.unwrap(Effect.sync(() => RedisTransport.layer({ url }))),
  clock: "live"
})
