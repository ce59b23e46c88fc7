/**
 * A scheduler as a process: it has no handlers, and no other scheduler needs to know of it.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { SharedBrokerLive } from "./broker.ts"
import { HealthServerLive, SchedulerLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(
  HealthServerLive.pipe(
    Layer.provideMerge(SchedulerLive),
    Layer.provide(SharedBrokerLive),
    Layer.provide(Telemetry.layer("proofread-scheduler"))
  )
)
