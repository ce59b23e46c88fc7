/**
 * Random histories on a model of JetStream, each from a seed alone.
 *
 * `TROUPE_SIMULATION_SEEDS=5000` plays so many histories, `TROUPE_SIMULATION_SEED=123`
 * plays exactly one and prints it.
 */
import { Invariants } from "@troupe/core/testing"
import { assert, describe, it } from "vitest"
import { bugs } from "./simulation/bugs.ts"
import { claimsGivenUp, comingTwice, settlingTogether } from "./simulation/hardship.ts"
import { oversights } from "./simulation/oversights.ts"
import { type Report, simulate } from "./simulation/simulation.ts"

const number = (name: string): number | undefined => {
  const text = process.env[name]
  return text === undefined || text === "" ? undefined : Number(text)
}

const one = number("TROUPE_SIMULATION_SEED")
const count = number("TROUPE_SIMULATION_SEEDS") ?? 60
/** These showed what no history before them had. */
const telling = [163, 372, 397, 511, 2446, 2553]
const seeds = one === undefined ? [...Array.from({ length: count }, (_, i) => i + 1), ...telling] : [one]

/** These, with claims that are given up. */
const givenUp = [75, 79]

/** ms for one history on a slow machine that does other things, too. */
const patience = 5_000

const trace = ({ lines, violations }: Report): string => [...lines, Invariants.format(violations)].join("\n")

const assertKept = (report: Report): void => {
  if (report.violations.length === 0) return
  const { seed, violations } = report
  assert.fail(
    `seed ${seed} broke ${violations.length} promises. Replay it with\n` +
      `TROUPE_SIMULATION_SEED=${seed} npx vitest run packages/transport-nats/test/simulation.test.ts\n${trace(report)}`
  )
}

describe("Simulation of JetStream", () => {
  it(`keeps its promises in ${seeds.length} histories`, async () => {
    const startedAt = performance.now()
    const sum = { jobs: 0, runs: 0, minutes: 0 }
    for (const seed of seeds) {
      const report = await simulate(seed)
      if (one !== undefined) console.log(trace(report))
      assertKept(report)
      sum.jobs += report.jobs
      sum.runs += report.runs
      sum.minutes += report.lasted / 60_000
    }
    const perSecond = (1_000 * seeds.length / (performance.now() - startedAt)).toFixed(1)
    const minutes = sum.minutes.toFixed(0)
    console.log(
      `${seeds.length} histories, ${perSecond} per second: ${sum.jobs} jobs, ${sum.runs} runs, ${minutes} virtual minutes`
    )
  }, Math.max(60_000, seeds.length * patience))

  it("keeps its promises although senders give up their claims", async () => {
    for (const seed of one === undefined ? [...Array.from({ length: 15 }, (_, i) => i + 1), ...givenUp] : [one]) {
      assertKept(await simulate(seed, { atPort: claimsGivenUp }))
    }
  }, 120_000)

  it("keeps its promises although requests come once more", async () => {
    for (const seed of one === undefined ? Array.from({ length: 30 }, (_, i) => i + 1) : [one]) {
      assertKept(await simulate(seed, { atPort: comingTwice }))
    }
  }, 120_000)

  it("keeps its promises although one answer speaks for many records", async () => {
    for (const seed of one === undefined ? Array.from({ length: 30 }, (_, i) => i + 1) : [one]) {
      assertKept(await simulate(seed, { atPort: settlingTogether }))
    }
  }, 120_000)

  it("plays the same history from the same seed", async () => {
    const first = await simulate(5)
    // something else in between must not matter
    await simulate(6)
    const second = await simulate(5)
    assert.isAbove(first.lines.length, 20)
    assert.deepStrictEqual(second.lines, first.lines)
  }, 60_000)

  for (const [name, bug] of Object.entries({ ...bugs, ...oversights })) {
    it(`catches: ${name}`, async () => {
      for (let seed = 1; seed <= bug.within; seed++) {
        const { violations } = await simulate(seed, { ...bug, patience: 90_000 })
        const shown = violations.find((violation) => bug.shows.includes(violation.kind))
        if (shown === undefined) continue
        console.log(`"${name}" is caught by seed ${seed}: ${Invariants.format([shown])}`)
        return
      }
      assert.fail(`no seed up to ${bug.within} caught it`)
    }, Math.max(60_000, bug.within * patience))
  }
})
