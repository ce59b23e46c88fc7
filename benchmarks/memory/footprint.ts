/**
 * What jobs leave in memory, on a clock that the scenario moves: records expire
 * by their own time to live, sooner than anybody wants to wait.
 */
import type { Transport } from "@troupe/core/Transport"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type { Figure } from "../scenario.ts"
import { enqueueBulks, finished, Mail, Note, withWorker } from "../scenarios/broker.ts"
import * as SteppedClock from "./clock.ts"

type Run = (jobs: number) => Effect.Effect<ReadonlyArray<Figure>>

const megabyte = 1024 * 1024

interface Memory {
  readonly rss: number
  /** In use, inside and outside of the heap. */
  readonly used: number
}

/** What is in use once everything unreachable is gone. */
const settledMemory: Effect.Effect<Memory> = Effect.gen(function*() {
  if (globalThis.gc === undefined) return yield* Effect.die("run with --expose-gc")
  for (let i = 0; i < 3; i++) {
    globalThis.gc()
    yield* Effect.yieldNow
  }
  const { external, heapUsed, rss } = process.memoryUsage()
  return { rss, used: heapUsed + external }
})

const onSteppedClock = <A>(
  transport: Layer.Layer<Transport>,
  run: (clock: SteppedClock.SteppedClock) => Parameters<typeof withWorker<A>>[1]
): Effect.Effect<A> => {
  const clock = SteppedClock.make()
  return Effect.provideService(withWorker({ transport }, run(clock)), Clock.Clock, clock)
}

/** ms that pass with every chunk of jobs: a record lives for 60 s, so those of six chunks are kept. */
const step = 10_000

/** Runs jobs on a new broker, and looks at the memory after every tenth chunk. */
const samples = (transport: Layer.Layer<Transport>, chunk: number, chunks: number) =>
  onSteppedClock(transport, (clock) =>
    Effect.gen(function*() {
      const taken: Array<Memory> = []
      for (let i = 1; i <= chunks; i++) {
        yield* enqueueBulks(Note, chunk)
        yield* finished(i * chunk, Effect.yieldNow)
        yield* clock.advance(step)
        if (i % 10 === 0) taken.push(yield* settledMemory)
      }
      return taken
    }))

/** The growth of the process between a tenth of the jobs and any later tenth, with records that expire. */
export const flat = (transport: Layer.Layer<Transport>): Run => (jobs) =>
  Effect.gen(function*() {
    const chunk = jobs / 100
    // what V8 and its compilers take for good is not what jobs leave: another broker makes them take it
    yield* samples(transport, chunk, 20)
    const [first, ...later] = yield* samples(transport, chunk, 100)
    const growth = (of: keyof Memory) => Math.max(...later.map((sample) => sample[of] - first![of])) / megabyte
    const tenth = `${(jobs / 10).toLocaleString("en")} jobs`
    return [
      { name: `RSS growth after the first ${tenth}`, value: growth("rss"), unit: "MB", most: 50 },
      { name: `heap growth after the first ${tenth}`, value: growth("used"), unit: "MB", most: 5 },
      { name: "RSS at the end", value: later.at(-1)!.rss / megabyte, unit: "MB" }
    ]
  })

/** ms after which a value that is not kept is gone. */
const sweep = 2_000

/** What the record of a job takes, its result of 46 bytes included, and its state alone. */
export const bytesPerRecord = (transport: Layer.Layer<Transport>): Run => (jobs) =>
  onSteppedClock(transport, (clock) =>
    Effect.gen(function*() {
      // what a first job allocates for good is not the record's
      yield* enqueueBulks(Mail, jobs / 10)
      yield* finished(jobs / 10, Effect.yieldNow)
      const figures: Array<Figure> = []
      let before = yield* settledMemory
      let ended = jobs / 10
      for (const [task, what] of [[Mail, "with its result"], [Note, "without result"]] as const) {
        yield* enqueueBulks(task, jobs)
        yield* finished(ended += jobs, Effect.yieldNow)
        yield* clock.advance(sweep)
        const after = yield* settledMemory
        figures.push({ name: `a record ${what}`, value: (after.used - before.used) / jobs, unit: "bytes" })
        before = after
      }
      return figures
    }))
