/**
 * What keys and actors cost on Redis, beside plain jobs in the same run.
 */
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { startRedis } from "../../test/servers/redis.ts"
import type { Suite, Throughput } from "../scenario.ts"
import * as Rounds from "../scenarios/actors.ts"

let server: ReturnType<typeof startRedis> | undefined

/** A private server per process, which ends with it. */
const transport = Layer.unwrap(
  Effect.promise(async () => RedisTransport.layer({ url: (await (server ??= startRedis())).url }))
)

const jobs = 40_000

const plain: Throughput = {
  _tag: "Throughput",
  name: "drain",
  jobs,
  round: Rounds.drainJobs({ transport, keys: 0 })
}

export const actors: Suite = {
  name: "actors",
  scenarios: [
    plain,
    {
      _tag: "Throughput",
      name: "drain, 1,000 keys",
      jobs,
      round: Rounds.drainJobs({ transport, keys: 1_000 }),
      against: { scenario: plain, least: 0.6 }
    },
    {
      _tag: "Throughput",
      name: "drain, messages of an actor of 1,000 keys, each writes the state",
      jobs,
      round: Rounds.drainMessages({ transport, keys: 1_000 }),
      against: { scenario: plain, least: 0.3 }
    },
    {
      _tag: "Footprint",
      name: "one caller that waits for each answer",
      jobs: 1_000,
      run: Rounds.answers({ transport, keys: 100, most: 300 })
    }
  ]
}
