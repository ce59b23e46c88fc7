/**
 * The rows of the history: one per tick, with all its executions.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Topic } from "../../Bus.ts"
import * as CronRun from "../../CronRun.ts"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import { encodeJson } from "../json.ts"
import * as Rows from "../rows.ts"

export const Execution = Schema.Struct({
  status: CronRun.Status,
  startedAt: Schema.Number,
  worker: Schema.String,
  attempt: Schema.Number,
  completedAt: Schema.optionalKey(Schema.Number),
  reason: Schema.optionalKey(Schema.String),
  message: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.Json)
})

export const RunRow = Schema.Struct({
  name: Schema.String,
  key: Schema.String,
  tick: Schema.Number,
  trigger: CronRun.Trigger,
  /** Where its job is; absent without a task. */
  queue: Schema.optionalKey(Schema.String),
  /** ms that the row is kept. */
  age: Schema.Number,
  /** ms since the epoch, when it was written first. */
  since: Schema.Number,
  executions: Schema.Array(Execution),
  /** Executions that are no longer listed. */
  dropped: Schema.optionalKey(Schema.Number),
  /** How a tick ended that no execution tells of. */
  end: Schema.optionalKey(Schema.Struct({
    status: CronRun.Status,
    at: Schema.Number,
    reason: Schema.optionalKey(Schema.String),
    message: Schema.optionalKey(Schema.String)
  }))
})

export type Execution = typeof Execution.Type
export type RunRow = typeof RunRow.Type

/** By `rowKey`. */
export const runs = Rows.make({ name: "cron-runs", queue: undefined, listable: false }, RunRow, ({ age }) => age)

/** Where every change of a run is published: JSON of a `CronRun`. */
export const runsTopic = (name: string): Topic => ["cron-runs", name]

/** The id of the job that is this run. */
export const idOf = (name: string, key: string): string => `cron/${name}/${key}`

export const rowKey = (name: string, key: string) => `${name} ${key}`

/** Executions kept per tick: one that fails for ever must not fill its row. */
const mostExecutions = 20

export const fresh = (
  run: Pick<RunRow, "name" | "key" | "tick" | "trigger" | "age"> & { readonly queue?: string | undefined },
  since: number
): RunRow => {
  const { age, key, name, queue, tick, trigger } = run
  return { name, key, tick, trigger, age, since, executions: [], ...(queue === undefined ? {} : { queue }) }
}

/** What the history shows of a row, the newest execution first. */
export const view = (row: RunRow): ReadonlyArray<CronRun.CronRun> => {
  const { dropped = 0, end, executions, key, name, tick, trigger } = row
  const shared = { name, id: idOf(name, key), tick, trigger }
  const views: Array<CronRun.CronRun> = executions.map((execution, index) => ({
    ...shared,
    execution: dropped + index + 1,
    ...execution,
    ...(execution.completedAt === undefined ? {} : { duration: execution.completedAt - execution.startedAt })
  }))
  if (end !== undefined) {
    const { at, ...rest } = end
    views.push({ ...shared, execution: 0, ...rest, completedAt: at })
  } else if (views.length === 0) views.push({ ...shared, execution: 0, status: "QUEUED" })
  return views.reverse()
}

const announce = ({ bus }: Transport["Service"], row: RunRow) =>
  Effect.ignore(bus.publish(runsTopic(row.name), encodeJson(view(row)[0])))

/** Writes over the revision that was read, and answers the new one; `undefined` if somebody else was faster. */
export const write = (
  transport: Transport["Service"],
  row: RunRow,
  ifRevision: number
): Effect.Effect<number | undefined, TransportError> =>
  Effect.tap(
    runs.write(transport, rowKey(row.name, row.key), row, ifRevision),
    (written) => written === undefined ? Effect.void : announce(transport, row)
  )

/** Changes a row, or writes the first one. `change` may be asked again; `undefined` leaves the row as it is. */
export const update = (
  transport: Transport["Service"],
  { key, name }: { readonly name: string; readonly key: string },
  change: (row: RunRow | undefined) => RunRow | undefined
): Effect.Effect<RunRow | undefined, TransportError> =>
  Effect.tap(
    runs.update(transport, rowKey(name, key), change),
    (written) => written === undefined ? Effect.void : announce(transport, written)
  )

/** Adds an execution; the ones before it that seem to run are lost. */
export const started = (row: RunRow, execution: Execution): RunRow => {
  const executions = [...row.executions.map((one) => lost(one, execution.startedAt)), execution]
  const surplus = Math.max(0, executions.length - mostExecutions)
  const { end: _, ...rest } = row
  return {
    ...rest,
    executions: executions.slice(surplus),
    ...(surplus + (row.dropped ?? 0) === 0 ? {} : { dropped: surplus + (row.dropped ?? 0) })
  }
}

/** An execution whose process is gone. Others stay as they are. */
export const lost = (execution: Execution, now: number): Execution =>
  execution.status !== "RUNNING" ? execution : {
    ...execution,
    status: "FAILED",
    completedAt: now,
    reason: "WorkerLost",
    message: `worker "${execution.worker}" was killed or stood still: it did not say how the run ended`
  }

export const isOpen = ({ end, executions }: RunRow): boolean => {
  const last = executions.at(-1)
  return last === undefined ? end === undefined : last.status === "RUNNING"
}
