/**
 * Work on a schedule: a digest that a worker sends every second, three times,
 * and housekeeping without a task. Then a run on request, and the history.
 *
 * Scheduler, worker and operator share this process, since the memory transport
 * lives in one. On a real broker each may have processes of its own.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Client from "@troupe/core/Client"
import * as CronJob from "@troupe/core/CronJob"
import * as Job from "@troupe/core/Job"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Task from "@troupe/core/Task"
import * as Worker from "@troupe/core/Worker"
import * as Console from "effect/Console"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as References from "effect/References"
import * as Schema from "effect/Schema"

class SendDigest extends Task.make("SendDigest", {
  payload: { to: Schema.String },
  success: Schema.String
}) {}

const SendDigestLive = SendDigest.toLayer(Effect.gen(function*() {
  const sent = yield* Ref.make(0)
  return Effect.fnUntraced(function*({ to }) {
    const { trigger } = Option.getOrThrow(yield* CronJob.Current)
    const number = yield* Ref.updateAndGet(sent, (count) => count + 1)
    yield* Console.log(`digest ${number} goes to ${to} (${trigger})`)
    return `digest ${number}`
  })
}))

const WorkerLive = Worker.layer({ tasks: [SendDigest] }).pipe(Layer.provide(SendDigestLive))

const program = Effect.gen(function*() {
  const tidied = yield* Deferred.make<void>()
  const CronLive = CronJob.layerAll([
    CronJob.make("digest", {
      every: "1 second",
      task: SendDigest,
      payload: { to: "everyone" },
      missed: "all",
      limit: 3
    }),
    CronJob.make("tidy up", {
      cron: "* * * * * *",
      execute: Deferred.succeed(tidied, undefined),
      limit: 1
    })
  ])
  yield* Layer.build(CronLive)
  yield* Deferred.await(tidied)

  const ended = Effect.gen(function*() {
    const { items } = yield* CronJob.history("digest")
    return items.filter(({ status }) => status === "COMPLETED").length === 3
  })
  yield* Effect.repeat(Effect.delay(ended, "50 millis"), { until: (isOver) => isOver })
  yield* Console.log("three ticks are over")

  const id = yield* CronJob.trigger("digest")
  const job = yield* Job.fromId(SendDigest, id)
  yield* Console.log(`on request: ${yield* job.await}`)

  const { items } = yield* CronJob.history("digest")
  for (const { status, trigger, value } of items) yield* Console.log(`${trigger}: ${status}, ${String(value)}`)
})

program.pipe(
  Effect.provide([WorkerLive, Client.layer]),
  Effect.provide(MemoryTransport.layer),
  Effect.provideService(References.MinimumLogLevel, "Warn"),
  Effect.scoped,
  NodeRuntime.runMain
)
