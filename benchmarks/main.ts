/**
 * Measures Troupe and says whether it is fast enough.
 *
 *     npm run bench                      every suite
 *     npm run bench -- memory            one suite: memory, redis, nats
 *     npm run bench -- --only signed     the scenarios with this text in their name
 *     npm run bench -- --quick           a tenth of the jobs, one round to warm up and one more: a smoke test
 *
 * Exits with 1 if a floor is missed, with 2 if an argument makes no sense.
 */
import { parseArgs } from "node:util"
import type { Sample } from "./measure.ts"
import { type Runner, start } from "./process.ts"
import { missedClaims, raceTable, run as runRace } from "./race.ts"
import type { Raced } from "./race.ts"
import {
  coreShare,
  footprintTable,
  isMissed,
  machine,
  type Measured,
  missed,
  throughputTable,
  type Weighed
} from "./report.ts"
import type { Footprint, Suite, Throughput } from "./scenario.ts"
import { suites } from "./suites.ts"

const complain = (message: string): never => {
  console.error(message)
  process.exit(2)
}

const readArguments = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { quick: { type: "boolean", default: false }, only: { type: "string", default: "" } }
    })
  } catch (error) {
    return complain(error instanceof Error ? error.message : String(error))
  }
}

const { positionals, values: { only, quick } } = readArguments()
const names = suites.map((suite) => suite.name)
const strange = positionals.find((name) => !names.includes(name))
if (strange !== undefined) complain(`There is no suite "${strange}". Suites: ${names.join(", ")}`)
const picked = suites.filter((suite) => positionals.length === 0 || positionals.includes(suite.name))

const warmUps = quick ? 1 : 2
const rounds = quick ? 1 : 5
const jobsOf = ({ jobs }: { readonly jobs: number }) => quick ? jobs / 10 : jobs

const sampleOf = async (runner: Runner): Promise<Sample> => {
  const answer = await runner.run()
  if ("sample" in answer) return answer.sample
  throw new Error("a throughput scenario answered with something else")
}

const figuresOf = async (suite: Suite, scenario: Footprint): Promise<Weighed> => {
  const runner = start(suite.name, suite.scenarios.indexOf(scenario), jobsOf(scenario))
  const answer = await runner.run()
  runner.end()
  if (!("figures" in answer)) throw new Error("a memory scenario answered with something else")
  return {
    name: scenario.name,
    figures: answer.figures.map((figure) => ({ ...figure, most: limit(figure.most) }))
  }
}

/** A smoke test is too short to judge. */
const limit = (value: number | undefined) => quick ? undefined : value

const runSuite = async (suite: Suite) => {
  /** What others are compared with stays warm until the end of the suite. */
  const warm = new Map<Throughput, Runner>()
  const baselines = new Set(
    suite.scenarios.map((scenario) => scenario._tag === "Throughput" ? scenario.against?.scenario : undefined)
  )

  const warmed = async (scenario: Throughput): Promise<Runner> => {
    const known = warm.get(scenario)
    if (known !== undefined) return known
    const runner = start(suite.name, suite.scenarios.indexOf(scenario), jobsOf(scenario))
    for (let i = 0; i < warmUps; i++) await runner.run()
    if (baselines.has(scenario)) warm.set(scenario, runner)
    return runner
  }

  const measure = async (scenario: Throughput): Promise<Measured> => {
    const { against, name } = scenario
    const runner = await warmed(scenario)
    const baseline = against && await warmed(against.scenario)
    const samples: Array<Sample> = []
    const baselineSamples: Array<Sample> = []
    const measured: Measured = {
      name,
      samples,
      against: against && { name: against.scenario.name, samples: baselineSamples, least: limit(against.least) }
    }
    const take = async (count: number) => {
      for (let i = 0; i < count; i++) {
        if (baseline !== undefined) baselineSamples.push(await sampleOf(baseline))
        samples.push(await sampleOf(runner))
      }
    }
    await take(rounds)
    // a burst of other load must not look like slowness
    if (isMissed(measured)) await take(2 * rounds)
    if (!warm.has(scenario)) runner.end()
    return measured
  }

  console.log(`\n${suite.name} · ${machine()}\n`)
  if (quick) {
    console.log("A smoke test: everything runs, rounds are too short and too few for the figures to mean much.\n")
  }
  const measured: Array<Measured> = []
  const weighed: Array<Weighed> = []
  const raced: Array<Raced> = []
  for (const scenario of suite.scenarios) {
    if (!scenario.name.includes(only)) continue
    process.stderr.write(`${suite.name}: ${scenario.name} …\n`)
    if (scenario._tag === "Throughput") measured.push(await measure(scenario))
    else if (scenario._tag === "Race") {
      const one = await runRace(suite, scenario, quick)
      console.log(`\n${raceTable(one)}\n`)
      raced.push(one)
    } else weighed.push(await figuresOf(suite, scenario))
  }
  for (const runner of warm.values()) runner.end()

  if (measured.length > 0) console.log(`${throughputTable(measured)}\n`)
  if (weighed.length > 0) console.log(`${footprintTable(weighed)}\n`)
  const share = coreShare(measured)
  if (measured.length > 0 && share < 0.9) {
    console.log(`The machine was busy: no scenario got more than ${Math.round(share * 100)} % of a core.`)
    console.log("Believe the ratios, not the jobs per second.\n")
  }
  return { measured, weighed, raced }
}

let misses = 0
for (const suite of picked) {
  const { measured, raced, weighed } = await runSuite(suite)
  misses += missed(measured, weighed) + (quick ? 0 : missedClaims(raced))
}
if (misses > 0) console.log(`${misses} ${misses === 1 ? "floor is" : "floors are"} missed.`)
process.exitCode = misses > 0 ? 1 : 0
