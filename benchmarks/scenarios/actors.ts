/**
 * What keys and actors cost beside plain jobs, on any transport: the drain of
 * one worker, and one caller that waits for its answer.
 */
import * as Actor from "@troupe/core/Actor"
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { measure, median, type Sample } from "../measure.ts"
import type { Figure } from "../scenario.ts"
import { batch, concurrency } from "./settings.ts"

export interface Options {
  readonly transport: Layer.Layer<Transport, unknown>
  readonly keys: number
}

const fields = { amount: Schema.Number }

/** What a plain job, a keyed one and a message of an actor have in common. */
const plain = (queue: string) => Task.make("Deposit", { payload: fields, success: Schema.Number, queue })

const account = (queue: string) =>
  Actor.make("Account", {
    queue,
    state: Schema.Struct({ balance: Schema.Number }),
    initialState: () => ({ balance: 0 }),
    messages: [Task.make("Deposit", { payload: fields, success: Schema.Number })]
  })

const handlers = {
  Deposit: ({ amount }: { readonly amount: number }, state: Actor.ActorState<{ readonly balance: number }>) =>
    Effect.as(state.update(({ balance }) => ({ balance: balance + amount })), amount)
}

let rounds = 0
const fresh = () => `bench-${process.pid}-${++rounds}`

const quiet = Layer.succeed(References.MinimumLogLevel, "Warn")

const keyOf = (index: number, keys: number) => `key-${index % keys}`

const chunks = (jobs: number) => Array.from({ length: Math.ceil(jobs / batch) }, (_, i) => i * batch)

const finished = (jobs: number) =>
  Effect.gen(function*() {
    const worker = yield* Worker.Worker
    while ((yield* worker.finished) < jobs) yield* Effect.sleep(1)
  })

/** All jobs wait; from the start of the worker until the last record. */
const drained = <E, E2>(
  jobs: number,
  { transport }: Options,
  send: Effect.Effect<unknown, E2, Client.Client>,
  worker: Layer.Layer<Worker.Worker, E, Transport>
): Effect.Effect<Sample> =>
  Effect.gen(function*() {
    yield* Effect.provide(send, Client.layer)
    return yield* measure(
      jobs,
      Effect.scoped(Effect.flatMap(Layer.build(worker), (context) => Effect.provide(finished(jobs), context)))
    )
  }).pipe(Effect.provide(Layer.merge(transport, quiet)), Effect.orDie)

/** Plain jobs, of so many keys; of none with 0. */
export const drainJobs = (options: Options) => (jobs: number): Effect.Effect<Sample> => {
  const task = plain(fresh())
  const send = Effect.forEach(
    chunks(jobs),
    (start) =>
      task.enqueueMany(Array.from({ length: Math.min(batch, jobs - start) }, (_, i) => ({
        payload: { amount: i },
        options: options.keys === 0 ? undefined : { key: keyOf(start + i, options.keys) }
      }))),
    { discard: true }
  )
  const worker = Worker.layer({ tasks: [task], concurrency }).pipe(
    Layer.provide(task.toLayer(({ amount }) => Effect.succeed(amount)))
  )
  return drained(jobs, options, send, worker)
}

/** Messages of an actor of so many keys; each writes the state. */
export const drainMessages = (options: Options) => (jobs: number): Effect.Effect<Sample> => {
  const actor = account(fresh())
  const send = Effect.gen(function*() {
    const client = yield* actor.client
    const indices = Array.from({ length: jobs }, (_, i) => i)
    yield* Effect.forEach(
      indices,
      (i) => client(keyOf(i, options.keys)).Deposit({ amount: i }, { discard: true }),
      { concurrency: 256, discard: true }
    )
  })
  const worker = Worker.layer({ tasks: actor.tasks, concurrency }).pipe(
    Layer.provide(actor.toLayer({
      Deposit: ({ amount }, state) => Effect.as(state.update(({ balance }) => ({ balance: balance + amount })), amount)
    }))
  )
  return drained(jobs, options, send, worker)
}

/** The p50 of so many calls one after the other, ms. */
const latency = <E, R>(calls: number, call: (i: number) => Effect.Effect<unknown, E, R>) =>
  Effect.gen(function*() {
    const times: Array<number> = []
    for (let i = 0; i < calls; i++) {
      const start = performance.now()
      yield* call(i)
      times.push(performance.now() - start)
    }
    return median(times)
  })

/** Calls of one kind before the other has its turn. */
const stretch = 100

/** One caller that asks an actor, and one that enqueues a plain job and awaits it, in turns. */
export const answers = (options: Options & { readonly most: number }) => (calls: number) => {
  const task = plain(fresh())
  const actor = account(fresh())
  const workers = Layer.merge(
    Worker.layer({ tasks: actor.tasks }).pipe(Layer.provide(actor.toLayer(handlers))),
    Layer.fresh(Worker.layer({ tasks: [task] })).pipe(
      Layer.provide(task.toLayer(({ amount }) => Effect.succeed(amount)))
    )
  )
  return Effect.gen(function*() {
    const client = yield* actor.client
    const ask = (i: number) => client(keyOf(i, options.keys)).Deposit({ amount: i })
    const awaited = (i: number) => Effect.flatMap(task.enqueue({ amount: i }), (job) => job.await)
    // the first ones open connections and load scripts
    yield* latency(stretch, ask)
    yield* latency(stretch, awaited)
    const pairs: Array<readonly [number, number]> = []
    for (let done = 0; done < calls; done += stretch) {
      pairs.push([yield* latency(stretch, ask), yield* latency(stretch, awaited)])
    }
    const figures: ReadonlyArray<Figure> = [
      { name: "p50 of an ask", value: 1e3 * median(pairs.map(([ask]) => ask)), unit: "µs" },
      { name: "p50 of enqueue and await", value: 1e3 * median(pairs.map(([, awaited]) => awaited)), unit: "µs" },
      {
        name: "ratio",
        value: 100 * median(pairs.map(([ask, awaited]) => ask / awaited)),
        unit: "%",
        most: options.most
      }
    ]
    return figures
  }).pipe(
    Effect.provide(Layer.provide(Layer.merge(Client.layer, workers), Layer.merge(options.transport, quiet))),
    Effect.orDie
  )
}
