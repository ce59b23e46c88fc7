/**
 * The worker: runs the handlers, in this process or in one of many.
 */
import * as Client from "@troupe/core/Client"
import * as Worker from "@troupe/core/Worker"
import type * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Flaky from "./flaky.ts"
import { HandlersLive } from "./handlers.ts"
import { IndexFile, IndexFolder, MakeReport } from "./tasks.ts"

/** Handlers enqueue jobs themselves: the client is theirs and, in one process, the producer's. */
export const layer = (options: {
  readonly id?: string
  readonly concurrency: number
  readonly idleTimeout?: Duration.Input
  /** Every so many files one fails once; 0 for none. */
  readonly flaky: number
}) =>
  Worker.layer({
    tasks: [IndexFolder, IndexFile, MakeReport],
    id: options.id,
    concurrency: options.concurrency,
    idleTimeout: options.idleTimeout,
    gracePeriod: "5 seconds"
  }).pipe(
    Layer.provide(HandlersLive),
    Layer.provide(options.flaky > 0 ? Flaky.layer(options.flaky) : Layer.empty),
    Layer.provideMerge(Client.layer)
  )
