/**
 * A worker of the bank in a process of its own. Arguments: broker, URL, the
 * name of the bank, id.
 */
import * as Client from "@troupe/core/Client"
import * as Bank from "@troupe/core/testing/guarantees/bank"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { type Broker, brokers, type Name } from "./brokers.ts"

const [name = "", url = "", bank = "", id = ""] = process.argv.slice(2)
const broker: Broker = brokers[name as Name]

// a worker that is stopped again and again takes jobs and loses them: that is no poison
const options = { id, idleTimeout: "1 second", gracePeriod: "2 seconds", concurrency: 16, maxDeliveries: 100 } as const
const WorkerLive = Bank.worker(Bank.define(bank), options, Effect.sleep(5)).pipe(
  Layer.provide(Client.layer),
  Layer.provide(broker.layer(url)),
  Layer.provide(Layer.succeed(References.MinimumLogLevel, "Fatal"))
)

process.once("disconnect", () => process.exit())
const stopped = new Promise<void>((resolve) => process.once("SIGTERM", resolve))
await Effect.runPromise(Effect.scoped(Effect.andThen(
  Layer.build(WorkerLive),
  Effect.andThen(Effect.sync(() => process.send?.("ready")), Effect.promise(() => stopped))
)))
process.exit()
