/**
 * The schedule, and what the API knows of it.
 */
import * as Client from "@troupe/core/Client"
import * as CronJob from "@troupe/core/CronJob"
import type { Transport } from "@troupe/core/Transport"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Unavailable, unavailable } from "./errors.ts"
import type { Runs, Schedule, Submitted } from "./models.ts"
import { Audit } from "./tasks.ts"

/** One job: an audit whenever `PROOF_AUDIT_CRON` says so, every night if it says nothing. */
export const ScheduleLive = Layer.unwrap(Effect.map(
  Config.String("PROOF_AUDIT_CRON").pipe(Config.withDefault("0 3 * * *")),
  (cron) => CronJob.layer("audit", { cron, task: Audit, history: { count: 200 } })
))

export class Schedules extends Context.Service<Schedules, {
  readonly list: Effect.Effect<ReadonlyArray<typeof Schedule.Type>, Unavailable>
  readonly runs: (
    name: string,
    page: { readonly limit: number; readonly cursor: string | undefined }
  ) => Effect.Effect<typeof Runs.Type, Unavailable>
  /** Beside the schedule. */
  readonly trigger: (
    name: string
  ) => Effect.Effect<typeof Submitted.Type, CronJob.CronJobNotFound | Unavailable>
}>()("app/Schedules") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      const context = yield* Effect.context<Client.Client | Transport>()
      return Schedules.of({
        list: CronJob.list().pipe(
          Effect.provideContext(context),
          Effect.map(({ items }) =>
            items.map(({ last, name, next, paused, schedule }) => ({
              name,
              schedule,
              paused,
              ...(next === undefined ? {} : { next }),
              ...(last === undefined ? {} : { last })
            }))
          ),
          Effect.catchTag("TransportError", unavailable)
        ),
        runs: (name, page) =>
          CronJob.history(name, page).pipe(
            Effect.provideContext(context),
            Effect.map(({ items, next }) => ({ items, ...(next === undefined ? {} : { next }) })),
            Effect.catchTag("TransportError", unavailable)
          ),
        trigger: (name) =>
          CronJob.trigger(name).pipe(
            Effect.provideContext(context),
            Effect.map((id) => ({ id, duplicate: false })),
            Effect.catchTags({ TransportError: unavailable, EnqueueError: Effect.die })
          )
      })
    })
  ).pipe(Layer.provide(Client.layer))
}
