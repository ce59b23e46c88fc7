/**
 * What the cases are written with: a queue of their own, workers that can be
 * broken, a journal of what their handlers did, and time that passes on a
 * virtual clock as well as on a real one.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import * as Client from "../../Client.ts"
import type { Envelope } from "../../Envelope.ts"
import type * as Job from "../../Job.ts"
import type { JobState } from "../../JobRef.ts"
import * as Task from "../../Task.ts"
import { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import * as Worker from "../../Worker.ts"
import type { WorkerOptions } from "../../WorkerOptions.ts"
import * as Check from "../Check.ts"
import { TimePassing } from "../conformance/kit.ts"
import * as Faults from "../Faults.ts"
import { type Body, Journal, type Run } from "./journal.ts"
import { type Process, start } from "./process.ts"

export type { Body, Run } from "./journal.ts"
export type { Process } from "./process.ts"

/** One promise of the architecture's section 2, through the public API. */
export interface Case {
  readonly name: string
  readonly run: Effect.Effect<void, unknown, Transport | Scope>
}

/**
 * The lease of every worker unless a case says otherwise, ms. Short, and still longer than a busy machine lets a process
 * wait: two thirds of it may pass without a heartbeat.
 */
export const lease = 2_000

/** For cases in which no lease ends, ms: longer than any machine lets a process wait. */
export const longLease = 30_000

/** How much later than the end of a lease a job may be handed out again, ms. */
export const reclaim = 1_000

/** ms of real time that a case may take. */
const patience = { virtual: 20_000, live: 170_000 }

/** How long something that should happen at once may take, ms. */
const soon = 1_000

/** What most cases run: payload, success and error are texts. */
export type Work = Task.Task<"Work", typeof Schema.String, typeof Schema.String, typeof Schema.String>
export type WorkOptions = Task.Options<string, typeof Schema.String, typeof Schema.String>
export type WorkJob = Job.Job<string, string>

export interface OtherClient {
  readonly client: Client.Client["Service"]
  /** Breaks the connection of this client only. */
  readonly faults: Faults.Faults
  /** Runs an effect with this client in place of the case's own. */
  readonly run: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, Exclude<R, Client.Client>>
}

/** Ends at once. */
export const done = (run: Run): Effect.Effect<string> => Effect.succeed(`done: ${run.job}`)

/** Ends when somebody ends it. */
export const never: Body = () => Effect.never

export const define = <E>(
  name: string,
  body: (kit: Kit) => Effect.Effect<void, E, Client.Client | Transport | Scope>
): Case => ({
  name,
  run: Effect.gen(function*() {
    const transport = yield* Transport
    const number = yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)
    const kit = new Kit(transport, yield* TimePassing, `guarantee-${number.toString(36)}`)
    // the case's own process: its client and its operator
    const services = Layer.provideMerge(Client.layer, Layer.succeed(Transport, kit.faults.transport))
    const run = Effect.ensuring(Effect.provide(body(kit), services, { local: true }), kit.stopWorkers)
    yield* Effect.provide(kit.withPatience(run), surroundings, { local: true })
  })
})

/** Faults make workers complain, and no variable of the environment may change them. */
const surroundings = Layer.mergeAll(Logger.layer([]), ConfigProvider.layer(ConfigProvider.fromUnknown({})))

export class Kit {
  /** The broker itself, without any faults. */
  readonly transport: Transport["Service"]
  /** Breaks the connection of the case's own client. */
  readonly faults: Faults.Faults
  readonly queue: string
  readonly journal: Journal
  /** How much later than promised something may be seen, ms. */
  readonly slack: number
  /** The broker's clock. */
  readonly now: Effect.Effect<number>
  private readonly time: TimePassing
  private readonly isVirtual: boolean
  private readonly processes: Array<Process> = []
  private count = 0

  constructor(transport: Transport["Service"], time: TimePassing, queue: string) {
    this.transport = transport
    this.faults = Faults.make(transport)
    this.time = time
    this.queue = queue
    this.isVirtual = time.slack === 0
    this.slack = this.isVirtual ? 100 : time.slack
    this.now = Effect.orDie(transport.clock)
    this.journal = new Journal(this.now)
  }

  /** A name that nobody used before. */
  name(prefix: string): string {
    return `${prefix}-${this.queue}-${++this.count}`
  }

  // --- tasks and workers ---

  /** Retries after 500 ms unless the options say otherwise. */
  work(options: Partial<WorkOptions> = {}): Work {
    return Task.make("Work", {
      payload: Schema.String,
      success: Schema.String,
      error: Schema.String,
      queue: this.queue,
      retry: retryAfter500,
      ...options
    })
  }

  /** Starts a worker whose handler does `body`. */
  worker(work: Work, body: Body, options: WorkerOptions = {}): Effect.Effect<Process, unknown> {
    return this.launch((id) =>
      Worker.layer({ id, tasks: [work], idleTimeout: lease, ...options }).pipe(
        Layer.provide(work.toLayer(this.journal.watch(id, body)))
      )
    )
  }

  /** Starts a worker on a connection of its own. It ends with the case. */
  launch<E>(build: (id: string) => Layer.Layer<Worker.Worker, E, Transport>): Effect.Effect<Process, unknown> {
    return Effect.suspend(() => {
      const id = this.name("worker")
      const { journal, transport } = this
      return Effect.tap(
        this.within(10_000, start({ transport, journal, id, layer: build(id) }), "the start of a worker"),
        (process) => Effect.sync(() => this.processes.push(process))
      )
    })
  }

  /** Ends all workers without waiting for their handlers. Time passes meanwhile: finalizers may need it. */
  get stopWorkers(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(this.processes, ({ faults, shutdown, stopNow }) =>
        Effect.andThen(
          Effect.andThen(faults.heal, stopNow),
          Effect.ignoreCause(this.within(30_000, shutdown, "the end of a worker"))
        ), { concurrency: "unbounded", discard: true })
    )
  }

  /** Another client, on a connection of its own. */
  get client(): Effect.Effect<OtherClient, TransportError, Scope> {
    return this.tampering((envelopes) => envelopes)
  }

  /** A client whose jobs are changed on their way to the broker. */
  tampering(
    change: (envelopes: NonEmptyReadonlyArray<Envelope>) => NonEmptyReadonlyArray<Envelope>
  ): Effect.Effect<OtherClient, TransportError, Scope> {
    return Effect.suspend(() => {
      const { log } = this.transport
      const faults = Faults.make({
        ...this.transport,
        log: { ...log, send: (sent, generated) => log.send(change(sent), generated) }
      })
      return Effect.map(Effect.provideService(Client.make, Transport, faults.transport), (client) => ({
        client,
        faults,
        run: (effect) => Effect.provideService(effect, Client.Client, client)
      }))
    })
  }

  // --- time ---

  /** Lets the clock go on, and everything happen that happens meanwhile. */
  elapse(milliseconds: number): Effect.Effect<void> {
    return Effect.andThen(this.time.elapse(milliseconds), this.breathe)
  }

  /** Lets everything run that can run now; a virtual clock stands still. */
  get breathe(): Effect.Effect<void> {
    return this.isVirtual ? manyTurns : this.time.wait(5)
  }

  /** Lets time pass until `isDone`, for at most `limit` ms. Answers whether it was. */
  private pass(isDone: () => boolean, limit: number): Effect.Effect<boolean> {
    return Effect.gen({ self: this }, function*() {
      const end = (yield* this.now) + limit
      for (let step = 10;; step = Math.min(step + 10, 100)) {
        yield* this.breathe
        if (isDone()) return true
        const left = end - (yield* this.now)
        if (left <= 0) return false
        yield* this.time.elapse(Math.min(this.isVirtual ? step : 20, left))
      }
    })
  }

  /** Runs `effect` while time passes, and fails if it takes more than `limit` ms. */
  within<A, E, R>(limit: number, effect: Effect.Effect<A, E, R>, what: string): Effect.Effect<A, E, R> {
    return Effect.gen({ self: this }, function*() {
      const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
      const isOver = () => fiber.pollUnsafe() !== undefined
      if (yield* this.pass(isOver, limit + this.slack)) return yield* Fiber.join(fiber)
      fiber.interruptUnsafe()
      return Check.fail(`${what} took more than ${limit} ms; the runs so far: ${this.summary}`)
    })
  }

  /** Waits for something that should happen within `limit` ms. */
  until(isDone: () => boolean, what: string, limit = soon): Effect.Effect<void> {
    return Effect.map(this.pass(isDone, limit + this.slack), (ok) => {
      if (!ok) Check.fail(`${what} did not happen within ${limit} ms; the runs so far: ${this.summary}`)
    })
  }

  /** Asks until the answer is as expected, and answers it. */
  eventually<A, E, R>(
    ask: Effect.Effect<A, E, R>,
    isSo: (answer: A) => boolean,
    what: string,
    limit = soon
  ): Effect.Effect<A, E, R> {
    const look: Effect.Effect<A, E, R> = Effect.flatMap(
      ask,
      (answer) => isSo(answer) ? Effect.succeed(answer) : Effect.andThen(Effect.sleep(20), look)
    )
    return this.within(limit, look, what)
  }

  /** Waits until the broker says that the job is in this state. */
  reached(job: WorkJob, state: JobState): Effect.Effect<unknown, unknown> {
    return this.eventually(job.status, (found) => found === state, `state "${state}" of job ${job.id}`)
  }

  /** Insists that something does not happen for this long. */
  never(happens: () => boolean, what: string, during: number): Effect.Effect<void> {
    return Effect.map(this.pass(happens, during), (broken) => {
      if (broken) Check.fail(`${what}; the runs so far: ${this.summary}`)
    })
  }

  withPatience<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    const limit = this.isVirtual ? patience.virtual : patience.live
    const impatient = Effect.flatMap(
      this.time.wait(limit),
      () => Effect.sync(() => Check.fail(`the case does not end; the runs so far: ${this.summary}`))
    )
    return Effect.raceFirst(effect, impatient)
  }

  // --- views ---

  /** Enqueues these jobs one after the other, and insists that each is new. */
  enqueue(work: Work, ...names: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<WorkJob>, unknown, Client.Client> {
    return Effect.forEach(
      names,
      (name) =>
        Effect.tap(
          work.enqueue(name),
          (job) => Effect.sync(() => Check.isTrue(!job.duplicate, `job ${name} is said to be a duplicate`))
        )
    )
  }

  /** Waits until the job was started as many times, and answers the last of these runs. */
  started(job: string, times = 1, limit?: number): Effect.Effect<Run> {
    const run = () => this.journal.of(job)[times - 1]
    // its time is read once it runs
    const isStarted = () => !Number.isNaN(run()?.startedAt ?? Number.NaN)
    return Effect.map(
      this.until(isStarted, `run ${times} of job ${job}`, limit),
      () => Check.present(run(), `run ${times} of job ${job}`)
    )
  }

  /** How the job ended, in words: `succeeded: …`, `error: …`, `JobFailed: Poison`, `JobCancelled`, … */
  outcome(job: WorkJob, limit = soon): Effect.Effect<string> {
    return Effect.map(this.within(limit, Effect.exit(job.await), `the end of job ${job.id}`), describe)
  }

  private get summary(): string {
    return this.journal.runs.map((run) => `${run.job}#${run.attempt} ${run.outcome} on ${run.worker}`).join(", ") ||
      "none"
  }
}

const retryAfter500 = Schedule.spaced("500 millis")

const manyTurns = Effect.repeat(Effect.yieldNow, { times: 20 })

const describe = (exit: Exit.Exit<string, unknown>): string => {
  if (Exit.isSuccess(exit)) return `succeeded: ${exit.value}`
  const reason = exit.cause.reasons[0]
  if (reason?._tag !== "Fail") return `no end: ${String(exit.cause)}`
  const { error } = reason
  if (typeof error === "string") return `error: ${error}`
  if (typeof error !== "object" || error === null || !("_tag" in error)) return `no end: ${String(error)}`
  return "reason" in error && typeof error.reason === "string"
    ? `${String(error._tag)}: ${error.reason}`
    : String(error._tag)
}
