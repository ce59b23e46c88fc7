/**
 * One scenario in a process of its own: a round for every message, until the
 * parent is gone. Arguments: the suite, the index of the scenario, the jobs,
 * and the index of the entrant if it is a race.
 */
import * as Effect from "effect/Effect"
import type { Answer } from "./process.ts"
import type { Scenario } from "./scenario.ts"
import { suites } from "./suites.ts"

const [suite, index, jobs, entrant] = process.argv.slice(2)
const scenario = suites.find((one) => one.name === suite)?.scenarios[Number(index)]
if (scenario === undefined) throw new Error(`no scenario ${index} in suite "${suite}"`)

const run = (one: Scenario): Effect.Effect<Answer> => {
  switch (one._tag) {
    case "Throughput":
      return Effect.map(one.round(Number(jobs)), (sample) => ({ sample }))
    case "Footprint":
      return Effect.map(one.run(Number(jobs)), (figures) => ({ figures }))
    case "Race":
      return Effect.promise(async () => ({ lap: await one.entrants[Number(entrant)]!.round(Number(jobs)) }))
  }
}

process.on("disconnect", () => process.exit())
process.on("message", async () => {
  // a round does not pay for the garbage of the one before
  globalThis.gc?.()
  process.send?.(await Effect.runPromise(run(scenario)))
})
