/**
 * Work on a schedule: each tick runs once, however many processes schedule it.
 *
 * A tick is a job of its task: it is delivered at least once, retried and
 * recorded like any other, and its id is made of the name and the tick, so that
 * schedulers need no leader. By default one run of a job is at work at a time,
 * across all workers, under a lock. Schedules are written into the broker: they
 * outlive the processes that registered them, and can be changed from any process.
 */
import * as Arr from "effect/Array"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Scope } from "effect/Scope"
import * as Client from "./Client.ts"
import { Codec } from "./Codec.ts"
import { type CronJobNotFound, InvalidCronJob } from "./CronError.ts"
import type { CronOptions, Time } from "./CronOptions.ts"
import * as CronScheduler from "./CronScheduler.ts"
import type { EnqueueError } from "./EnqueueError.ts"
import type { NewJob } from "./EnqueueOptions.ts"
import * as Admin from "./internal/cron/admin.ts"
import * as Define from "./internal/cron/define.ts"
import * as Definitions from "./internal/cron/definition.ts"
import * as Entry from "./internal/cron/entry.ts"
import { TimedOut } from "./internal/cron/inline.ts"
import * as Runs from "./internal/cron/runs.ts"
import * as State from "./internal/cron/state.ts"
import * as Ticks from "./internal/cron/ticks.ts"
import type { Ticket } from "./internal/cronHeader.ts"
import * as Task from "./Task.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"

export { CronJobNotFound, InvalidCronJob } from "./CronError.ts"
export type { CronOptions, Expression, Time } from "./CronOptions.ts"
export { CronRun, Current } from "./CronRun.ts"
export { get, history, historyStream, list, pause, prune, remove, resume, runs } from "./internal/cron/admin.ts"
export type { CronJobInfo } from "./internal/cron/admin.ts"

type PayloadOf<T extends Task.Any> = T["payloadSchema"]["~type.make.in"]

type WithPayload<T extends Task.Any, Payload> = undefined extends PayloadOf<T> ? {
    readonly payload?: Payload | undefined
  }
  : { readonly payload: Payload }

interface TaskOf<T extends Task.Any> {
  readonly task: T
  /** One of `Priority.Levels`. Default: the task's own. */
  readonly priority?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** A job that enqueues a task. A payload that is a function of the tick needs a process that has its code. */
export type TaskOptions<T extends Task.Any> =
  & CronOptions
  & TaskOf<T>
  & WithPayload<T, PayloadOf<T> | ((tick: DateTime.Utc) => PayloadOf<T>)>

/** What any process may register: the payload is a value. */
export type UpsertOptions<T extends Task.Any> = CronOptions & TaskOf<T> & WithPayload<T, PayloadOf<T>>

/**
 * A job without a task, for housekeeping: it runs in one of the schedulers that
 * have its code, at most once per tick. It is not tried again.
 */
export type ExecuteOptions<E, R> = CronOptions & {
  readonly execute: Effect.Effect<unknown, E, R>
  /** Time limit of a run. Default: none. */
  readonly timeout?: Duration.Input | undefined
}

/** A job as a value: several of them become one layer with `layerAll`. */
export interface CronJob<out R> {
  readonly name: string
  readonly register: (
    scheduler: CronScheduler.CronScheduler["Service"]
  ) => Effect.Effect<void, EnqueueError | TransportError, Transport | R>
}

type AnyTaskOptions = CronOptions & TaskOf<Task.Any> & { readonly payload?: unknown }

const describe = (
  plan: Define.Plan,
  job: NewJob,
  isFixed: boolean
): Omit<Definitions.Definition, "origin" | "paused"> => {
  const { body, contentType, headers, key, priority, queue, task } = job
  return {
    ...plan,
    what: {
      _tag: "Task",
      task,
      queue,
      ...(priority === undefined ? {} : { priority }),
      ...(headers === undefined ? {} : { headers }),
      ...(key === undefined || !isFixed ? {} : { key }),
      ...(isFixed ? { payload: { contentType, base64: Base64.encode(body) } } : {})
    }
  }
}

const writeDefinition = (
  transport: Transport["Service"],
  definition: Omit<Definitions.Definition, "origin" | "paused">,
  origin: "code" | "dynamic"
): Effect.Effect<void, TransportError> =>
  Effect.gen(function*() {
    const { name } = definition
    const now = yield* transport.clock
    // what an operator has paused stays so
    const next = (before: Definitions.Definition | undefined): Definitions.Definition => ({
      ...definition,
      origin,
      paused: before?.paused ?? false
    })
    yield* Definitions.change(transport, name, next)
    const spec = Definitions.specOf(next(undefined))
    yield* State.states.update(
      transport,
      name,
      (state) => state?.spec === spec ? undefined : State.begin(state, spec, now)
    )
  })

const taskJob = (name: string, options: AnyTaskOptions): CronJob<never> => {
  const plan = Define.plan(name, options)
  const { headers, payload, priority, task } = options
  const encode = (value: unknown, codec: Codec) => Task.toNewJob(task, value, { headers, priority }, codec)
  return {
    name,
    register: (scheduler) =>
      Effect.gen(function*() {
        const transport = yield* Transport
        const codec = yield* Codec
        // the schema's services are among them: the layer requires them
        const context = yield* Effect.context<never>()
        if (typeof payload !== "function") {
          const job = yield* encode(payload, codec)
          const write = writeDefinition(transport, describe(plan, job, true), "code")
          return yield* scheduler.register(undefined, write, name)
        }
        const toJob = (tick: number) =>
          Effect.provideContext(Effect.suspend(() => encode(payload(DateTime.makeUnsafe(tick)), codec)), context)
        const frame: NewJob = {
          task: task._tag,
          queue: task.queue,
          body: new Uint8Array(0),
          contentType: "",
          headers,
          priority: priority ?? task.policy.priority
        }
        yield* scheduler.register({ toJob }, writeDefinition(transport, describe(plan, frame, false), "code"), name)
      })
  }
}

const executeJob = <E, R>(name: string, options: ExecuteOptions<E, R>): CronJob<R> => {
  const plan = Define.plan(name, options)
  const timeout = options.timeout === undefined ? undefined : Duration.fromInput(options.timeout)
  if (timeout !== undefined && (Option.isNone(timeout) || !Duration.isFinite(timeout.value))) {
    throw new InvalidCronJob({ name, description: `timeout must be a finite duration, got ${String(options.timeout)}` })
  }
  return {
    name,
    register: (scheduler) =>
      Effect.gen(function*() {
        const transport = yield* Transport
        const context = yield* Effect.context<R>()
        const body = timeout === undefined ? options.execute : Effect.timeoutOrElse(options.execute, {
          duration: timeout.value,
          orElse: () => Effect.fail(new TimedOut({ timeout: Duration.toMillis(timeout.value) }))
        })
        const definition = { ...plan, what: { _tag: "Execute" as const } }
        yield* scheduler.register(
          { execute: Effect.provideContext(body, context) },
          writeDefinition(transport, definition, "code"),
          name
        )
      })
  }
}

/** Defines a job, of a task or with an effect of its own. Throws `InvalidCronJob` for options that cannot work. */
export const make: {
  <T extends Task.Any>(
    name: string,
    options: TaskOptions<T>
  ): CronJob<T["payloadSchema"]["EncodingServices"]>
  <E, R>(name: string, options: ExecuteOptions<E, R>): CronJob<Exclude<R, Scope>>
} = (name: string, options: AnyTaskOptions | ExecuteOptions<unknown, unknown>): CronJob<never> =>
  "execute" in options
    // the erased boundary of this file: what a job requires is told by the overloads
    ? executeJob(name, { ...options, execute: Effect.scoped(options.execute) }) as CronJob<never>
    : taskJob(name, options)

/**
 * Schedules these jobs as long as the layer lives. With `prune`, jobs that code
 * registered before and that are not among these are removed from the broker:
 * only for a program that defines all of them in one place.
 */
export const layerAll = <const Jobs extends ReadonlyArray<CronJob<unknown>>>(
  jobs: Jobs,
  options: { readonly prune?: boolean | undefined } = {}
): Layer.Layer<never, EnqueueError | TransportError, Transport | ServicesOf<Jobs[number]>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const scheduler = yield* CronScheduler.CronScheduler
    for (const job of jobs as ReadonlyArray<CronJob<ServicesOf<Jobs[number]>>>) yield* job.register(scheduler)
    if (options.prune !== true) return
    const removed = yield* Admin.prune({ keep: jobs.map(({ name }) => name) })
    if (removed.length > 0) yield* Effect.logInfo(`Cron jobs removed from the broker: ${removed.join(", ")}`)
  })).pipe(Layer.provide(CronScheduler.layer))

type ServicesOf<Job> = Job extends CronJob<infer R> ? R : never

/** Schedules one job as long as the layer lives. All such layers of a program share one scheduler. */
export const layer: {
  <T extends Task.Any>(
    name: string,
    options: TaskOptions<T>
  ): Layer.Layer<never, EnqueueError | TransportError, Transport | T["payloadSchema"]["EncodingServices"]>
  <E, R>(
    name: string,
    options: ExecuteOptions<E, R>
  ): Layer.Layer<never, EnqueueError | TransportError, Transport | Exclude<R, Scope>>
} = (name: string, options: AnyTaskOptions | ExecuteOptions<unknown, unknown>) =>
  layerAll([make(name, options as ExecuteOptions<unknown, never>)])

/**
 * Creates or changes a job from any process. It runs wherever a scheduler is
 * alive (`CronJob.layer`, `CronScheduler.layer`), and until it is removed. A
 * changed schedule begins now; what was due by the old one is not caught up.
 */
export const upsert = <T extends Task.Any>(
  name: string,
  options: UpsertOptions<T>
): Effect.Effect<
  void,
  InvalidCronJob | EnqueueError | TransportError,
  Transport | T["payloadSchema"]["EncodingServices"]
> =>
  Effect.gen(function*() {
    const { headers, payload, priority, task } = options as AnyTaskOptions
    const plan = yield* Effect.try({
      try: () => Define.plan(name, options),
      catch: (error) =>
        error instanceof InvalidCronJob ? error : new InvalidCronJob({ name, description: String(error) })
    })
    const transport = yield* Transport
    const job = yield* Task.toNewJob(task, payload, { headers, priority }, yield* Codec)
    yield* writeDefinition(transport, describe(plan, job, true), "dynamic")
  })

/** Runs a job or some ticks of it, now: enqueued here if the broker knows the payload, else where its code is. */
const start = Effect.fnUntraced(function*(
  definition: Definitions.Definition,
  tickets: ReadonlyArray<Ticket>
): Effect.fn.Return<void, EnqueueError | TransportError, Transport | Client.Client> {
  const transport = yield* Transport
  const client = yield* Client.Client
  const stored = Entry.storedJob(definition)
  if (stored === undefined) return yield* Admin.request(transport, definition, tickets)
  for (const chunk of Arr.chunksOf(tickets, 200)) {
    const outcomes = yield* client.send(Arr.map(chunk, (ticket) => Entry.runOf(stored, ticket, {})))
    for (const outcome of outcomes) if (Result.isFailure(outcome)) return yield* outcome.failure
    yield* Admin.enlist(transport, definition, chunk)
  }
})

/** How a run on request treats other runs of the job. */
export interface StartOptions {
  readonly overlap?: "skip" | "allow" | "queue" | undefined
}

/**
 * Runs a job now, beside its schedule, also while it is paused. Answers the id
 * of the run: that of its job (`Job.fromId`), if it has a task.
 */
export const trigger = (
  name: string,
  options: StartOptions = {}
): Effect.Effect<string, CronJobNotFound | EnqueueError | TransportError, Transport | Client.Client> =>
  Effect.gen(function*() {
    const transport = yield* Transport
    const { definition } = yield* Admin.ticksOf(transport, name)
    const key = yield* Admin.manualKey
    const tick = yield* transport.clock
    yield* start(definition, [Entry.ticketOf(definition, { ...options, key, tick, trigger: "manual" })])
    return Runs.idOf(name, key)
  })

/** Ticks of one backfill. */
const mostBackfill = 10_000

/**
 * Runs all ticks of a window, both ends included, whether they ran before or
 * not: one after the other unless `overlap` says otherwise. The same tick is
 * backfilled once while the record of its job lives. Answers how many ticks
 * there are; at most 10,000.
 */
export const backfill = (
  name: string,
  options: StartOptions & { readonly from: Time; readonly to: Time }
): Effect.Effect<number, CronJobNotFound | EnqueueError | TransportError, Transport | Client.Client> =>
  Effect.gen(function*() {
    const { definition, next } = yield* Admin.ticksOf(yield* Transport, name)
    const ticks = Ticks.between(next, Admin.millisOf(options.from) - 1, Admin.millisOf(options.to), mostBackfill)
    yield* start(
      definition,
      ticks.map((tick) =>
        Entry.ticketOf(definition, {
          key: `backfill-${Entry.keyOf(tick)}`,
          tick,
          trigger: "backfill",
          overlap: options.overlap ?? "queue"
        })
      )
    )
    return ticks.length
  })
