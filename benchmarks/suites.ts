/**
 * All suites, by the word that picks them: `npm run bench -- memory`.
 */
import { actors } from "./actors/suite.ts"
import { cron } from "./cron/suite.ts"
import { memory } from "./memory/suite.ts"
import { nats } from "./nats/suite.ts"
import { otel } from "./otel/suite.ts"
import { redis } from "./redis/suite.ts"
import type { Suite } from "./scenario.ts"

export const suites: ReadonlyArray<Suite> = [memory, redis, nats, cron, actors, otel]
