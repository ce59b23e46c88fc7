/**
 * What keys and actors cost on Redis, beside plain jobs in the same run.
 */
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { server } from "../redis/server.ts"
import type { Suite, Throughput } from "../scenario.ts"
import * as Rounds from "../scenarios/actors.ts"

/** A private server per process, which ends with it. */
const transport = Layer.unwrap(Effect.promise(async () => RedisTransport.layer({ url: await server.url() })))

/** Records of earlier rounds would slow Redis, and jobs of keys more than others. */
const alone = (round: Throughput["round"]): Throughput["round"] => (jobs) =>
  Effect.ensuring(round(jobs), Effect.promise(() => server.empty()))

const jobs = 60_000

const plain: Throughput = {
  _tag: "Throughput",
  name: "drain",
  jobs,
  round: alone(Rounds.drainJobs({ transport, keys: 0 }))
}

export const actors: Suite = {
  name: "actors",
  scenarios: [
    plain,
    {
      _tag: "Throughput",
      name: "drain, 1,000 keys",
      jobs,
      round: alone(Rounds.drainJobs({ transport, keys: 1_000 })),
      against: { scenario: plain, least: 0.6 }
    },
    {
      _tag: "Throughput",
      name: "drain, messages of an actor of 1,000 keys, each writes the state",
      jobs: 40_000,
      round: alone(Rounds.drainMessages({ transport, keys: 1_000 })),
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
