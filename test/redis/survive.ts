/**
 * Runs jobs of every kind on a few queues, breaks something meanwhile, and lets
 * the invariant checker judge what it came to.
 */
import * as Client from "@troupe/core/Client"
import type { Execution } from "@troupe/core/Execution"
import type { Job } from "@troupe/core/Job"
import * as Task from "@troupe/core/Task"
import { Invariants } from "@troupe/core/testing"
import { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Worker from "@troupe/core/Worker"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { expect } from "vitest"

export interface Ordeal {
  /** How workers and the producer get to Redis, each on connections of its own. */
  readonly transport: Layer.Layer<Transport, unknown>
  /** How the producer gets there, and whoever checks afterwards. Default: like the workers. */
  readonly producer?: Layer.Layer<Transport, unknown>
  readonly queues: ReadonlyArray<string>
  /** Called once jobs flow; they go on flowing until it is over, and a while longer. */
  readonly strike: () => Promise<unknown>
  /** The broker may forget settlements, though no job: what ran may run again, attempts and turns included. */
  readonly forgetful?: boolean
  /** Jobs per queue that are enqueued before the strike, and none after it. Default: they flow. */
  readonly before?: number
  /** ms. Default: 2 seconds. */
  readonly lease?: number
}

export interface Survived {
  readonly jobs: number
  /** Jobs that ran more often than they had to. */
  readonly repeated: number
  /** Runs that were not the first hand-out of their attempt. */
  readonly recounted: number
  /** The longest time in which no job of the first queue started, ms. */
  readonly pause: number
  /** The same, less what this process stood still meanwhile: how long the jobs waited for the broker. */
  readonly wait: number
}

const handlerTime = 10
const pace = 8
const delay = 300
const retryDelay = 100

/** Kinds of jobs, by the last digit of their number. */
const isKeyed = (n: number) => n % 10 < 3
const isDelayed = (n: number) => n % 10 === 3
const failsFirst = (n: number) => n % 10 === 4

const define = (queue: string) =>
  class Work extends Task.make(`Work of ${queue}`, {
    payload: Schema.Number,
    success: Schema.Number,
    error: Schema.String,
    maxAttempts: 3,
    retry: Schedule.spaced(retryDelay),
    queue
  }) {}

/** A run as it is written down; its end is filled in. */
type Run = { -readonly [K in keyof Invariants.Run]: Invariants.Run[K] }

const handler = (history: Invariants.Draft, worker: string) => (n: number, execution: Execution) =>
  Effect.suspend(() => {
    const { attempt, deliveries, id, queue } = execution
    const run: Run = {
      queue,
      id,
      worker,
      attempt,
      deliveries,
      startedAt: Date.now(),
      endedAt: undefined,
      outcome: undefined
    }
    // the broker has taken it from whoever had it: a count that is not greater would be a second hand-out of one lease
    for (const one of history.runs) {
      const earlier: Run = one
      if (one.id === id && one.queue === queue && one.attempt === attempt && one.deliveries < deliveries) {
        earlier.leaseLostAt ??= run.startedAt
      }
    }
    history.runs.push(run)
    const fails = failsFirst(n) && attempt === 1
    return Effect.sleep(handlerTime).pipe(
      Effect.flatMap(() => fails ? Effect.fail("the first attempt") : Effect.succeed(n)),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          run.endedAt = Date.now()
          run.outcome = Exit.isSuccess(exit)
            ? "succeeded"
            : Cause.hasInterruptsOnly(exit.cause)
            ? "interrupted"
            : "failed"
          if (run.outcome === "failed") run.delay = retryDelay
        })
      )
    )
  })

/** How often our own process shows that it goes on, ms. */
const beat = 50

/** Says how long our own process stood still in a time: the machine was busy, and no job could start. */
const watchStandstills = () => {
  const standstills: Array<readonly [from: number, to: number]> = []
  let last = Date.now()
  const look = () => {
    const now = Date.now()
    if (now - last > 2 * beat) standstills.push([last, now])
    last = now
  }
  const timer = setInterval(look, beat)
  return {
    within: (from: number, to: number) =>
      standstills.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(to, end) - Math.max(from, start)), 0),
    stop: () => clearInterval(timer)
  }
}

/** Where jobs are, not what they have been through. */
const aboutPlaces: ReadonlySet<string> = new Set(["Loss", "TwoPlaces", "Unfinished", "UnknownJob"])

/** Until it is taken: a producer that gets no answer asks again. */
const insisting = <A, E>(
  enqueue: Effect.Effect<A, E | TransportError, Client.Client>
): Effect.Effect<A, unknown, Client.Client> =>
  Effect.retry(enqueue, {
    while: (error) =>
      typeof error === "object" && error !== null && "reason" in error && error.reason !== null &&
      typeof error.reason === "object" && "_tag" in error.reason && error.reason._tag === "Unavailable",
    schedule: Schedule.spaced(100)
  })

/** Answers when everything has ended as promised. */
export const survive = async (
  { before, forgetful = false, lease = 2_000, producer, queues, strike, transport }: Ordeal
): Promise<Survived> => {
  const history = Invariants.empty()
  const standstills = watchStandstills()
  const [first, ...others] = queues.map(define)
  const tasks = [first!, ...others] as const
  let struck: Promise<unknown> | undefined
  let ready = 0
  let overAt = Infinity

  const produce = (Work: ReturnType<typeof define>) =>
    Effect.gen(function*() {
      const jobs: Array<Job<number, string>> = []
      const goOn = (n: number) => before === undefined ? Date.now() < overAt + 500 : n < before
      for (let n = 0; goOn(n); n++) {
        const acceptedAt = Date.now()
        const id = `${n}`
        const key = isKeyed(n) ? `key ${n % 10}` : undefined
        const options = { id, key, ...(isDelayed(n) ? { delay } : {}) }
        const job = yield* insisting(Work.enqueue(n, options))
        const acceptedBy = Date.now()
        const later = isDelayed(n) ? delay : 0
        history.sent.push({
          queue: Work.queue,
          id,
          task: Work._tag,
          key,
          order: n,
          maxAttempts: 3,
          expiresAt: undefined,
          acceptedAt,
          acceptedBy,
          dueAt: acceptedAt + later,
          dueBy: acceptedBy + later
        })
        jobs.push(job)
        if (n === (before ?? 50) - 1) {
          ready++
          if (before === undefined || ready === queues.length) {
            struck ??= strike().finally(() => overAt = Date.now())
            struck.catch(() => {})
          }
        }
        if (before === undefined) yield* Effect.sleep(pace)
      }
      return jobs
    })

  const workers = ["a", "b"].map((id) => {
    const handlers = (Work: ReturnType<typeof define>) => Work.toLayer(handler(history, id))
    return Worker.layer({ id, tasks, concurrency: 8, idleTimeout: lease }).pipe(
      Layer.provide([handlers(first!), ...others.map(handlers)]),
      Layer.provide(Layer.fresh(transport))
    )
  })

  const program = Effect.gen(function*() {
    const produced = yield* Effect.forEach(tasks, produce, { concurrency: "unbounded" })
    yield* Effect.promise(async () => struck)
    yield* Effect.forEach(
      produced.flat(),
      (job) => Effect.timeout(job.await, "30 seconds"),
      { concurrency: "unbounded", discard: true }
    )
    const { log } = yield* Transport
    // the last settlements may still be repeated
    for (const queue of queues) {
      for (let look = 0;; look++) {
        const { dead, queued, running, scheduled } = yield* log.stats(queue)
        if (queued + running + scheduled + dead === 0) break
        if (look === 100) expect({ dead, queued, running, scheduled }).toEqual({})
        yield* Effect.sleep(100)
      }
    }
    for (const look of [Invariants.observe, Invariants.observeListings]) {
      history.observations.push(...(yield* look(history.sent)))
    }
    const violations = Invariants.check(history, { finished: true, tolerance: 50 })
    const counted = forgetful ? violations.filter(({ kind }) => aboutPlaces.has(kind)) : violations
    expect(Invariants.format(counted)).toBe("No violations.")
  })
  await Effect.runPromise(
    Effect.scoped(Effect.andThen(
      Effect.all(workers.map(Layer.build), { concurrency: "unbounded" }),
      Effect.provide(program, Layer.provideMerge(Client.layer, Layer.fresh(producer ?? transport)))
    )).pipe(
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "None")),
      Effect.ensuring(Effect.sync(standstills.stop))
    )
  )

  const starts = history.runs.filter(({ queue }) => queue === queues[0]).map(({ startedAt }) => startedAt)
  const counts = new Map<string, number>()
  for (const { id, queue } of history.runs) {
    counts.set(`${queue} ${id}`, (counts.get(`${queue} ${id}`) ?? 0) + 1)
  }
  const wanted = (id: string) => failsFirst(Number(id)) ? 2 : 1
  const repeated = history.sent.filter(({ id, queue }) => (counts.get(`${queue} ${id}`) ?? 0) > wanted(id)).length
  const recounted = history.runs.filter(({ deliveries }) => deliveries > 1).length
  return {
    jobs: history.sent.length,
    repeated,
    recounted,
    pause: Math.max(...starts.slice(1).map((at, i) => at - starts[i]!)),
    wait: Math.max(...starts.slice(1).map((at, i) => at - starts[i]! - standstills.within(starts[i]!, at)))
  }
}
