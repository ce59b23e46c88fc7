/**
 * What a worker process writes down of every run before it begins. A line that
 * is written is there, whatever becomes of the process.
 */
import type * as Task from "@troupe/core/Task"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { openSync, readdirSync, readFileSync, writeSync } from "node:fs"
import { join } from "node:path"

/** One start of a handler. */
const Start = Schema.Struct({
  worker: Schema.String,
  id: Schema.String,
  attempt: Schema.Number,
  /** More than 1: it had been handed out before, to somebody who did not end it. */
  deliveries: Schema.Number,
  /** ms since the epoch. */
  at: Schema.Number
})
export type Start = typeof Start.Type

/** Nothing is written down unless a Layer says where. */
export const Journal = Context.Reference<(execution: Task.Execution) => Effect.Effect<void>>(
  "@troupe/examples/Journal",
  { defaultValue: () => () => Effect.void }
)

const encode = Schema.encodeSync(Schema.fromJsonString(Start))
const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Start))

export const layer = (directory: string, worker: string): Layer.Layer<never> =>
  Layer.effect(
    Journal,
    Effect.map(Clock.Clock, (clock) => {
      const file = openSync(join(directory, `${worker}.journal`), "a")
      return ({ attempt, deliveries, id }) =>
        Effect.sync(() => {
          // a synchronous write: a line on its way would die with the process
          writeSync(file, `${encode({ worker, id, attempt, deliveries, at: clock.currentTimeMillisUnsafe() })}\n`)
        })
    })
  )

/** All starts of all workers, in no order. The last line of a killed worker may be cut off. */
export const read = (directory: string): Effect.Effect<ReadonlyArray<Start>> =>
  Effect.sync(() =>
    readdirSync(directory).filter((name) => name.endsWith(".journal")).flatMap((name) =>
      readFileSync(join(directory, name), "utf8").split("\n").flatMap((line) => Option.toArray(decode(line)))
    )
  )
