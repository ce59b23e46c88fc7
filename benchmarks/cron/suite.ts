/**
 * Cron on Redis and NATS, scheduler and worker in one process.
 */
import type { Suite } from "../scenario.ts"
import { idle, lateness } from "./scenarios.ts"

export const cron: Suite = {
  name: "cron",
  scenarios: [
    { _tag: "Footprint", name: "redis: nothing is due", jobs: 1_000, run: idle("redis") },
    { _tag: "Footprint", name: "redis: one tick per second of each schedule", jobs: 10, run: lateness("redis") },
    { _tag: "Footprint", name: "redis: 100 ticks in the same moment", jobs: 100, run: lateness("redis") },
    { _tag: "Footprint", name: "nats: nothing is due", jobs: 1_000, run: idle("nats") },
    { _tag: "Footprint", name: "nats: one tick per second of each schedule", jobs: 10, run: lateness("nats") },
    { _tag: "Footprint", name: "nats: 100 ticks in the same moment", jobs: 100, run: lateness("nats") }
  ]
}
