/**
 * A worker in a process of its own, and what it reports.
 */
import { fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { profile } from "../process.ts"
import type { Name } from "./systems.ts"

export interface WorkerSettings {
  readonly system: Name
  readonly url: string
  readonly queue: string
  readonly concurrency: number
  /** Handlers never end. */
  readonly stuck?: boolean
}

/** Since the last report. */
export interface Report {
  readonly cpuMicros: number
  readonly started: number
  /** `amount` of each job whose handler was started, and when: µs on the clock of the machine, ms since the epoch. */
  readonly starts: ReadonlyArray<{ readonly amount: number; readonly at: number; readonly wallAt: number }>
}

export interface WorkerProcess {
  readonly report: () => Promise<Report>
  readonly kill: () => void
}

export const startWorker = async (settings: WorkerSettings): Promise<WorkerProcess> => {
  const child = fork(fileURLToPath(new URL("worker.ts", import.meta.url)), [JSON.stringify(settings)], {
    execArgv: ["--expose-gc", ...profile]
  })
  const message = <A>(): Promise<A> =>
    new Promise((resolve, reject) => {
      const onExit = () => reject(new Error("the process of the worker ended"))
      child.once("exit", onExit)
      // the erased boundary of this file: `worker.ts` sends nothing else
      child.once("message", (answer) => {
        child.off("exit", onExit)
        resolve(answer as A)
      })
    })
  await message()
  return {
    report: () => {
      const answer = message<Report>()
      child.send("report")
      return answer
    },
    kill: () => void child.kill("SIGKILL")
  }
}
