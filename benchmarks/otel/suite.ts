/**
 * What tracing costs: the same jobs, each a `send` and a `process` span, with every way to trace them. The backend takes
 * all, in a process of its own. Ratios to a run without a tracer decide.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Server } from "../brokers/system.ts"
import { cpuPerJob, jobsPerSecond } from "../measure.ts"
import { server as natsServer } from "../nats/server.ts"
import { server as redisServer } from "../redis/server.ts"
import type { Claim, Entrant, Race, Suite } from "../scenario.ts"
import type { Setup } from "../scenarios/broker.ts"
import { singleCycle } from "../scenarios/throughput.ts"
import { handler as alone } from "./alone.ts"
import { type Name, tracers } from "./tracers.ts"

const rate = "jobs/s"

const entrant = (name: Name, transport: Setup["transport"], reset: () => Promise<void>): Entrant => ({
  name,
  round: async (jobs) => {
    await reset()
    const sample = await Effect.runPromise(
      singleCycle(name === "SDK's own calls, 10 %" ? { transport, handler: alone } : { transport })(jobs).pipe(
        Effect.provide(tracers[name], { local: true }),
        Effect.orDie
      )
    )
    return { [rate]: jobsPerSecond(sample), "µs/job": cpuPerJob(sample) }
  }
})

const share = (of: Name, least?: number): Claim => ({ of, to: "no tracer", figure: rate, least })

const claims = (otlp: number, sdk: number): ReadonlyArray<Claim> => [
  share("Effect's own spans"),
  { ...share("OTLP, 10 %", otlp), goal: 0.7 },
  share("OTLP, all"),
  share("SDK's own calls, 10 %"),
  { ...share("SDK, 10 %", sdk), goal: 0.7 },
  share("SDK, all")
]

const names: ReadonlyArray<Name> = [
  "no tracer",
  "Effect's own spans",
  "OTLP, 10 %",
  "OTLP, all",
  "SDK's own calls, 10 %",
  "SDK, 10 %",
  "SDK, all"
]

const race = (
  name: string,
  jobs: number,
  transport: Setup["transport"],
  reset: () => Promise<void>,
  claims: ReadonlyArray<Claim>
): Race => ({
  _tag: "Race",
  name,
  jobs,
  entrants: names.map((one) => entrant(one, transport, reset)),
  claims
})

const transportOf = (layer: (url: string) => Setup["transport"], server: Server): Setup["transport"] =>
  Layer.unwrap(Effect.map(Effect.promise(() => server.url()), layer))

const redis = transportOf((url) => Layer.orDie(RedisTransport.layer({ url })), redisServer)
const nats = transportOf((url) => Layer.orDie(NatsTransport.layer({ servers: url })), natsServer)

export const otel: Suite = {
  name: "otel",
  scenarios: [
    // rounds of a second or more: an SDK is a lot of code, and shorter ones show how it is compiled.
    // A job takes 12 µs here, less than an SDK needs for its two spans
    race(
      "enqueue → run, in memory",
      80_000,
      Layer.fresh(MemoryTransport.layer),
      () => Promise.resolve(),
      claims(0.4, 0.15)
    ),
    race("enqueue → run, over Redis", 40_000, redis, () => redisServer.empty(), claims(0.6, 0.3)),
    race("enqueue → run, over NATS", 10_000, nats, () => natsServer.empty(), claims(0.7, 0.5))
  ]
}
