/**
 * Schedules the cron jobs of the broker, for as long as a scope is open.
 *
 * Any number of schedulers may run: each tick runs once, without a leader among
 * them. A scheduler runs what is written in the broker, not only what its own
 * code registers; jobs whose payload is a function and jobs without a task need
 * a process that has their code.
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type { Scope } from "effect/Scope"
import * as Client from "./Client.ts"
import type { SchedulerInfo } from "./internal/cron/processes.ts"
import { schedulers } from "./internal/cron/processes.ts"
import * as Scheduler from "./internal/cron/scheduler.ts"
import type { Page, Paged } from "./Store.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export type { SchedulerInfo } from "./internal/cron/processes.ts"

export class CronScheduler extends Context.Service<
  CronScheduler,
  Scheduler.Scheduler & {
    /** Random, as runs without a task name it. */
    readonly id: string
  }
>()("@troupe/core/CronScheduler") {}

/** How long runs without a task may go on at a shutdown, before they are interrupted. Default: 30 seconds. */
export const GracePeriod = Context.Reference<Duration.Input>("@troupe/core/CronScheduler/GracePeriod", {
  defaultValue: () => "30 seconds"
})

/** Starts a scheduler that lives as long as the scope. */
export const make: Effect.Effect<CronScheduler["Service"], TransportError, Transport | Scope> = Effect.gen(
  function*() {
    const transport = yield* Transport
    const client = yield* Client.make
    const id = `cron-${Math.abs(yield* Random.nextInt).toString(36)}${Math.abs(yield* Random.nextInt).toString(36)}`
    const gracePeriod = Duration.toMillis(Duration.fromInputUnsafe(yield* GracePeriod))
    const scheduler = yield* Scheduler.make({ transport, client, id, gracePeriod })
    return CronScheduler.of({ ...scheduler, id })
  }
)

/** A scheduler. One value: all layers of cron jobs that are built together share it. */
export const layer: Layer.Layer<CronScheduler, TransportError, Transport> = Layer.effect(
  CronScheduler,
  make
)

/** One page of the live schedulers. A killed one is listed for 15 seconds more. */
export const list = (page: Page = { limit: 100 }): Effect.Effect<Paged<SchedulerInfo>, TransportError, Transport> =>
  Transport.use((transport) =>
    Effect.map(schedulers.list(transport, page), ({ items, next }) => ({
      items: items.map(({ value }) => value),
      next
    }))
  )
