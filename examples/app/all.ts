/**
 * API, worker and scheduler in one process: the same Layers over one broker,
 * which may be the memory of this process.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { BrokerLive } from "./broker.ts"
import { ApiLive, SchedulerLive, WorkerLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(
  ApiLive.pipe(
    // the API is the first to stop
    Layer.provideMerge(Layer.merge(WorkerLive, SchedulerLive)),
    Layer.provide(BrokerLive),
    Layer.provide(Telemetry.layer("proofread"))
  )
)
