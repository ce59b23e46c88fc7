/**
 * Wall and CPU time of a stretch of work, and what several of them come to.
 */
import * as Effect from "effect/Effect"

/** One round. */
export interface Sample {
  readonly jobs: number
  readonly seconds: number
  /** CPU time of the process, all its threads: the garbage collector's are among them. */
  readonly cpuSeconds: number
  /** CPU time of the thread that runs JavaScript. */
  readonly threadSeconds: number
}

export const zero: Sample = { jobs: 0, seconds: 0, cpuSeconds: 0, threadSeconds: 0 }

export const add = (a: Sample, b: Sample): Sample => ({
  jobs: a.jobs + b.jobs,
  seconds: a.seconds + b.seconds,
  cpuSeconds: a.cpuSeconds + b.cpuSeconds,
  threadSeconds: a.threadSeconds + b.threadSeconds
})

const inSeconds = ({ system, user }: NodeJS.CpuUsage): number => (user + system) / 1e6

/** Measures an effect that does `jobs` jobs. */
export const measure = <E, R>(jobs: number, work: Effect.Effect<unknown, E, R>): Effect.Effect<Sample, E, R> =>
  Effect.suspend(() => {
    const wall = performance.now()
    const cpu = process.cpuUsage()
    const thread = process.threadCpuUsage()
    return Effect.map(work, () => ({
      jobs,
      seconds: (performance.now() - wall) / 1e3,
      cpuSeconds: inSeconds(process.cpuUsage(cpu)),
      threadSeconds: inSeconds(process.threadCpuUsage(thread))
    }))
  })

export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

export const jobsPerSecond = ({ jobs, seconds }: Sample): number => jobs / seconds

/** µs. */
export const cpuPerJob = ({ cpuSeconds, jobs }: Sample): number => cpuSeconds * 1e6 / jobs
