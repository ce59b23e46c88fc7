/**
 * Jobs that end the process of whoever runs them, in the very turn in which they start.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, test, vi } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

vi.setConfig({ maxConcurrency: 2 })

/** A process that is started again whenever it ends, until the scope closes. */
const supervised = (queue: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const path = fileURLToPath(new URL("fixtures/poisonWorker.ts", import.meta.url))
      const supervisor = { running: true, deaths: 0, child: undefined as ChildProcess | undefined }
      const start = () => {
        supervisor.child = fork(path, [server.url, queue], { execArgv: [] })
        supervisor.child.once("exit", () => {
          if (!supervisor.running) return
          supervisor.deaths++
          start()
        })
      }
      start()
      return supervisor
    }),
    (supervisor) =>
      Effect.sync(() => {
        supervisor.running = false
        supervisor.child?.kill("SIGKILL")
      })
  )

for (const does of ["exit", "choke"] as const) {
  test.concurrent(
    `poison (${does}) is dead-lettered, and nobody who was handed out beside it or waits behind it`,
    () => {
      const queue = `poison-${does}`
      class Work extends Task.make("Work", {
        payload: { does: Schema.Literals(["work", "exit", "choke"]) },
        success: Schema.String,
        queue
      }) {}
      return Effect.runPromise(
        Effect.scoped(Effect.gen(function*() {
          const poison = yield* Work.enqueue({ does }, { key: "the key" })
          const good = yield* Effect.forEach([1, 2, 3, 4, 5, 6], () => Work.enqueue({ does: "work" }))
          const follower = yield* Work.enqueue({ does: "work" }, { key: "the key" })
          const supervisors = [yield* supervised(queue), yield* supervised(queue)]
          expect(String(yield* Effect.flip(poison.await))).toContain("Poison")
          const results = yield* Effect.forEach([follower, ...good], (job) => job.await)
          expect(results).toEqual(Array.from({ length: 7 }, () => "done"))
          // of the first two hand-outs, one may have been to a worker that was dying already
          const deaths = supervisors.reduce((sum, { deaths }) => sum + deaths, 0)
          expect([3, 4, 5]).toContain(deaths)
        })).pipe(
          Effect.provide(Layer.provideMerge(Client.layer, RedisTransport.layer({ url: server.url }))),
          Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
        )
      )
    },
    120_000
  )
}
