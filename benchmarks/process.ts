/**
 * The parent's side of the processes that run scenarios.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { Sample } from "./measure.ts"
import type { Figure, Lap } from "./scenario.ts"

export type Answer =
  | { readonly sample: Sample }
  | { readonly figures: ReadonlyArray<Figure> }
  | { readonly lap: Lap }

export interface Runner {
  /** Runs the scenario once. Rejects if its process ends. */
  readonly run: () => Promise<Answer>
  readonly end: () => void
}

/** `TROUPE_BENCH_PROFILE=DIRECTORY` leaves a CPU profile of every process there. */
const directory = process.env.TROUPE_BENCH_PROFILE
export const profile = directory === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${directory}`]

/** `entrant`: of a race. */
export const start = (suite: string, index: number, jobs: number, entrant = 0): Runner => {
  const child: ChildProcess = fork(fileURLToPath(new URL("child.ts", import.meta.url)), [
    suite,
    String(index),
    String(jobs),
    String(entrant)
  ], { execArgv: ["--expose-gc", ...profile] })
  return {
    run: () =>
      new Promise((resolve, reject) => {
        const onExit = (code: number | null) => reject(new Error(`the process of the scenario ended with ${code}`))
        child.once("exit", onExit)
        // the erased boundary of this file: `child.ts` sends nothing else
        child.once("message", (answer) => {
          child.off("exit", onExit)
          resolve(answer as Answer)
        })
        child.send("run")
      }),
    end: () => child.disconnect()
  }
}
