/**
 * Random histories of an actor on a model of JetStream, each from a seed alone.
 *
 * `TROUPE_SIMULATION_SEEDS=5000` plays so many histories, `TROUPE_SIMULATION_SEED=123`
 * plays exactly one and prints it.
 */
import { assert, describe, it } from "vitest"
import { bugs, late } from "../../core/test/simulation/actorBugs.ts"
import { simulateActors } from "../../core/test/simulation/actors.ts"
import { portBugs } from "./simulation/actorBugs.ts"
import { nats } from "./simulation/actors.ts"

const number = (name: string): number | undefined => {
  const text = process.env[name]
  return text === undefined || text === "" ? undefined : Number(text)
}

const one = number("TROUPE_SIMULATION_SEED")
const count = number("TROUPE_SIMULATION_SEEDS") ?? 60
const seeds = one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [one]

/** Seeds after which a bug must have shown. */
const within = 150

const assertCaught = async (name: string, play: (seed: number) => ReturnType<typeof simulateActors>) => {
  for (let seed = 1; seed <= within; seed++) {
    const [complaint] = (await play(seed)).complaints
    if (complaint !== undefined) return console.log(`"${name}" is caught by seed ${seed}: ${complaint}`)
  }
  assert.fail(`no seed up to ${within} caught it`)
}

describe("Simulation of an actor on JetStream", () => {
  it(`keeps its promises in ${seeds.length} histories`, async () => {
    const sum = { messages: 0, runs: 0 }
    for (const seed of seeds) {
      const { complaints, lines, messages, runs } = await simulateActors(seed, undefined, nats())
      if (one !== undefined) console.log([...lines, ...complaints].join("\n"))
      assert.deepStrictEqual(complaints, [], `seed ${seed}`)
      sum.messages += messages
      sum.runs += runs
    }
    console.log(`${seeds.length} histories: ${sum.messages} messages, ${sum.runs} runs`)
  }, Math.max(60_000, seeds.length * 1_000))

  it("keeps them when writes are late", async () => {
    for (const seed of seeds.slice(0, 30)) {
      const { complaints } = await simulateActors(seed, late((options) => options), nats())
      assert.deepStrictEqual(complaints, [], `seed ${seed}`)
    }
  }, 120_000)

  for (const [name, bug] of Object.entries(bugs)) {
    it(`catches: ${name}`, () => assertCaught(name, (seed) => simulateActors(seed, bug, nats())), 120_000)
  }

  for (const [name, atPort] of Object.entries(portBugs)) {
    it(`catches: ${name}`, () => assertCaught(name, (seed) => simulateActors(seed, undefined, nats(atPort))), 120_000)
  }
})
