/**
 * The API as a process. A signal lets requests under way finish.
 */
import * as Worker from "@troupe/core/Worker"
import * as Layer from "effect/Layer"
import { SharedBrokerLive } from "./broker.ts"
import { ApiLive } from "./roles.ts"
import * as Telemetry from "./telemetry.ts"

Worker.runMain(ApiLive.pipe(Layer.provide(SharedBrokerLive), Layer.provide(Telemetry.layer("proofread-api"))))
