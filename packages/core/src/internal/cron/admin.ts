/**
 * Jobs and their history, for operators: from any process, with or without a
 * scheduler.
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { CronJobNotFound } from "../../CronError.ts"
import type { Time } from "../../CronOptions.ts"
import { CronRun } from "../../CronRun.ts"
import type { Page, Paged } from "../../Store.ts"
import { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import * as Rows from "../rows.ts"
import * as Definitions from "./definition.ts"
import * as Entry from "./entry.ts"
import { lookUp } from "./lookup.ts"
import { requests } from "./requests.ts"
import * as Runs from "./runs.ts"
import * as Schedule from "./schedule.ts"
import * as State from "./state.ts"

type Definition = Definitions.Definition

/** A job as operators see it. Times are ms since the epoch by the broker's clock. */
export interface CronJobInfo {
  readonly name: string
  /** For humans: expressions with their time zones, or the interval. */
  readonly schedule: string
  /** `undefined` for a job without a task. */
  readonly task: string | undefined
  readonly queue: string | undefined
  readonly enabled: boolean
  readonly paused: boolean
  /** Who defined it: a layer, or `CronJob.upsert`. */
  readonly origin: "code" | "dynamic"
  /** `undefined` if there is none: ended, paused or not enabled. */
  readonly next: number | undefined
  readonly last: CronRun | undefined
  /** Ticks that were run so far. */
  readonly count: number
}

const nextOf = (definition: Definition, state: State.State | undefined, now: number): number | undefined => {
  if (!Entry.isActive(definition)) return undefined
  if (definition.limit !== undefined && (state?.count ?? 0) >= definition.limit) return undefined
  try {
    const { next, spec } = Entry.make(definition)
    return next(state?.spec === spec ? state.cursor : now)
  } catch (error) {
    // what a newer release wrote: listed, but not computed
    if (error instanceof Schedule.BadSchedule) return undefined
    throw error
  }
}

const infos = Effect.fnUntraced(function*(transport: Transport["Service"], found: ReadonlyArray<Definition>) {
  const now = yield* transport.clock
  const states = yield* State.states.read(transport, found.map(({ name }) => name))
  const lasts = found.flatMap((definition, index) => {
    const key = states[index]!.value?.runs[0]
    return key === undefined ? [] : { definition, key }
  })
  const rows = yield* lookUp(transport, lasts)
  const lastOf = new Map(rows.map((row) => [row.name, Runs.view(row)[0]]))
  return found.map((definition, index): CronJobInfo => {
    const { enabled, name, origin, paused, schedule, what } = definition
    const state = states[index]!.value
    return {
      name,
      schedule: Schedule.describe(schedule),
      task: what._tag === "Task" ? what.task : undefined,
      queue: what._tag === "Task" ? what.queue : undefined,
      enabled,
      paused,
      origin,
      next: nextOf(definition, state, now),
      last: lastOf.get(name),
      count: state?.count ?? 0
    }
  })
})

/** One page of the jobs, with their next and their last run, in no promised order. */
export const list = (page: Page = { limit: 100 }): Effect.Effect<Paged<CronJobInfo>, TransportError, Transport> =>
  Transport.use((transport) =>
    Effect.flatMap(
      Definitions.definitions.list(transport, page),
      ({ items, next }) => Effect.map(infos(transport, items.map(({ value }) => value)), (items) => ({ items, next }))
    )
  )

export const get = (name: string): Effect.Effect<Option.Option<CronJobInfo>, TransportError, Transport> =>
  Transport.use((transport) =>
    Effect.flatMap(Definitions.definitions.readOne(transport, name), ({ value }) =>
      value === undefined
        ? Effect.succeedNone
        : Effect.map(infos(transport, [value]), ([info]) => Option.fromUndefinedOr(info)))
  )

/**
 * One page of the runs of a job, the newest tick first. `limit` counts ticks: a
 * tick with retries has more than one run. A run whose process was killed is
 * told as FAILED from 15 seconds after its start on, or as soon as another
 * worker repeats it.
 */
export const history = (
  name: string,
  page: Page = { limit: 100 }
): Effect.Effect<Paged<CronRun>, TransportError, Transport> =>
  Transport.use(Effect.fnUntraced(function*(transport: Transport["Service"]) {
    const { value } = yield* State.states.readOne(transport, name)
    const keys = value?.runs ?? []
    const from = page.cursor === undefined ? 0 : keys.indexOf(page.cursor) + 1
    // the run that the cursor names was dropped meanwhile, and so were all that are older
    if (page.cursor !== undefined && from === 0) return { items: [], next: undefined }
    const wanted = keys.slice(from, from + page.limit)
    const { value: definition } = yield* Definitions.definitions.readOne(transport, name)
    // removed meanwhile, and its history with it
    if (definition === undefined) return { items: [], next: undefined }
    const rows = yield* lookUp(transport, wanted.map((key) => ({ definition, key })))
    return {
      items: rows.flatMap(Runs.view),
      next: from + page.limit < keys.length ? wanted.at(-1) : undefined
    }
  }))

/** The whole history of a job, page by page. */
export const historyStream = (name: string): Stream.Stream<CronRun, TransportError, Transport> =>
  Stream.paginate(
    undefined as string | undefined,
    (cursor) =>
      Effect.map(history(name, { limit: 100, cursor }), ({ items, next }) => [
        items,
        next === undefined ? Option.none() : Option.some<string | undefined>(next)
      ])
  )

const decodeRun = Schema.decodeUnknownOption(Schema.fromJsonString(CronRun))

/**
 * Every change of a run from now on, of one job or of all: at most once, and a
 * slow reader loses the oldest of more than 1,024. The history misses nothing.
 */
export const runs = (name?: string | undefined): Stream.Stream<CronRun, TransportError, Transport> =>
  Stream.callback<CronRun, TransportError, Transport>(
    Effect.fnUntraced(function*(queue) {
      const { bus } = yield* Transport
      const text = new TextDecoder()
      yield* bus.subscribe(name === undefined ? ["cron-runs"] : Runs.runsTopic(name), ({ bytes }) => {
        const run = decodeRun(text.decode(bytes))
        if (Option.isSome(run)) Queue.offerUnsafe(queue, run.value)
      })
    }),
    { bufferSize: 1_024, strategy: "sliding" }
  )

const existing = (
  transport: Transport["Service"],
  name: string
): Effect.Effect<Definition, CronJobNotFound | TransportError> =>
  Effect.flatMap(
    Definitions.definitions.readOne(transport, name),
    ({ value }) => value === undefined ? Effect.fail(new CronJobNotFound({ name })) : Effect.succeed(value)
  )

const setPaused = (transport: Transport["Service"], name: string, paused: boolean) =>
  Definitions.change(transport, name, (definition) => definition && { ...definition, paused })

/** No tick is run from now on, until `resume`, also after restarts. Runs under way go on. */
export const pause = (name: string): Effect.Effect<void, CronJobNotFound | TransportError, Transport> =>
  Transport.use((transport) => Effect.andThen(existing(transport, name), setPaused(transport, name, true)))

/** Ticks that came meanwhile are not caught up. */
export const resume = (name: string): Effect.Effect<void, CronJobNotFound | TransportError, Transport> =>
  Transport.use(Effect.fnUntraced(function*(transport: Transport["Service"]) {
    const definition = yield* existing(transport, name)
    if (!definition.paused) return
    const now = yield* transport.clock
    const spec = Definitions.specOf(definition)
    // before a scheduler may look
    yield* State.states.update(transport, name, (state) => State.begin(state, spec, now))
    yield* setPaused(transport, name, false)
  }))

/** Removes a job with its history. Runs under way go on. Code that registers it brings it back at its next start. */
export const remove = (name: string): Effect.Effect<void, TransportError, Transport> =>
  Transport.use(Effect.fnUntraced(function*(transport: Transport["Service"]) {
    yield* Definitions.definitions.remove(transport, [name])
    yield* Definitions.announce(transport, name)
    const { value } = yield* State.states.readOne(transport, name)
    yield* State.states.remove(transport, [name])
    yield* Runs.runs.remove(transport, (value?.runs ?? []).map((key) => Runs.rowKey(name, key)))
  }))

/**
 * Removes the jobs that code has registered, now or long ago, and that are not
 * named here. Those of `upsert` stay. Answers the names of the removed ones.
 */
export const prune = (options: {
  readonly keep: Iterable<string>
}): Effect.Effect<ReadonlyArray<string>, TransportError, Transport> =>
  Transport.use(Effect.fnUntraced(function*(transport: Transport["Service"]) {
    const keep = new Set(options.keep)
    const all = yield* Rows.listAll(Definitions.definitions, transport)
    const stale = all.flatMap(({ value }) => value.origin === "code" && !keep.has(value.name) ? value.name : [])
    yield* Effect.forEach(stale, remove, { discard: true })
    return stale
  }))

/** Puts runs into the history that nobody has started. */
export const enlist = Effect.fnUntraced(function*(
  transport: Transport["Service"],
  definition: Definition,
  tickets: ReadonlyArray<Pick<Runs.RunRow, "key" | "tick" | "trigger">>
) {
  const { keep, name, what } = definition
  const now = yield* transport.clock
  const queue = what._tag === "Task" ? what.queue : undefined
  yield* Effect.forEach(
    tickets,
    (ticket) => Runs.write(transport, Runs.fresh({ ...ticket, name, age: keep.age, queue }, now), 0),
    { concurrency: 16, discard: true }
  )
  let dropped: ReadonlyArray<string> = []
  yield* State.states.update(transport, name, (state) => {
    const known = state ?? State.begin(undefined, Definitions.specOf(definition), now)
    const recorded = State.record(known, tickets.map(({ key }) => key), keep.count)
    dropped = recorded.dropped
    return recorded.state
  })
  yield* Runs.runs.remove(transport, dropped.map((key) => Runs.rowKey(name, key)))
})

/** Asks the processes that have the code of a job without a task to run it. */
export const request = Effect.fnUntraced(function*(
  transport: Transport["Service"],
  definition: Definition,
  tickets: ReadonlyArray<ReturnType<typeof Entry.ticketOf>>
) {
  const { name } = definition
  yield* enlist(transport, definition, tickets)
  yield* Effect.forEach(
    tickets,
    ({ key, overlap, tick, trigger }) =>
      requests.write(transport, Runs.rowKey(name, key), { name, key, tick, trigger, overlap }, 0),
    { concurrency: 16, discard: true }
  )
  yield* Definitions.announce(transport, name)
})

/** The definition of a job, and the ticks of a window. */
export const ticksOf = Effect.fnUntraced(function*(
  transport: Transport["Service"],
  name: string
): Effect.fn.Return<
  { readonly definition: Definition; readonly next: Schedule.Next },
  CronJobNotFound | TransportError
> {
  const definition = yield* existing(transport, name)
  return { definition, next: Entry.make(definition).next }
})

export const manualKey: Effect.Effect<string> = Effect.map(
  Effect.all(Arr.makeBy(2, () => Random.nextInt)),
  (numbers) => `manual-${numbers.map((number) => Math.abs(number).toString(36)).join("")}`
)

export const millisOf = (time: Time): number =>
  typeof time === "number" ? time : time instanceof Date ? time.getTime() : time.epochMilliseconds
