/**
 * Random histories of an actor on the memory transport, each from a seed alone.
 *
 * `TROUPE_SIMULATION_SEEDS=5000` plays so many histories, `TROUPE_SIMULATION_SEED=123`
 * plays exactly one and prints it.
 */
import { assert, describe, it } from "vitest"
import { bugs, late } from "./simulation/actorBugs.ts"
import { simulateActors } from "./simulation/actors.ts"

const number = (name: string): number | undefined => {
  const text = process.env[name]
  return text === undefined || text === "" ? undefined : Number(text)
}

const one = number("TROUPE_SIMULATION_SEED")
const count = number("TROUPE_SIMULATION_SEEDS") ?? 100
const seeds = one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [one]

describe("Simulation of an actor", () => {
  it(`keeps its promises in ${seeds.length} histories`, async () => {
    const sum = { messages: 0, runs: 0 }
    for (const seed of seeds) {
      const { complaints, lines, messages, runs } = await simulateActors(seed)
      if (one !== undefined) console.log([...lines, ...complaints].join("\n"))
      assert.deepStrictEqual(complaints, [], `seed ${seed}`)
      sum.messages += messages
      sum.runs += runs
    }
    console.log(`${seeds.length} histories: ${sum.messages} messages, ${sum.runs} runs`)
  }, Math.max(60_000, seeds.length * 1_000))

  it("keeps them when writes are late", async () => {
    for (const seed of seeds.slice(0, 50)) {
      assert.deepStrictEqual((await simulateActors(seed, late((options) => options))).complaints, [], `seed ${seed}`)
    }
  }, 120_000)

  it("plays the same history from the same seed", async () => {
    const first = await simulateActors(3)
    await simulateActors(4)
    assert.isAbove(first.lines.length, 5)
    assert.deepStrictEqual((await simulateActors(3)).lines, first.lines)
  })

  for (const [name, bug] of Object.entries(bugs)) {
    it(`catches: ${name}`, async () => {
      for (let seed = 1; seed <= 150; seed++) {
        const [complaint] = (await simulateActors(seed, bug)).complaints
        if (complaint !== undefined) return console.log(`"${name}" is caught by seed ${seed}: ${complaint}`)
      }
      assert.fail("no seed up to 150 caught it")
    }, 120_000)
  }
})
