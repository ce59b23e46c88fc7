/** The worker of the shop, and its scheduler. */
import * as Client from "@troupe/core/Client"
import * as CronJob from "@troupe/core/CronJob"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Redis } from "ioredis"
import { Busy, Charge, Count, Crash, Order, Receipt, Ship, tasks, tell, Tick, Unpaid, Wait } from "./tasks.ts"
import { main, redisUrl, telemetry, TransportLive } from "./wiring.ts"

const redis = new Redis(redisUrl)

const pay = (item: string) =>
  Effect.logInfo(`charging for ${item}`).pipe(
    Effect.andThen(Effect.promise(() => redis.set(`paid ${item}`, "1"))),
    Effect.withSpan("charge card", { attributes: { item } })
  )

const HandlersLive = Layer.mergeAll(
  Order.toLayer(({ item }) =>
    Effect.as(Effect.andThen(pay(item), Effect.orDie(Receipt.enqueue({ item }))), `paid ${item}`)
  ),
  Receipt.toLayer(() => Effect.void),
  Ship.toLayer((_, { attempt }) => attempt === 1 ? new Busy({ until: "later" }) : Effect.void),
  Charge.toLayer(() => new Unpaid()),
  Count.toLayer(() => Effect.void),
  Wait.toLayer((_, { id }) => Effect.andThen(Effect.sync(() => tell({ started: "Wait", id })), Effect.never)),
  Crash.toLayer((_, { deliveries }) =>
    Effect.suspend(() => {
      if (deliveries > 1) return Effect.void
      process.kill(process.pid, "SIGKILL")
      return Effect.never
    })
  ),
  Tick.toLayer(() => Effect.void)
)

const WorkerLive = Worker.layer({ tasks, concurrency: 8, idleTimeout: "3 seconds", gracePeriod: "5 seconds" }).pipe(
  Layer.provide(HandlersLive)
)

const SchedulerLive = CronJob.layer("tick", { every: "1 second", task: Tick, payload: () => ({}) })

main(
  Layer.launch(
    Layer.mergeAll(WorkerLive, SchedulerLive, Layer.effectDiscard(Effect.sync(() => tell({ ready: true })))).pipe(
      Layer.provide(Client.layer),
      Layer.provide(TransportLive),
      Layer.provide(telemetry("shop-worker"))
    )
  )
)
