/**
 * Random histories of an actor on the memory transport, each from a seed alone.
 *
 * `TROUPE_SIMULATION_SEEDS=5000` plays so many histories, `TROUPE_SIMULATION_SEED=123`
 * plays exactly one and prints it.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { assert, describe, it } from "vitest"
import * as Row from "../src/internal/actor/row.ts"
import type { Collection, PutOptions } from "../src/Store.ts"
import { type Bug, simulateActors } from "./simulation/actors.ts"

const number = (name: string): number | undefined => {
  const text = process.env[name]
  return text === undefined || text === "" ? undefined : Number(text)
}

const one = number("TROUPE_SIMULATION_SEED")
const count = number("TROUPE_SIMULATION_SEEDS") ?? 100
const seeds = one === undefined ? Array.from({ length: count }, (_, i) => i + 1) : [one]

const isState = ({ name }: Collection) => name.startsWith("actor/")

/** Every third write of a state is under way for 2.5 s, also when nobody waits for it any more. */
const late = (change: (options: PutOptions) => PutOptions): Bug => (transport) => {
  let count = 0
  return {
    ...transport,
    store: {
      ...transport.store,
      put: (collection, key, value, options = {}) => {
        if (!isState(collection)) return transport.store.put(collection, key, value, options)
        const put = transport.store.put(collection, key, value, change(options))
        const slow = Effect.suspend(() => Effect.delay(put, count++ % 3 === 0 ? 2_500 : 0))
        return Effect.flatMap(Effect.forkDetach(slow), Fiber.join)
      }
    }
  }
}

const bugs: Readonly<Record<string, Bug>> = {
  "states written whatever stands": late(({ ifRevision: _, ...others }) => others),
  "outcomes of messages forgotten": (transport) => ({
    ...transport,
    store: {
      ...transport.store,
      get: (collection, keys) =>
        Effect.map(transport.store.get(collection, keys), (rows) =>
          isState(collection)
            ? rows.map((row) =>
              Option.map(row, ({ revision, value }) => ({
                revision,
                value: Row.toBytes({ ...Row.fromBytes(value), last: undefined })
              }))
            )
            : rows)
    }
  })
}

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
