/**
 * Due times by the microseconds of the server's clock.
 */
import { Kit } from "@troupe/core/testing/conformance/kit"
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
let admin: Redis
beforeAll(async () => {
  server = await startRedis()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

test("a delay is not short by a fraction of a millisecond, neither a first one nor a retry's", () =>
  Effect.runPromise(
    Effect.scoped(Effect.gen(function*() {
      const live = { elapse: Effect.sleep, wait: Effect.sleep, slack: 2_000 }
      const kit = new Kit(yield* Transport, live, "rounding")
      const subscription = yield* kit.subscribe()
      const time = Effect.map(
        Effect.promise(() => admin.time()),
        ([seconds = 0, micros = 0]) => seconds * 1_000 + micros / 1_000
      )
      /** How much later than `delay` after `before` the job is due. */
      const margin = (id: string, before: number, delay: number) =>
        Effect.map(
          Effect.promise(() => admin.zscore("troupe:1:q:{rounding}:d", id)),
          (score) => Math.floor(Number(score)) - before - delay
        )
      const margins: Array<number> = []
      for (let round = 0; round < 30; round++) {
        const envelope = kit.envelope({ due: { _tag: "After", after: 1 } })
        const before = yield* time
        yield* kit.send(envelope)
        const delivery = yield* kit.take(subscription)
        expect((yield* time) - before).toBeGreaterThan(1)
        const again = yield* time
        yield* kit.settle(subscription, kit.forward(delivery, { due: { _tag: "After", after: 60_000 } }))
        margins.push(yield* margin(envelope.id, again, 60_000))
        const later = kit.envelope({ due: { _tag: "After", after: 60_000 } })
        const first = yield* time
        yield* kit.send(later)
        margins.push(yield* margin(later.id, first, 60_000))
      }
      expect(Math.min(...margins)).toBeGreaterThanOrEqual(0)
    })).pipe(Effect.provide(RedisTransport.layer({ url: server.url })))
  ), 30_000)
