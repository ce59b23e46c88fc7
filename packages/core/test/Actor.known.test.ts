/**
 * A worker that had the key just before knows its row: it is not read again,
 * and nobody can tell the difference.
 */
import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Actor from "../src/Actor.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"

const Ledger = Actor.make("Ledger", {
  state: Schema.Array(Schema.String),
  initialState: () => [],
  messages: [
    Task.make("Add", { payload: { text: Schema.String }, success: Schema.Number }),
    Task.make("Count", { success: Schema.Number })
  ]
})

const live = (seen: Array<string>) =>
  Ledger.toLayer({
    Add: Effect.fnUntraced(function*({ text }, state) {
      seen.push(`${text} after ${(yield* state.get).length}`)
      yield* state.update((entries) => [...entries, text])
      return (yield* state.get).length
    }),
    Count: Effect.fnUntraced(function*(_, state) {
      const { length } = yield* state.get
      seen.push(`count ${length}`)
      return length
    })
  })

/** Counts the rows that are read, and does something once a row is written for the first time. */
const watched = (reads: Array<string>, afterFirstWrite: Effect.Effect<unknown, unknown, Transport>) =>
  Layer.effect(
    Transport,
    Transport.useSync((inner) => {
      let written = false
      return {
        ...inner,
        store: {
          ...inner.store,
          get: (collection, keys) => {
            if (collection.name === "actor/Ledger") reads.push(...keys)
            return inner.store.get(collection, keys)
          },
          put: (collection, key, value, options) =>
            Effect.tap(inner.store.put(collection, key, value, options), () => {
              if (collection.name !== "actor/Ledger" || written) return Effect.void
              written = true
              return Effect.orDie(Effect.provideService(afterFirstWrite, Transport, inner))
            })
        }
      }
    })
  )

const worker = (
  seen: Array<string>,
  reads: Array<string>,
  afterFirstWrite: Effect.Effect<unknown, unknown, Transport> = Effect.void
) =>
  Worker.layer({ tasks: Ledger.tasks }).pipe(
    Layer.provide(live(seen)),
    Layer.provide(watched(reads, afterFirstWrite))
  )

const stored = Effect.map(Ledger.state("a"), (found) => Option.getOrThrow(found).state)

describe("a worker that had the key just before", () => {
  it.effect("reads its row once for all messages that wait", () =>
    program(Effect.gen(function*() {
      const [seen, reads]: [Array<string>, Array<string>] = [[], []]
      const ledger = yield* Ledger.client
      for (let n = 0; n < 10; n++) yield* ledger("a").Add({ text: `${n}` }, { discard: true })
      yield* run(worker(seen, reads))
      yield* settle
      expect(seen).toEqual(Array.from({ length: 10 }, (_, n) => `${n} after ${n}`))
      expect(reads).toEqual(["a"])
      expect((yield* stored).length).toBe(10)
      // the key was free meanwhile
      expect(yield* ledger("a").Count(undefined)).toBe(10)
      expect(reads).toEqual(["a", "a"])
    })))

  it.effect("applies the next message to what an operator left", () =>
    program(Effect.gen(function*() {
      const [seen, reads]: [Array<string>, Array<string>] = [[], []]
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "one" }, { discard: true })
      yield* ledger("a").Add({ text: "two" }, { discard: true })
      yield* run(worker(seen, reads, Ledger.reset("a")))
      yield* settle
      expect(yield* stored).toEqual(["two"])
      expect(seen).toEqual(["one after 0", "two after 1", "two after 0"])
    })))

  it.effect("answers a message that writes nothing from what an operator left", () =>
    program(Effect.gen(function*() {
      const [seen, reads]: [Array<string>, Array<string>] = [[], []]
      const ledger = yield* Ledger.client
      yield* ledger("a").Add({ text: "one" }, { discard: true })
      const count = yield* Effect.forkChild(ledger("a").Count(undefined), { startImmediately: true })
      yield* settle
      yield* run(worker(seen, reads, Ledger.reset("a")))
      yield* settle
      expect(count.pollUnsafe()).toMatchObject({ _tag: "Success", value: 0 })
      expect(seen).toEqual(["one after 0", "count 1", "count 0"])
    })))
})
