/**
 * The process of `workerProcess.ts`. Ends with its parent.
 */
import { stamp } from "./system.ts"
import { systemOf } from "./systems.ts"
import type { Report, WorkerSettings } from "./workerProcess.ts"

// the erased boundary of this file: `startWorker` says nothing else
const { concurrency, queue, stuck = false, system, url } = JSON.parse(process.argv[2] ?? "") as WorkerSettings

let starts: Array<Report["starts"][number]> = []
let started = 0
let cpu = process.cpuUsage()

await systemOf(system).work({ url, queue }, {
  concurrency,
  handler: stuck ? "stuck" : "noop",
  replies: true,
  onStart: ({ amount }) => {
    started++
    // those without a stamp are only counted
    if (amount > 1e6) starts.push({ amount, at: stamp(), wallAt: Date.now() })
  }
})

process.on("disconnect", () => process.exit())
process.on("message", () => {
  const { system, user } = process.cpuUsage(cpu)
  const report: Report = { cpuMicros: user + system, started, starts }
  starts = []
  started = 0
  globalThis.gc?.()
  cpu = process.cpuUsage()
  process.send?.(report)
})
process.send?.("ready")
