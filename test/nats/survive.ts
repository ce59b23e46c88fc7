/**
 * Breaks something while jobs run, and looks afterwards: every accepted job
 * has one record and nothing is left anywhere.
 */
import * as Client from "@troupe/core/Client"
import type { Execution } from "@troupe/core/Execution"
import * as Task from "@troupe/core/Task"
import { Invariants } from "@troupe/core/testing"
import { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import { expect } from "vitest"

const silent = Layer.succeed(References.MinimumLogLevel, "Error")

export interface Fault {
  /** Of the worker; the client's way is `client`. */
  readonly worker: NatsTransport.NatsTransportOptions
  /** Default: as the worker's. */
  readonly client?: NatsTransport.NatsTransportOptions
  /** Called when a tenth of the jobs has started. */
  readonly strike: () => Promise<void>
  readonly jobs?: number
  /** ms. */
  readonly handlerTime?: number
  /** Nothing happens to the worker: no handler runs again but those that failed. */
  readonly withoutRepeats?: boolean
}

const kinds = ["plain", "plain", "plain", "keyed", "keyed", "delayed", "failing", "named"] as const

let queues = 0

/** A queue of its own, as its records say which jobs ran. */
export const survive = async (fault: Fault): Promise<void> => {
  const queue = `survive-${process.pid}-${++queues}`
  const jobs = fault.jobs ?? 400
  class Work extends Task.make("Work", {
    payload: { n: Schema.Number, fails: Schema.Boolean },
    success: Schema.Number,
    error: Schema.String,
    queue,
    maxAttempts: 3,
    retry: Schedule.spaced("100 millis")
  }) {}
  const history = Invariants.empty()
  const runs = new Map<string, Array<MutableRun>>()
  let struck: Promise<void> | undefined
  const now = Effect.sync(Date.now)

  const handler = ({ fails, n }: typeof Work.payloadSchema.Type, execution: Execution) =>
    Effect.gen(function*() {
      const run: MutableRun = {
        queue,
        id: execution.id,
        worker: "worker",
        attempt: execution.attempt,
        deliveries: execution.deliveries,
        startedAt: yield* now,
        endedAt: undefined,
        outcome: undefined,
        leaseLostAt: undefined,
        delay: fails && execution.attempt === 1 ? 100 : undefined
      }
      const before = runs.get(execution.id) ?? []
      // from outside it cannot be seen when a run before it lost its lease
      for (const other of before) if (other.outcome !== "failed") other.leaseLostAt ??= run.startedAt
      runs.set(execution.id, [...before, run])
      history.runs.push(run)
      if (runs.size >= jobs / 10) struck ??= fault.strike()
      const body = Effect.andThen(
        Effect.sleep(fault.handlerTime ?? 5),
        fails && execution.attempt === 1 ? Effect.fail("first attempt") : Effect.succeed(n)
      )
      return yield* Effect.onExit(body, (exit) =>
        Effect.sync(() => {
          run.endedAt = Date.now()
          run.outcome = Exit.isSuccess(exit) ? "succeeded" : Exit.hasInterrupts(exit) ? "interrupted" : "failed"
        }))
    })

  const itemOf = (n: number) => {
    const kind = kinds[n % kinds.length]!
    const options = kind === "keyed"
      ? { key: `key-${n % 5}` }
      : kind === "delayed"
      ? { delay: 300 + n % 500 }
      : kind === "named"
      ? { id: `name-${n}` }
      : {}
    return { payload: { n, fails: kind === "failing" }, options }
  }

  const broker = (options: NatsTransport.NatsTransportOptions) => Layer.fresh(NatsTransport.layer(options))
  // who must not lose a lease gets one that a busy machine does not stand still for
  const idleTimeout = fault.withoutRepeats ? "30 seconds" : "2 seconds"
  const WorkerLive = Worker.layer({ tasks: [Work], concurrency: 8, idleTimeout }).pipe(
    Layer.provide(Work.toLayer(handler)),
    Layer.provide(broker(fault.worker))
  )

  const program = Effect.gen(function*() {
    const all = Array.from({ length: jobs }, (_, n) => n)
    const handles = yield* Effect.forEach(all, (n) =>
      Effect.gen(function*() {
        const before = yield* now
        const { options, payload } = itemOf(n)
        const [outcome] = yield* Work.enqueueMany([{ payload, options }])
        const job = yield* Effect.fromResult(outcome!)
        const delay = "delay" in options ? options.delay! : 0
        history.sent.push({
          queue,
          id: job.id,
          task: "Work",
          key: "key" in options ? options.key : undefined,
          acceptedAt: before,
          acceptedBy: yield* now,
          dueAt: before + delay,
          dueBy: (yield* now) + delay,
          order: n,
          maxAttempts: 3,
          expiresAt: undefined
        })
        return job
      }), { concurrency: 64 })
    const results = yield* Effect.forEach(handles, (job) => job.await, { concurrency: "unbounded" })
    yield* Effect.promise(async () => struck)
    expect(results).toEqual(all)
    const { log } = yield* Transport
    // the last acknowledgements may still be repeated
    let stats = yield* log.stats(queue)
    for (let i = 0; i < 100 && stats.running + stats.queued > 0; i++) {
      yield* Effect.sleep(100)
      stats = yield* log.stats(queue)
    }
    expect([stats.scheduled, stats.queued, stats.running, stats.dead]).toEqual([0, 0, 0, 0])
    // clocks of one machine; the order of concurrent enqueues is not known
    yield* Invariants.verify(history, { finished: true, tolerance: 100, exactDeliveries: false })
  })
  await Effect.runPromise(
    Effect.scoped(Effect.andThen(
      Layer.build(WorkerLive),
      Effect.provide(program, Layer.provideMerge(Client.layer, broker(fault.client ?? fault.worker)))
    )).pipe(Effect.provide(silent))
  )
  expect(struck).toBeDefined()
  expect(runs.size).toBe(jobs)
  const repeated =
    [...runs.values()].filter((all) => all.filter(({ outcome }) => outcome !== "failed").length > 1).length
  if (fault.withoutRepeats) expect(repeated).toBe(0)
}

interface MutableRun extends Invariants.Run {
  endedAt: number | undefined
  outcome: Invariants.Outcome | undefined
  leaseLostAt: number | undefined
}

export const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))
