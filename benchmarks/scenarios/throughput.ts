/**
 * What a job costs from end to end and in parts, on any transport.
 */
import * as Client from "@troupe/core/Client"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { add, measure, type Sample, zero } from "../measure.ts"
import { payload } from "../payload.ts"
import { enqueueBulks, finished, Mail, type Setup, withWorker } from "./broker.ts"
import { batch, concurrency } from "./settings.ts"

export type Round = (jobs: number) => Effect.Effect<Sample>

/** Enqueue → run → record, 64 jobs per `enqueueMany`. */
export const bulkCycle = (setup: Setup): Round => (jobs) =>
  withWorker(setup, measure(jobs, Effect.andThen(enqueueBulks(Mail, jobs), finished(jobs))))

const indices = (jobs: number) => Array.from({ length: jobs }, (_, index) => index)

/** Enqueue → run → record, 64 calls of `enqueue` at once, then a turn for the worker. */
export const singleCycle = (setup: Setup): Round => (jobs) => {
  const chunk = indices(batch)
  const produce = Effect.gen(function*() {
    for (let sent = 0; sent < jobs; sent += batch) {
      const rest = jobs - sent < batch ? indices(jobs - sent) : chunk
      yield* Effect.forEach(rest, (i) => Mail.enqueue(payload(sent + i)), { concurrency, discard: true })
      yield* Effect.yieldNow
    }
  })
  return withWorker(setup, measure(jobs, Effect.andThen(produce, finished(jobs))))
}

/** Enqueue → run → result back at the caller, 64 callers. */
export const results = (setup: Setup): Round => (jobs) =>
  withWorker(
    setup,
    measure(
      jobs,
      Effect.forEach(indices(jobs), (i) => Effect.flatMap(Mail.enqueue(payload(i)), (job) => job.await), {
        concurrency,
        discard: true
      })
    )
  )

const withClient = <A>({ transport }: Setup, run: Effect.Effect<A, unknown, Client.Client>): Effect.Effect<A> =>
  run.pipe(Effect.provide(Layer.provide(Client.layer, transport)), Effect.orDie)

/** Enqueue only, 64 jobs per call, nobody works. */
export const bulkEnqueue = (setup: Setup): Round => (jobs) => withClient(setup, measure(jobs, enqueueBulks(Mail, jobs)))

/** Enqueue only, one by one. */
export const singleEnqueue = (setup: Setup): Round => (jobs) => {
  const produce = Effect.gen(function*() {
    for (let i = 0; i < jobs; i++) yield* Mail.enqueue(payload(i))
  })
  return withClient(setup, measure(jobs, produce))
}

/** Full cycle in bulk, the jobs spread over this many keys. */
export const keyed = (setup: Setup, keys: number): Round => (jobs) => {
  const produce = enqueueBulks(Mail, jobs, (index) => ({ key: `key-${index % keys}` }))
  return withWorker(setup, measure(jobs, Effect.andThen(produce, finished(jobs))))
}

/** ms until the jobs are due: enough to enqueue them all. */
const lead = 1_500

/** All jobs due at the same moment: the enqueues, and from the due time until the last record. The wait is left out. */
export const delayed = (setup: Setup): Round => (jobs) =>
  withWorker(
    setup,
    Effect.gen(function*() {
      const at = Date.now() + lead
      const enqueued = yield* measure(jobs, enqueueBulks(Mail, jobs, () => ({ at })))
      if (Date.now() >= at) return yield* Effect.die(`the enqueues took longer than ${lead} ms`)
      yield* Effect.sleep(at - Date.now())
      const ran = yield* measure(0, finished(jobs))
      return add(add(zero, enqueued), ran)
    })
  )
