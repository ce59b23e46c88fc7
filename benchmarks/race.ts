/**
 * Runs the entrants of a race in turns, and says which claims hold.
 */
import { median } from "./measure.ts"
import { type Runner, start } from "./process.ts"
import { table, verdict, whole } from "./report.ts"
import type { Claim, Lap, Race, Suite } from "./scenario.ts"

export interface Raced {
  readonly race: Race
  readonly jobs: number
  /** By entrant, round by round. */
  readonly laps: ReadonlyMap<string, ReadonlyArray<Lap>>
  readonly judged: boolean
}

const lapOf = async (runner: Runner): Promise<Lap> => {
  const answer = await runner.run()
  if ("lap" in answer) return answer.lap
  throw new Error("a race answered with something else")
}

export const run = async (suite: Suite, race: Race, quick: boolean): Promise<Raced> => {
  const { measured, warmUp } = quick ? { measured: 1, warmUp: 1 } : race.rounds ?? { measured: 5, warmUp: 2 }
  const jobs = quick ? Math.ceil(race.jobs / 10) : race.jobs
  const laps = new Map<string, Array<Lap>>()
  const runners = race.entrants.map((entrant, index) => {
    const own: Array<Lap> = []
    laps.set(entrant.name, own)
    return { own, runner: start(suite.name, suite.scenarios.indexOf(race), jobs, index) }
  })
  const raced: Raced = { race, jobs, laps, judged: !quick }
  const take = async (rounds: number, keep: boolean) => {
    for (let round = 0; round < rounds; round++) {
      for (const { own, runner } of runners) {
        const lap = await lapOf(runner)
        if (keep) own.push(lap)
      }
    }
  }
  await take(warmUp, false)
  await take(measured, true)
  // a burst of other load must not look like slowness
  if (raced.judged && missedClaims([raced]) > 0) await take(measured, true)
  for (const { runner } of runners) runner.end()
  return raced
}

const figures = (laps: ReadonlyArray<Lap> | undefined, figure: string): ReadonlyArray<number> =>
  (laps ?? []).map((lap) => lap[figure]!)

/** Round by round: what slows the machine for a second slows all of them. */
const valueOf = ({ laps }: Raced, { figure, of, to }: Claim): number => {
  const own = figures(laps.get(of), figure)
  if (to === undefined) return median(own)
  const others = figures(laps.get(to), figure)
  return median(own.map((value, round) => value / others[round]!))
}

const holds = (raced: Raced, claim: Claim): boolean => {
  const value = valueOf(raced, claim)
  return value >= (claim.least ?? -Infinity) && value <= (claim.most ?? Infinity)
}

export const missedClaims = (raced: ReadonlyArray<Raced>): number =>
  raced.reduce((sum, one) => sum + one.race.claims.filter((claim) => !holds(one, claim)).length, 0)

const number = (value: number): string =>
  value >= 1_000 ? whole(value) : value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)

const claimLine = (raced: Raced, claim: Claim): string => {
  const { figure, goal, least, most, of, to } = claim
  const what = to === undefined
    ? `${of}: ${figure} ${number(valueOf(raced, claim))}`
    : `${of}: ${figure} ${number(valueOf(raced, claim))} × ${to}`
  const limit = least !== undefined ? `≥ ${least}` : most !== undefined ? `≤ ${most}` : undefined
  const aim = goal === undefined ? "" : `, goal ${goal}`
  if (limit === undefined) return what
  return `${what} · floor ${limit}${aim}${raced.judged ? `: ${verdict(holds(raced, claim))}` : ""}`
}

/** A line per entrant with the median of each figure, and a line per claim. */
export const raceTable = (raced: Raced): string => {
  const { laps, race } = raced
  const names = [...new Set([...laps.values()].flatMap((own) => own.flatMap((lap) => Object.keys(lap))))]
  const [first, ...others] = names
  const cells = [...laps].map(([name, own]) => {
    const main = figures(own, first ?? "")
    return [
      name,
      number(median(main)),
      `${number(Math.min(...main))} – ${number(Math.max(...main))}`,
      ...others.map((figure) => own[0]?.[figure] === undefined ? "" : number(median(figures(own, figure))))
    ]
  })
  const head = ["system", first ?? "", "min – max", ...others]
  return [
    `${race.name} · ${whole(raced.jobs)} jobs, ${[...laps.values()][0]?.length ?? 0} rounds`,
    table(head, cells),
    ...race.claims.map((claim) => `  ${claimLine(raced, claim)}`)
  ].join("\n")
}
