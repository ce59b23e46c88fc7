/**
 * A job as it is written into the broker: every scheduler can run it from there.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Topic } from "../../Bus.ts"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import * as Rows from "../rows.ts"
import { Schedule } from "./schedule.ts"

/** Durations are ms, times ms since the epoch. */
export const Definition = Schema.Struct({
  name: Schema.String,
  schedule: Schedule,
  what: Schema.Union([
    Schema.Struct({
      _tag: Schema.Literal("Task"),
      task: Schema.String,
      queue: Schema.String,
      priority: Schema.optionalKey(Schema.String),
      headers: Schema.optionalKey(Schema.Record(Schema.String, Schema.String)),
      key: Schema.optionalKey(Schema.String),
      /** Absent where a function in code makes the payload: only processes that have it can run the job. */
      payload: Schema.optionalKey(Schema.Struct({ contentType: Schema.String, base64: Schema.String }))
    }),
    /** An effect in code. */
    Schema.Struct({ _tag: Schema.Literal("Execute") })
  ]),
  overlap: Schema.Literals(["skip", "allow", "queue"]),
  lockTtl: Schema.Number,
  missed: Schema.Literals(["skip", "latest", "all"]),
  missedWindow: Schema.Number,
  jitter: Schema.Number,
  startAt: Schema.optionalKey(Schema.Number),
  endAt: Schema.optionalKey(Schema.Number),
  limit: Schema.optionalKey(Schema.Number),
  enabled: Schema.Boolean,
  /** How many ticks the history keeps, and for how long. */
  keep: Schema.Struct({ count: Schema.Number, age: Schema.Number }),
  /** `code`: by a layer. `dynamic`: at run time. */
  origin: Schema.Literals(["code", "dynamic"]),
  paused: Schema.Boolean
})

export type Definition = typeof Definition.Type

/** By the name of the job. */
export const definitions = Rows.make({ name: "cron", queue: undefined, listable: true }, Definition)

/** Where changes of a definition are announced, and requests to run one: its name in UTF-8. */
export const changesTopic: Topic = ["cron"]

/** A lost message only costs time: schedulers read everything once a minute. */
export const announce = ({ bus }: Transport["Service"], name: string): Effect.Effect<void> =>
  Effect.ignore(bus.publish(changesTopic, new TextEncoder().encode(name)))

// the order of its properties is the schema's then
const normal = Schema.decodeUnknownSync(Definition)

/** Changes a definition, or writes the first one. `undefined` leaves it as it is. */
export const change = (
  transport: Transport["Service"],
  name: string,
  by: (definition: Definition | undefined) => Definition | undefined
): Effect.Effect<void, TransportError> => {
  const changed = definitions.update(transport, name, (before) => {
    const next = by(before)
    if (next === undefined) return undefined
    // written by every process that starts: most of them change nothing
    return JSON.stringify(normal(next)) === JSON.stringify(before) ? undefined : next
  })
  return Effect.flatMap(changed, (written) => written === undefined ? Effect.void : announce(transport, name))
}

/** What the cursor depends on: when it changes, nothing that was due before is caught up. */
export const specOf = ({ enabled, schedule, startAt }: Definition): string =>
  JSON.stringify([schedule, startAt ?? null, enabled])
