/**
 * What schedules cost while nothing is due, and how late ticks start.
 */
import * as CronJob from "@troupe/core/CronJob"
import * as CronScheduler from "@troupe/core/CronScheduler"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as References from "effect/References"
import type { Scope } from "effect/Scope"
import { startNats } from "../../test/servers/nats.ts"
import { startRedis } from "../../test/servers/redis.ts"
import type { Figure } from "../scenario.ts"

type Run = (schedules: number) => Effect.Effect<ReadonlyArray<Figure>>

const Tick = Task.make("Tick", { queue: "ticks" })

export type Broker = "redis" | "nats"

const start = async (broker: Broker) => {
  if (broker === "redis") {
    const server = await startRedis()
    return { server, transport: RedisTransport.layer({ url: server.url }) }
  }
  const server = await startNats()
  return { server, transport: NatsTransport.layer({ servers: server.url }) }
}

/** On a server of its own. */
const on = <A>(broker: Broker, run: Effect.Effect<A, unknown, Transport | Scope>): Effect.Effect<A> =>
  Effect.scoped(Effect.gen(function*() {
    const { transport } = yield* Effect.acquireRelease(
      Effect.promise(() => start(broker)),
      ({ server }) => Effect.promise(() => server.stop())
    )
    return yield* Effect.provide(
      Effect.scoped(run),
      Layer.merge(transport, Layer.succeed(References.MinimumLogLevel, "Error"))
    )
  })).pipe(Effect.orDie)

const define = (schedules: number, options: CronJob.CronOptions) =>
  Effect.forEach(
    Array.from({ length: schedules }, (_, index) => `job-${index}`),
    (name) => CronJob.upsert(name, { ...options, task: Tick }),
    { concurrency: 32, discard: true }
  )

/** ms. */
const idleFor = 60_000

/** The share of a core that a scheduler takes while none of its schedules is due. The broker is another process. */
export const idle = (broker: Broker): Run => (schedules) =>
  on(
    broker,
    Effect.gen(function*() {
      yield* define(schedules, { cron: "0 0 1 1 *" })
      yield* CronScheduler.make
      // what the start costs is over
      yield* Effect.sleep(2_000)
      const before = process.cpuUsage()
      yield* Effect.sleep(idleFor)
      const { system, user } = process.cpuUsage(before)
      const share = (system + user) / 1_000 / idleFor * 100
      return [{ name: `CPU of the process, ${schedules} schedules`, value: share, unit: "% of a core", most: 2 }]
    })
  )

const ticksPerSchedule = 30

/** From the tick to the start of its handler, with as many schedules due in the same moment, once per second. */
export const lateness = (broker: Broker): Run => (schedules) =>
  on(
    broker,
    Effect.gen(function*() {
      const late: Array<number> = []
      const { clock } = yield* Transport
      // the server is on this machine: its clock is ours
      yield* clock
      const worker = Worker.layer({ tasks: [Tick], concurrency: 64 }).pipe(
        Layer.provide(Tick.toLayer(() =>
          Effect.map(CronJob.Current, (current) => {
            late.push(Date.now() - Option.getOrThrow(current).tick)
          })
        ))
      )
      yield* Layer.build(worker)
      yield* define(schedules, { every: "1 second", missed: "all", overlap: "allow" })
      yield* CronScheduler.make
      const timer: Array<number> = []
      yield* Effect.forkScoped(Effect.forever(Effect.suspend(() => {
        const now = Date.now()
        const due = now - now % 1_000 + 1_000
        return Effect.andThen(Effect.sleep(due - now), Effect.sync(() => timer.push(Date.now() - due)))
      })))
      // the first ticks compile what the others run
      while (late.length < schedules * 3) {
        yield* Effect.sleep(10)
      }
      const before = process.cpuUsage()
      while (late.length < schedules * (ticksPerSchedule + 3)) yield* Effect.sleep(100)
      const { system, user } = process.cpuUsage(before)
      const sorted = late.slice(3 * schedules).sort((a, b) => a - b)
      const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
      return [
        { name: `half of ${sorted.length} ticks`, value: at(0.5), unit: "ms late" },
        { name: "p99", value: at(0.99), unit: "ms late", most: 50 },
        { name: "the latest", value: at(1), unit: "ms late" },
        { name: "the latest bare timer", value: Math.max(...timer), unit: "ms late" },
        {
          name: "CPU of scheduler and worker per tick",
          value: (system + user) / (schedules * ticksPerSchedule),
          unit: "µs"
        }
      ]
    })
  )
