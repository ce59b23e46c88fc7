/**
 * A worker as a process. A signal drains it: running jobs finish, others go back.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { SharedBrokerLive } from "./broker.ts"
import { OperationsLive, WorkerLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(
  WorkerLive.pipe(
    Layer.provide(SharedBrokerLive),
    // up before the broker is, and until the last job is drained
    Layer.provide(OperationsLive),
    Layer.provide(Telemetry.layer("proofread-worker"))
  )
)
