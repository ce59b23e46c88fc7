/**
 * Cron on Redis, scheduler and worker in one process.
 */
import type { Suite } from "../scenario.ts"
import { idle, lateness } from "./scenarios.ts"

export const cron: Suite = {
  name: "cron",
  scenarios: [
    { _tag: "Footprint", name: "nothing is due", jobs: 1_000, run: idle },
    { _tag: "Footprint", name: "one tick per second", jobs: 10, run: lateness },
    { _tag: "Footprint", name: "100 ticks in the same moment", jobs: 100, run: lateness }
  ]
}
