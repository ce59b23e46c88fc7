/**
 * What the handlers of a case did, in the order in which they started.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Scope } from "effect/Scope"
import type { Control, Execution } from "../../Execution.ts"

/** One run of a handler. Times are ms since the epoch by the broker's clock. */
export interface Run {
  /** The payload. */
  readonly job: string
  readonly id: string
  readonly worker: string
  readonly attempt: number
  readonly deliveries: number
  /** Read once the handler runs: never too early. */
  startedAt: number
  endedAt: number | undefined
  /** `crashed`: what the handler does from then on, nobody sees. */
  outcome: "running" | "succeeded" | "failed" | "interrupted" | "crashed"
}

/** What a handler does with a job; the answer is the job's success. */
export type Body = (run: Run, execution: Execution) => Effect.Effect<string, string | Control, Scope>

export class Journal {
  readonly runs: Array<Run> = []
  private readonly crashed = new Set<string>()
  private readonly now: Effect.Effect<number>

  /** `now`: the broker's clock, without any faults. */
  constructor(now: Effect.Effect<number>) {
    this.now = now
  }

  /** The names of the jobs, in the order in which their runs started. */
  get starts(): ReadonlyArray<string> {
    return this.runs.map((run) => run.job)
  }

  get running(): ReadonlyArray<Run> {
    return this.runs.filter((run) => run.outcome === "running")
  }

  of(job: string): ReadonlyArray<Run> {
    return this.runs.filter((run) => run.job === job)
  }

  by(worker: string): ReadonlyArray<Run> {
    return this.runs.filter((run) => run.worker === worker)
  }

  /** Whether as many jobs ended well. */
  hasSucceeded(count: number): boolean {
    return this.runs.filter((run) => run.outcome === "succeeded").length >= count
  }

  /** What runs on this worker ends here, and nothing of it is written down any more. */
  crash(worker: string): void {
    this.crashed.add(worker)
    for (const run of this.by(worker)) if (run.outcome === "running") run.outcome = "crashed"
  }

  /** A handler that writes down its runs. */
  watch(worker: string, body: Body) {
    return (job: string, execution: Execution): Effect.Effect<string, string | Control, Scope> =>
      Effect.suspend(() => {
        if (this.crashed.has(worker)) return Effect.never
        const { attempt, deliveries, id } = execution
        const run: Run = {
          job,
          id,
          worker,
          attempt,
          deliveries,
          startedAt: Number.NaN,
          endedAt: undefined,
          outcome: "running"
        }
        this.runs.push(run)
        return this.now.pipe(
          Effect.flatMap((now) => {
            run.startedAt = now
            return body(run, execution)
          }),
          Effect.onExit((exit) => this.end(run, exit))
        )
      })
  }

  private end(run: Run, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (run.outcome === "crashed") return Effect.void
    run.outcome = Exit.isSuccess(exit)
      ? "succeeded"
      : Cause.hasInterruptsOnly(exit.cause)
      ? "interrupted"
      : "failed"
    return Effect.map(this.now, (now) => {
      run.endedAt = now
    })
  }
}
