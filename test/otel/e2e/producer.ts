/** The producer of the shop: runs a scenario when it is told to, inside a span of its name. */
import * as Client from "@troupe/core/Client"
import * as DeadLetter from "@troupe/core/DeadLetter"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import { Charge, Count, Crash, Order, queue, Ship, tell, Wait } from "./tasks.ts"
import { main, telemetry, TransportLive } from "./wiring.ts"

type Scenario = Effect.Effect<ReadonlyArray<string>, unknown, Client.Client | Transport>

const counts = (jobs: number) =>
  Effect.flatMap(
    Count.enqueueMany(Array.from({ length: jobs }, (_, n) => ({ payload: { n } }))),
    Effect.forEach((result) =>
      Effect.flatMap(Effect.fromResult(result), (job) => Effect.as(Effect.exit(job.await), job.id))
    )
  )

/** A job that is wanted much later, and then at once after all: which trace it is in was said when it was enqueued. */
const broughtForward = (trace?: "parent") =>
  Effect.gen(function*() {
    const job = yield* Count.enqueue({ n: 1 }, { delay: "2 minutes", trace })
    yield* job.reschedule({ delay: 1 })
    yield* job.await
    return [job.id]
  })

const scenarios: Readonly<Record<string, Scenario>> = {
  order: Effect.gen(function*() {
    const job = yield* Order.enqueue({ item: "tea" })
    yield* job.await
    return [job.id]
  }),
  retry: Effect.gen(function*() {
    const job = yield* Ship.enqueue({})
    yield* job.await
    return [job.id]
  }),
  "dead letter": Effect.gen(function*() {
    const job = yield* Charge.enqueue({})
    yield* Effect.exit(job.await)
    return [job.id]
  }),
  batch: counts(3),
  "large batch": counts(33),
  link: Effect.gen(function*() {
    const job = yield* Count.enqueue({ n: 1 }, { trace: "link" })
    yield* job.await
    return [job.id]
  }),
  "short delay": Effect.gen(function*() {
    const job = yield* Count.enqueue({ n: 1 }, { delay: "50 millis" })
    yield* job.await
    return [job.id]
  }),
  "long delay": broughtForward(),
  "long delay, kept": broughtForward("parent"),
  wait: Effect.map(Wait.enqueue({}), ({ id }) => [id]),
  crash: Effect.map(Crash.enqueue({}), ({ id }) => [id])
}

/** What needs the id of a job. */
const withId: Readonly<Record<string, (id: string) => Scenario>> = {
  cancel: (id) => Client.Client.use((client) => Effect.as(client.job(queue, id).cancel, [id])),
  replay: (id) => Effect.as(DeadLetter.replay(queue, [id]), [id])
}

const program = Effect.gen(function*() {
  const context = yield* Effect.context<Client.Client | Transport>()
  process.on("message", (message: { readonly run: string; readonly id?: string } | "stop") => {
    if (message === "stop") return
    const { id, run } = message
    const scenario = id === undefined ? scenarios[run]! : withId[run]!(id)
    Effect.runForkWith(context)(scenario.pipe(Effect.withSpan(`scenario ${run}`))).addObserver((exit) =>
      tell(Exit.isSuccess(exit) ? { done: run, ids: exit.value } : { failed: `${run}: ${String(exit.cause)}` })
    )
  })
  tell({ ready: true })
  return yield* Effect.never
})

main(program.pipe(
  Effect.provide(Client.layer.pipe(Layer.provideMerge(TransportLive), Layer.provideMerge(telemetry("shop-api"))))
))
