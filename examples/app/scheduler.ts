/**
 * A scheduler as a process: it has no handlers, and no other scheduler needs to know of it.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { SharedBrokerLive } from "./broker.ts"
import { OperationsLive, SchedulerLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(
  SchedulerLive.pipe(
    Layer.provide(SharedBrokerLive),
    // up before the broker is, and until the last job is drained
    Layer.provide(OperationsLive),
    Layer.provide(Telemetry.layer("proofread-scheduler"))
  )
)
