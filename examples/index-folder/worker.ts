/**
 * A worker process: started by main.ts, which tells it what to do by its argument
 * and where the broker is by the environment.
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Indexer from "./indexer.ts"
import * as Journal from "./journal.ts"
import { ready, Settings } from "./settings.ts"
import { transports } from "./transports.ts"

const settings = Schema.decodeUnknownSync(Settings)(process.argv[2])

// whoever started us is gone: nobody wants the report any more
process.once("disconnect", () => process.exit(1))

const TransportLive = Layer.suspend(() => {
  const broker = transports.get(settings.transport)
  if (broker === undefined) throw new Error(`Unknown transport "${settings.transport}"`)
  return broker.layer
})

const ReadyLive = Layer.effectDiscard(Effect.sync(() => process.send?.(ready)))

Worker.runMain(ReadyLive.pipe(
  Layer.provideMerge(Indexer.layer({
    ...settings,
    id: settings.name,
    // soon enough to watch what becomes of the jobs of a dead worker
    ...(process.env["TROUPE_IDLE_TIMEOUT"] === undefined ? { idleTimeout: "2 seconds" } : {})
  })),
  Layer.provide([Journal.layer(settings.directory, settings.name), TransportLive, NodeServices.layer]),
  Layer.provide([
    Layer.succeed(References.MinimumLogLevel, "Warn"),
    Layer.succeed(Logger.LogToStderr, true)
  ])
))
