import { it } from "@effect/vitest"
import { move, rule, run } from "./parts.ts"

it("EarlyStart after a reschedule", () => {
  const late = run({ startedAt: 3_000, endedAt: 3_100 })
  const moves = [move()]
  rule(
    "EarlyStart",
    { moves, runs: [run({ startedAt: 1_501, endedAt: 1_600 })] },
    { moves, runs: [late] },
    // before it, or in the same ms: it was the next attempt that waited
    { moves, runs: [run({ startedAt: 1_499, endedAt: 1_499, outcome: "failed" }), { ...late, attempt: 2 }] },
    { moves, runs: [run({ startedAt: 1_500, endedAt: 1_500, outcome: "failed" }), { ...late, attempt: 2 }] },
    // the same, and the second reschedule is what let it run
    { moves: [move(), move({ movedAt: 1_600, dueAt: 1_600 })], runs: [run({ startedAt: 1_600, endedAt: 1_700 })] }
  )
})
