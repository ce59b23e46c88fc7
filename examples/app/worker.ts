/**
 * A worker as a process. A signal drains it: running jobs finish, others go back.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { SharedBrokerLive } from "./broker.ts"
import { HealthServerLive, WorkerLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(
  HealthServerLive.pipe(
    Layer.provideMerge(WorkerLive),
    Layer.provide(SharedBrokerLive),
    Layer.provide(Telemetry.layer("proofread-worker"))
  )
)
