/**
 * Owners that lost their lease and do not know it: their heartbeats tell them
 * otherwise, as a process believes that stood still at the wrong moment.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as Actor from "../src/Actor.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"

const Ledger = Actor.make("Ledger", {
  state: Schema.Array(Schema.String),
  initialState: () => [],
  messages: [Task.make("Add", { payload: { text: Schema.String }, success: Schema.Number })]
})

interface Believer {
  /** Its heartbeats never reach the broker, and tell it that all is well. */
  readonly believes: () => boolean
  /** Before its first look at a state it stands still until then. */
  readonly look?: Deferred.Deferred<void>
  /** Before its first handler ends. */
  readonly end?: Deferred.Deferred<void>
}

const stale = ({ believes, look }: Believer) =>
  Layer.effect(
    Transport,
    Transport.useSync((inner) => {
      let looked = false
      return {
        ...inner,
        log: {
          ...inner.log,
          subscribe: (options) =>
            Effect.map(inner.log.subscribe(options), (subscription) => ({
              ...subscription,
              extend: (deliveries) =>
                Effect.suspend(() => believes() ? Effect.succeed(deliveries) : subscription.extend(deliveries))
            }))
        },
        store: {
          ...inner.store,
          get: (collection, keys) =>
            Effect.suspend(() => {
              if (look === undefined || looked || !collection.name.startsWith("actor/")) {
                return inner.store.get(collection, keys)
              }
              looked = true
              return Effect.andThen(Deferred.await(look), inner.store.get(collection, keys))
            })
        }
      }
    })
  )

const worker = (id: string, runs: Array<string>, believer?: Believer) => {
  const live = Ledger.toLayer({
    Add: Effect.fnUntraced(function*({ text }, state) {
      runs.push(`${id}: ${text}`)
      yield* state.update((entries) => [...entries, text])
      if (believer?.end !== undefined && runs.filter((run) => run.startsWith(id)).length === 1) {
        yield* Deferred.await(believer.end)
      }
      return (yield* state.get).length
    })
  })
  // one that holds a message takes no other
  const room = believer === undefined ? {} : { concurrency: 1, prefetch: 0 }
  const layer = Worker.layer({ id, tasks: Ledger.tasks, idleTimeout: "1 second", ...room }).pipe(Layer.provide(live))
  return believer === undefined ? layer : Layer.provide(layer, stale(believer))
}

const pass = (milliseconds: number) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < milliseconds; passed += 100) {
      yield* TestClock.adjust(100)
      yield* settle
    }
  })

const stored = Effect.map(Ledger.state("a"), (found) => Option.getOrThrow(found).state)

describe("an owner that does not know yet that it lost its lease", () => {
  it.effect("applies nothing to a state that it read too late", () =>
    program(Effect.gen(function*() {
      const runs: Array<string> = []
      let believes = true
      const look = yield* Deferred.make<void>()
      yield* run(worker("stale", runs, { believes: () => believes, look }))
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "one" }, { discard: true })
      yield* settle
      yield* run(worker("owner", runs))
      yield* pass(3_000)
      yield* ledger("a").Add({ text: "two" })
      expect(yield* stored).toEqual(["one", "two"])
      // it sees the state after both, and neither as the last: only the lease tells it
      believes = false
      yield* Deferred.succeed(look, undefined)
      yield* pass(1_000)
      expect(yield* stored).toEqual(["one", "two"])
      expect(runs).toEqual(["owner: one", "owner: two", "stale: one"])
    })))

  it.effect("answers with what the owner stored, if its own write comes later", () =>
    program(Effect.gen(function*() {
      const runs: Array<string> = []
      const end = yield* Deferred.make<void>()
      yield* run(worker("stale", runs, { believes: () => true, end }))
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "one" }, { discard: true })
      yield* settle
      yield* run(worker("owner", runs))
      yield* pass(3_000)
      expect(yield* stored).toEqual(["one"])
      yield* Deferred.succeed(end, undefined)
      yield* pass(1_000)
      expect(yield* stored).toEqual(["one"])
      expect(runs).toEqual(["stale: one", "owner: one"])
    })))

  it.effect("does not trust what it kept in memory", () =>
    program(Effect.gen(function*() {
      const runs: Array<string> = []
      yield* run(worker("first", runs))
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "0" })
      yield* run(worker("second", runs))
      for (let n = 1; n < 20; n++) expect(yield* ledger("a").Add({ text: `${n}` })).toBe(n + 1)
      expect(new Set(runs.map((run) => run.split(":")[0])).size).toBe(2)
      expect(runs.length).toBe(20)
    })))

  it.effect("cleans up before the message that it lost runs again in the same worker", () =>
    program(Effect.gen(function*() {
      const log: Array<string> = []
      let believes = true
      let count = 0
      const layer = Worker.layer({ tasks: Ledger.tasks, idleTimeout: "1 second" }).pipe(
        Layer.provide(Ledger.toLayer({
          Add: () =>
            Effect.suspend(() => {
              const run = ++count
              log.push(`${run} starts`)
              const ended = Effect.andThen(Effect.sleep(800), Effect.sync(() => log.push(`${run} is gone`)))
              return run === 1 ? Effect.onInterrupt(Effect.never, () => ended) : Effect.succeed(run)
            })
        })),
        Layer.provide(stale({ believes: () => believes }))
      )
      yield* run(layer)
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "one" }, { discard: true })
      yield* pass(1_500)
      believes = false
      yield* pass(3_000)
      expect(log).toEqual(["1 starts", "1 is gone", "2 starts"])
    })))
})
