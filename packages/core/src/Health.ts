/**
 * What this process says of itself: whether its workers do their work, and if
 * not, which queue and why.
 *
 * Ready means that every worker here hears from its broker, pulls from each of
 * its queues and is not about to stop. A queue that somebody paused is ready:
 * its worker does what it was told.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"

/**
 * - `starting`: not subscribed yet; the broker may still be away
 * - `pulling`, `paused`: healthy
 * - `disconnected`: the broker does not answer; running jobs go on, and it comes back by itself
 * - `failing`: the broker answers, but gives no jobs out; tried again and again
 * - `draining`: stops, and pulls no more
 */
export type QueueState = "starting" | "pulling" | "paused" | "disconnected" | "failing" | "draining"

/** What a worker does with one of its queues. */
export interface QueueHealth {
  readonly queue: string
  readonly state: QueueState
  /** ms since the epoch by this process's clock. While disconnected: when the broker was last heard of. */
  readonly since: number
  /** Why it is disconnected or failing. */
  readonly reason: string | undefined
}

export interface WorkerHealth {
  readonly id: string
  readonly queues: ReadonlyArray<QueueHealth>
}

/** What the process does as a whole. */
export type Phase = "starting" | "running" | "stopping"

export interface Report {
  readonly ready: boolean
  /** One sentence for each cause of not being ready; none if it is. */
  readonly reasons: ReadonlyArray<string>
  readonly workers: ReadonlyArray<WorkerHealth>
}

export interface Health {
  readonly report: Effect.Effect<Report>
  /** For who runs workers: one more of them, until the scope closes. `Worker.make` does it. */
  readonly register: (worker: () => WorkerHealth) => Effect.Effect<void, never, Scope>
  /**
   * For who runs the process: one that starts or stops is not ready, and one that runs without a worker is.
   * `Worker.runMain` does it. Nobody else needs to: without it, the process is ready once all its workers are.
   */
  readonly enter: (phase: Phase) => void
}

/** What one queue must be for its process to be ready. */
export const isReady = ({ state }: QueueHealth): boolean => state === "pulling" || state === "paused"

const describe = ({ queue, reason, state }: QueueHealth): string =>
  `queue "${queue}" is ${state}${reason === undefined ? "" : `: ${reason}`}`

const ofPhase = (phase: Phase | undefined, workers: number): ReadonlyArray<string> => {
  if (phase === "starting") return ["the process is starting"]
  if (phase === "stopping") return ["the process is stopping"]
  return phase === undefined && workers === 0 ? ["no worker runs"] : []
}

/** A state of its own. */
export const make = (): Health => {
  const members = new Set<() => WorkerHealth>()
  let phase: Phase | undefined
  return {
    report: Effect.sync(() => {
      const workers = Array.from(members, (worker) => worker())
      const reasons = [
        ...ofPhase(phase, workers.length),
        ...workers.flatMap(({ queues }) => queues.filter((queue) => !isReady(queue)).map(describe))
      ]
      return { ready: reasons.length === 0, reasons, workers }
    }),
    register: (worker) =>
      Effect.acquireRelease(
        Effect.sync(() => void members.add(worker)),
        () => Effect.sync(() => members.delete(worker))
      ),
    enter: (next) => {
      phase = next
    }
  }
}

/** The state of the process. All workers of it report to the same one, unless they are given another. */
export const Health = Context.Reference<Health>("@troupe/core/Health", { defaultValue: make })

/** A state of its own for what is built with it: for tests that run several processes in one. */
export const layer: Layer.Layer<never> = Layer.sync(Health, make)
