/**
 * What a process can be. Each is a Layer over the broker, so that one process
 * can be all of them.
 */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Client from "@troupe/core/Client"
import * as Worker from "@troupe/core/Worker"
import * as WorkerHttp from "@troupe/core/WorkerHttp"
import * as Config from "effect/Config"
import * as HttpMiddleware from "effect/http/HttpMiddleware"
import * as HttpRouter from "effect/http/HttpRouter"
import * as Layer from "effect/Layer"
import { createServer } from "node:http"
import { Closing } from "./closing.ts"
import { HandlersLive } from "./handlers.ts"
import { Reader } from "./reader.ts"
import { RoutesLive } from "./routes.ts"
import { ScheduleLive } from "./schedules.ts"
import { Audit, CheckPage } from "./tasks.ts"

const ServerLive = NodeHttpServer.layerConfig(() => createServer(), {
  port: Config.Port("PORT").pipe(Config.withDefault(3000)),
  gracefulShutdownTimeout: Config.succeed("5 seconds")
})

/** Takes pages in, and answers for them. Has no handlers. Its requests are traced rather than logged. */
export const ApiLive = Closing.announced.pipe(
  Layer.provideMerge(
    HttpRouter.serve(Layer.merge(RoutesLive, WorkerHttp.layerRoutes()), { disableLogger: true }).pipe(
      Layer.provide(HttpMiddleware.layerTracerDisabledForUrls(["/live", "/ready", "/metrics"]))
    )
  ),
  Layer.provide([Closing.layer, ServerLive])
)

/** Proofreads. What is left out here comes from `TROUPE_CONCURRENCY`, … */
export const WorkerLive = Worker.layer({ tasks: [CheckPage, Audit] }).pipe(
  Layer.provide(HandlersLive),
  Layer.provide([Reader.layer, Client.layer, NodeServices.layer])
)

/** Enqueues audits when they are due. Any number of them may run. */
export const SchedulerLive = ScheduleLive

/** `/live`, `/ready` and `/metrics` of a process that serves nothing else. */
export const OperationsLive = WorkerHttp.layer().pipe(Layer.provide(ServerLive))
