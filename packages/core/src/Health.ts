/**
 * What this process says of itself: whether it is connected and its workers do
 * their work, and if not, which part does not and why.
 *
 * Ready means that every client and every worker here hears from its broker,
 * that the workers pull from each of their queues, and that the process is not
 * about to stop. A queue that somebody paused is ready: its worker does what it
 * was told. A scheduler has a client.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
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

/** What a client, or the client of a scheduler, knows of its broker. It comes back by itself. */
export interface ClientHealth {
  readonly id: string
  readonly state: "connected" | "disconnected"
  /** As of a queue. */
  readonly since: number
  /** Why it is disconnected. */
  readonly reason: string | undefined
}

/** What the process does as a whole. */
export type Phase = "starting" | "running" | "stopping"

export interface Report {
  readonly ready: boolean
  /** One sentence for each cause of not being ready; none if it is. */
  readonly reasons: ReadonlyArray<string>
  readonly workers: ReadonlyArray<WorkerHealth>
  /** None before somebody watches. */
  readonly clients: ReadonlyArray<ClientHealth>
}

export interface Health {
  readonly report: Effect.Effect<Report>
  /** From now on clients ask their broker once a second: nobody else needs it. `WorkerHttp` does it. */
  readonly watch: () => void
  /** Waits until somebody watches. */
  readonly watched: Effect.Effect<void>
  /** For who runs workers: one more of them, until the scope closes. `Worker.make` does it. */
  readonly register: (worker: () => WorkerHealth) => Effect.Effect<void, never, Scope>
  /** The same for a client. `Client.make` does it. */
  readonly registerClient: (client: () => ClientHealth) => Effect.Effect<void, never, Scope>
  /**
   * For who runs the process: one that starts or stops is not ready, and one that runs without a worker is, if its
   * clients are connected. `Worker.runMain` does it. Nobody else needs to: without it, the process is ready once all its
   * workers are.
   */
  readonly enter: (phase: Phase) => void
}

/** What one queue must be for its process to be ready. */
export const isReady = ({ state }: QueueHealth): boolean => state === "pulling" || state === "paused"

const describe = (what: string, { reason, state }: QueueHealth | ClientHealth): string =>
  `${what} is ${state}${reason === undefined ? "" : `: ${reason}`}`

/** One sentence for each queue and each client that keeps its process from being ready. */
const troubles = (
  workers: ReadonlyArray<WorkerHealth>,
  clients: ReadonlyArray<ClientHealth>
): ReadonlyArray<string> => [
  ...workers.flatMap(({ queues }) => queues).filter((one) => !isReady(one)).map((one) =>
    describe(`queue "${one.queue}"`, one)
  ),
  ...clients.filter(({ state }) => state === "disconnected").map((one) => describe(`client "${one.id}"`, one))
]

const ofPhase = (phase: Phase | undefined, workers: number): ReadonlyArray<string> => {
  if (phase === "starting") return ["the process is starting"]
  if (phase === "stopping") return ["the process is stopping"]
  return phase === undefined && workers === 0 ? ["no worker runs"] : []
}

/** Parts of the process that say how they are, each until its scope closes. */
const membership = <A>() => {
  const members = new Set<() => A>()
  return {
    all: () => Array.from(members, (member) => member()),
    register: (member: () => A): Effect.Effect<void, never, Scope> =>
      Effect.acquireRelease(
        Effect.sync(() => void members.add(member)),
        () => Effect.sync(() => members.delete(member))
      )
  }
}

/** A state of its own. */
export const make = (): Health => {
  const [ofWorkers, ofClients] = [membership<WorkerHealth>(), membership<ClientHealth>()]
  const watched = Latch.makeUnsafe(false)
  let phase: Phase | undefined
  return {
    report: Effect.sync(() => {
      const [workers, clients] = [ofWorkers.all(), ofClients.all()]
      const reasons = [...ofPhase(phase, workers.length), ...troubles(workers, clients)]
      return { ready: reasons.length === 0, reasons, workers, clients }
    }),
    watch: () => void watched.openUnsafe(),
    watched: watched.await,
    register: ofWorkers.register,
    registerClient: ofClients.register,
    enter: (next) => {
      phase = next
    }
  }
}

/** The state of the process. All workers of it report to the same one, unless they are given another. */
export const Health = Context.Reference<Health>("@troupe/core/Health", { defaultValue: make })

/** A state of its own for what is built with it: for tests that run several processes in one. */
export const layer: Layer.Layer<never> = Layer.sync(Health, make)
