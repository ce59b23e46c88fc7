/**
 * Runs the handlers of tasks under supervision, for as long as a scope is open.
 *
 * What the Layers of the handlers acquire is acquired once, before the first
 * job, and released after the last. Closing the scope drains the worker: it
 * stops pulling, hands back what it has not started, lets running handlers
 * finish within the grace period and releases the rest, uncounted.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Clock from "effect/Clock"
import type { ConfigError } from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as LogLevel from "effect/LogLevel"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import type { Scope } from "effect/Scope"
import { pauseTopic } from "./Bus.ts"
import { PayloadLimit } from "./Client.ts"
import * as Codec from "./Codec.ts"
import { Health, type QueueHealth } from "./Health.ts"
import * as Emitter from "./internal/emitter.ts"
import * as Handler from "./internal/handler.ts"
import { isPaused } from "./internal/pause.ts"
import * as Readiness from "./internal/telemetry/readiness.ts"
import * as Recorder from "./internal/telemetry/recorder.ts"
import * as Tracing from "./internal/telemetry/tracing.ts"
import * as Limits from "./internal/worker/limits.ts"
import * as Presence from "./internal/worker/presence.ts"
import type { RegisteredTask, Settings } from "./internal/worker/settings.ts"
import { StopNow } from "./internal/worker/stopNow.ts"
import type { Suspects } from "./internal/worker/suspects.ts"
import type { QueueStats } from "./JobLog.ts"
import { Signing } from "./Signing.ts"
import * as Supervisor from "./Supervisor.ts"
import type * as Task from "./Task.ts"
import { QueueStatsInterval } from "./Telemetry.ts"
import { Transport } from "./Transport.ts"
import type { TransportError } from "./TransportError.ts"
import { DuplicateTask, ForeignHandler, WorkerError } from "./WorkerError.ts"
import type { WorkerOptions } from "./WorkerOptions.ts"

export { runMain } from "./internal/runMain.ts"
export type { WorkerInfo } from "./internal/worker/presence.ts"
export { StopNow } from "./internal/worker/stopNow.ts"

export interface Options<Tasks extends NonEmptyReadonlyArray<Task.Any>> extends WorkerOptions<Tasks[number]["_tag"]> {
  readonly tasks: Tasks
}

/** A running worker. */
export class Worker extends Context.Service<Worker, {
  readonly id: string
  readonly queues: ReadonlyArray<string>
  /** Jobs whose handler runs now. */
  readonly running: Effect.Effect<number>
  /** Jobs in hand: waiting for a slot, running or not yet settled. */
  readonly held: Effect.Effect<number>
  /** Jobs that this worker ended. */
  readonly finished: Effect.Effect<number>
  /** Waits until nothing is in hand. More may come. */
  readonly idle: Effect.Effect<void>
}>()("@troupe/core/Worker") {}

type Requirements<Tasks extends NonEmptyReadonlyArray<Task.Any>> = Task.ToHandler<Tasks[number]> | Transport

/** Bytes of a record beside its value. */
const recordRoom = 8_192

/** ms within which a broker's answer says what time it is there. */
const quickAnswer = 100

type Queues = Map<string, Map<string, RegisteredTask>>

/** The tasks by queue, each with its handler from the context. */
const register = Effect.fnUntraced(function*(tasks: ReadonlyArray<Task.Any>): Effect.fn.Return<Queues, WorkerError> {
  const context = yield* Effect.context<never>()
  const seen = new Map<string, Task.Any>()
  const queues: Queues = new Map()
  for (const task of tasks) {
    const twin = seen.get(task._tag)
    if (twin !== undefined) {
      const [first, second] = [twin, task].map((one) => `task "${one._tag}" of queue "${one.queue}"`)
      return yield* new WorkerError({ reason: new DuplicateTask({ task: task._tag, first: first!, second: second! }) })
    }
    seen.set(task._tag, task)
    const handler = Context.getOption(context, Handler.key(task._tag))
    if (Option.isNone(handler) || handler.value.policy !== task.policy) {
      return yield* new WorkerError({ reason: new ForeignHandler({ task: task._tag }) })
    }
    const ofQueue = queues.get(task.queue) ?? new Map<string, RegisteredTask>()
    queues.set(task.queue, ofQueue.set(task._tag, { policy: task.policy, handler: handler.value }))
  }
  return queues
})

/** Starts a worker that lives as long as the scope. */
export const make = <const Tasks extends NonEmptyReadonlyArray<Task.Any>>(
  options: Options<Tasks>
): Effect.Effect<
  Worker["Service"],
  WorkerError | ConfigError | TransportError,
  Requirements<Tasks> | Scope
> => makeWith(options, true)

const makeWith = <const Tasks extends NonEmptyReadonlyArray<Task.Any>>(
  options: Options<Tasks>,
  givesWay: boolean
): Effect.Effect<
  Worker["Service"],
  WorkerError | ConfigError | TransportError,
  Requirements<Tasks> | Scope
> =>
  start(options, givesWay) as Effect.Effect<
    Worker["Service"],
    WorkerError | ConfigError | TransportError,
    Transport | Scope
  >

const start = Effect.fnUntraced(function*(options: Options<NonEmptyReadonlyArray<Task.Any>>, givesWay: boolean) {
  const transport = yield* Transport
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const registered = yield* register(options.tasks)
  const served = yield* Limits.servedQueues(options, new Set(registered.keys()))
  const queues = [...registered].filter(([queue]) => served.has(queue))
  const tags = queues.flatMap(([, tasks]) => [...tasks.keys()])
  const limits = yield* Limits.resolve(options, new Set(options.tasks.map((task) => task._tag)))
  const stopNow = yield* StopNow
  const codec = yield* Codec.Codec
  // a record carries little beside the value
  const resultLimit = Math.min(
    yield* PayloadLimit,
    (transport.capabilities.maxMessageBytes ?? Number.POSITIVE_INFINITY) - recordRoom
  )
  const accepted = [...yield* Codec.Accepted, codec]

  // the broker answered at some time between question and answer: a slow answer says little
  const measureClock = Effect.suspend(() => {
    const asked = clock.currentTimeMillisUnsafe()
    return Effect.map(
      transport.clock,
      (time) => ({ least: time - clock.currentTimeMillisUnsafe(), most: time - asked })
    )
  })
  // asked again after a slow answer, as of a broker that stood still
  const { least, most } = yield* Effect.repeat(measureClock, {
    until: ({ least, most }) => most - least <= quickAnswer,
    times: 2
  })
  let clockOffset = Math.round((least + most) / 2)
  const context = yield* Effect.context<never>()
  const settings: Settings = {
    ...limits,
    transport,
    clock,
    signing: yield* Signing,
    encoding: { codec, limit: resultLimit },
    accepted: new Map(accepted.map((one) => [one.contentType, one])),
    emitter: yield* Emitter.make,
    givesWay,
    now: () => clock.currentTimeMillisUnsafe() + clockOffset,
    jittered: (milliseconds) => Math.ceil(milliseconds * (1 - random.nextDoubleUnsafe() / 2)),
    context,
    recorder: Recorder.of(context),
    tracing: Tracing.ofContext(context),
    queueStatsInterval: Duration.toMillis(yield* QueueStatsInterval),
    debug: LogLevel.isLessThanOrEqualTo(yield* References.MinimumLogLevel, "Debug")
  }

  const startedAt = clock.currentTimeMillisUnsafe()
  const supervisors: Array<Supervisor.Supervisor> = []
  // outlives the drain
  yield* (yield* Health).register(() => ({
    id: limits.id,
    queues: queues.map(([queue], i) => supervisors[i]?.vitals.report() ?? notStarted(queue, startedAt))
  }))
  const sum = (count: (supervisor: Supervisor.Supervisor) => number) =>
    supervisors.reduce((total, supervisor) => total + count(supervisor), 0)
  const renewPresence = yield* Presence.register(transport, () => ({
    id: limits.id,
    startedAt,
    queues: queues.map(([queue]) => queue),
    tasks: tags,
    concurrency: limits.concurrency,
    running: sum((supervisor) => supervisor.running()),
    finished: sum((supervisor) => supervisor.finished())
  }))

  const suspects: Suspects = { count: 0, since: 0, leaving: 0, starts: [] }
  for (const [queue, tasks] of queues) {
    const supervisor = yield* Supervisor.make(settings, queue, tasks, suspects)
    supervisors.push(supervisor)
    yield* Readiness.tell(settings, queue, supervisor.vitals)
  }

  const followPause = ({ queue, setPaused, vitals }: Supervisor.Supervisor) =>
    Effect.flatMap(vitals.ask(isPaused(transport, queue)), setPaused)
  const everySecond = Effect.gen(function*() {
    const { least, most } = yield* measureClock
    clockOffset = Math.min(Math.max(clockOffset, least), most)
    yield* renewPresence
  })
  // each by itself: they may be of different nodes of a cluster, and one that does not answer must not hide the others
  for (const periodic of [everySecond, ...supervisors.map(followPause)]) {
    yield* Effect.forkScoped(Effect.repeat(Effect.ignore(periodic), Schedule.spaced(Presence.tick)))
  }

  // before the first pull: a start that fails or is interrupted half-way has jobs in hand, too
  yield* Effect.addFinalizer(() => {
    const graceOver = Effect.raceFirst(Effect.sleep(limits.gracePeriod), stopNow)
    return Effect.andThen(
      Effect.logInfo(`Worker "${limits.id}" drains ${sum((supervisor) => supervisor.held())} jobs in hand`),
      Effect.forEach(supervisors, (supervisor) => supervisor.drain(graceOver), {
        concurrency: "unbounded",
        discard: true
      })
    )
  })

  const fork = Effect.runForkWith(settings.context)
  for (const supervisor of supervisors) {
    yield* transport.bus.subscribe(pauseTopic(supervisor.queue), () => {
      fork(Effect.ignore(followPause(supervisor)))
    })
    yield* followPause(supervisor)
    yield* supervisor.start
  }

  yield* Effect.logInfo(
    `Worker "${limits.id}" started on transport "${transport.name}": ` +
      `queues ${queues.map(([queue]) => queue).join(", ")}; tasks ${tags.join(", ")}; ` +
      `concurrency ${limits.concurrency}${showLimits(limits.taskConcurrency)}, prefetch ${limits.prefetch}, ` +
      `priorities ${limits.priorities.join(" < ")}, idleTimeout ${limits.idleTimeout} ms, ` +
      `gracePeriod ${limits.gracePeriod} ms, maxDeliveries ${limits.maxDeliveries}, ` +
      `unknownTaskTimeout ${limits.unknownTaskTimeout} ms`
  )

  return Worker.of({
    id: limits.id,
    queues: queues.map(([queue]) => queue),
    running: Effect.sync(() => sum((supervisor) => supervisor.running())),
    held: Effect.sync(() => sum((supervisor) => supervisor.held())),
    finished: Effect.sync(() => sum((supervisor) => supervisor.finished())),
    idle: Effect.forEach(supervisors, (supervisor) => supervisor.idle, { discard: true })
  })
})

const notStarted = (queue: string, since: number): QueueHealth => ({
  queue,
  state: "starting",
  since,
  reason: undefined
})

const showLimits = (taskConcurrency: ReadonlyMap<string, number>) =>
  taskConcurrency.size === 0
    ? ""
    : ` (${Array.from(taskConcurrency, ([task, limit]) => `${task} ${limit}`).join(", ")})`

/** A worker as a Layer. A missing handler and a missing service are compile errors. */
export const layer = <const Tasks extends NonEmptyReadonlyArray<Task.Any>>(
  options: Options<Tasks>
): Layer.Layer<Worker, WorkerError | ConfigError | TransportError, Requirements<Tasks>> =>
  Layer.effect(Worker, make(options))

/** What a burst did and left. */
export interface BurstReport {
  /** Jobs that this worker ended. */
  readonly finished: number
  /** Jobs that wait for a later time, in all queues served. */
  readonly scheduled: number
  /** Due jobs that this worker does not get: of a paused queue, of a level it does not serve, of a key whose head waits. */
  readonly queued: number
}

/** ms between two looks at the queues of an idle burst. */
const burstPoll = 100

/** Looks without any change after which the jobs that are due count as out of reach. */
const burstPatience = 20

/**
 * Runs a worker until nothing is due in its queues any more, then drains it.
 * Delayed jobs and retries are not waited for, nor is what stays queued though
 * this worker is idle for 2 seconds; the report counts both.
 */
export const burst = <const Tasks extends NonEmptyReadonlyArray<Task.Any>>(
  options: Options<Tasks>
): Effect.Effect<
  BurstReport,
  WorkerError | ConfigError | TransportError,
  Requirements<Tasks>
> =>
  Effect.scoped(Effect.gen(function*() {
    const { log } = yield* Transport
    // it runs all of it in any case: what gave way would only be due later
    const worker = yield* makeWith(options, false)
    let before = ""
    let unchanged = 0
    while (true) {
      yield* worker.idle
      const stats = yield* Effect.forEach(worker.queues, (queue) => log.stats(queue))
      const total = (count: (one: QueueStats) => number) => stats.reduce((sum, one) => sum + count(one), 0)
      const report: BurstReport = {
        finished: yield* worker.finished,
        scheduled: total((one) => one.scheduled),
        queued: total((one) => one.queued)
      }
      const now = JSON.stringify([report, total((one) => one.running)])
      unchanged = now === before ? unchanged + 1 : 0
      before = now
      if ((yield* worker.held) === 0 && (report.queued === 0 || unchanged >= burstPatience)) return report
      yield* Effect.sleep(burstPoll)
    }
  }))
