/**
 * What every system that takes part can do. Jobs are those of `payload.ts`.
 */
import type { Payload } from "../payload.ts"

export interface Target {
  readonly url: string
  readonly queue: string
}

/** The private server of this process. */
export interface Server {
  /** For the titles of figures. */
  readonly name: string
  readonly url: () => Promise<string>
  /** CPU time, seconds. */
  readonly cpuSeconds: () => Promise<number>
  /** Bytes that its data takes. */
  readonly memory: () => Promise<number>
  readonly empty: () => Promise<void>
  /** What it did that took longer than `least` µs while `run` ran: how long, µs. Nothing if it cannot tell. */
  readonly slow: (least: number, run: () => Promise<void>) => Promise<ReadonlyArray<number>>
}

export interface Client {
  /** So many callers, each enqueues one job after the other. */
  readonly enqueue: (jobs: number, callers: number) => Promise<void>
  /** One call, this many jobs. */
  readonly bulk: (jobs: number) => Promise<void>
  /** So many callers, each enqueues a job and waits for its result. Answers how long each took, ms. */
  readonly request: (jobs: number, callers: number) => Promise<ReadonlyArray<number>>
  /** One job that carries the time of its enqueue. */
  readonly stamped: () => Promise<void>
  /** One job per due time, ms since the epoch. It carries its due time. */
  readonly delayed: (dues: ReadonlyArray<number>) => Promise<void>
  readonly close: () => Promise<void>
}

export interface WorkOptions {
  readonly concurrency: number
  /** Does nothing, waits for one turn of the event loop, or never ends. */
  readonly handler: "noop" | "hop" | "stuck"
  /** Whether somebody waits for the results. */
  readonly replies: boolean
  readonly onStart: (payload: typeof Payload.Type) => void
}

export interface Working {
  /** Jobs that are over: the broker has said so. */
  readonly finished: () => number
  readonly close: () => Promise<void>
}

export interface System {
  readonly client: (target: Target) => Promise<Client>
  readonly work: (target: Target, options: WorkOptions) => Promise<Working>
}

/** So many callers, each runs one after the other. */
export const inFlight = async (jobs: number, callers: number, run: (index: number) => Promise<unknown>) => {
  let next = 0
  await Promise.all(Array.from({ length: callers }, async () => {
    while (next < jobs) await run(next++)
  }))
}

/** µs on a clock that all processes of this machine share. */
export const stamp = (): number => Number(process.hrtime.bigint() / 1_000n)
