/**
 * What lies in a stream while batches of its jobs end.
 */
import type { Settlement, Subscription } from "@troupe/core/JobLog"
import { Kit } from "@troupe/core/testing/conformance/kit"
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
let redis: Redis
beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

const settleAll = ({ settle }: Subscription, settlements: ReadonlyArray<Settlement>) =>
  Arr.isReadonlyArrayNonEmpty(settlements) ? settle(settlements) : Effect.void

test(
  "a batch that ends takes away its own jobs, not those that run or wait before, between and after them",
  () =>
    Effect.runPromise(
      Effect.scoped(Effect.gen(function*() {
        const kit = new Kit(yield* Transport, { elapse: Effect.sleep, wait: Effect.sleep, slack: 2_000 }, "streams")
        // nobody is too slow for it
        const one = yield* kit.subscribe({ lease: 20_000 })
        const two = yield* kit.subscribe({ lease: 20_000 })
        const length = (stream: string) => redis.xlen(`troupe:1:q:{${kit.queue}}:${stream}:default`)
        // what was fetched for nobody is given back into another stream
        const left = () => Effect.promise(async () => await length("s") + await length("r"))
        const sent = Arr.makeBy(60, () => kit.envelope())
        yield* kit.send(...sent)
        const oldest = yield* kit.collect(one, 1)
        const batch = yield* kit.collect(two, 20)
        yield* settleAll(two, batch.map((delivery) => kit.ack(delivery)))
        // the oldest one runs
        expect(yield* left()).toBe(40)
        const others = yield* kit.collect(two, 20)
        yield* settleAll(two, others.slice(0, 8).map((delivery) => kit.ack(delivery)))
        yield* settleAll(one, oldest.map((delivery) => kit.ack(delivery)))
        yield* settleAll(two, others.slice(12).map((delivery) => kit.ack(delivery)))
        // four in the middle run, and none has been handed out after them
        expect(yield* left()).toBe(4 + 19)
        yield* settleAll(two, others.slice(8, 12).map((delivery) => kit.ack(delivery)))
        expect(yield* left()).toBe(19)
        const rest = yield* kit.collect(one, 19)
        yield* settleAll(one, rest.slice(0, 10).map((delivery) => kit.ack(delivery)))
        expect(yield* left()).toBe(9)
        yield* settleAll(one, rest.slice(10).map((delivery) => kit.ack(delivery)))
        expect(yield* left()).toBe(0)
        const seen = [...oldest, ...batch, ...others, ...rest].map(({ envelope }) => envelope.id)
        expect(seen).toEqual(sent.map(({ id }) => id))
      })).pipe(Effect.provide(RedisTransport.layer({ url: server.url })))
    ),
  30_000
)
