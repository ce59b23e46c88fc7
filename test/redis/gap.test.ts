/**
 * A listener whose connection is lost: it is told that it may have missed something.
 */
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startProxy } from "../servers/proxy.ts"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

test("who listens is told of a gap when the connection is back, and hears what comes then", async () => {
  const proxy = await startProxy(server.port)
  const heard: Array<string> = []
  let gaps = 0
  const program = Effect.gen(function*() {
    const { bus } = yield* Transport
    // while the other connection is away, too
    const publish = (text: string) =>
      Effect.retry(bus.publish(["results", "c"], Buffer.from(text)), {
        while: (error) => error.reason._tag === "Unavailable",
        schedule: Schedule.spaced("50 millis")
      })
    yield* bus.subscribe(["results", "c"], ({ bytes }) => heard.push(Buffer.from(bytes).toString()), () => gaps++)
    yield* publish("before")
    yield* Effect.promise(() => expect.poll(() => heard, { timeout: 10_000 }).toEqual(["before"]))
    expect(gaps).toBe(0)
    proxy.cut()
    yield* Effect.promise(() => expect.poll(() => gaps, { timeout: 10_000 }).toBeGreaterThan(0))
    yield* publish("after")
    yield* Effect.promise(() => expect.poll(() => heard, { timeout: 10_000 }).toContain("after"))
  })
  await Effect.runPromise(
    Effect.scoped(program).pipe(
      Effect.provide(RedisTransport.layer({ url: `redis://127.0.0.1:${proxy.port}` })),
      Effect.provideService(References.MinimumLogLevel, "Error")
    )
  )
  await proxy.close()
}, 60_000)
