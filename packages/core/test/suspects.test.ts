/** How suspects are judged, where the store is full or answers get lost. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import * as DeadLetter from "../src/DeadLetter.ts"
import type { Envelope } from "../src/Envelope.ts"
import * as Suspects from "../src/internal/worker/suspects.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import { QueueFull, TransportError } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"
import { bareEnvelope } from "./samples.ts"

const Work = Task.make("Work", { payload: Schema.String, success: Schema.String, queue: "q" })

/** A job of `Work` that was handed out so often already. */
const handedOut = (id: string, deliveries: number): Envelope => ({
  ...bareEnvelope,
  id,
  queue: "q",
  task: "Work",
  priority: "normal",
  body: new TextEncoder().encode(JSON.stringify(id)),
  deliveries
})

const started = () => {
  const runs: Array<string> = []
  const layer = Worker.layer({ tasks: [Work] }).pipe(Layer.provide(Work.toLayer((name) =>
    Effect.sync(() => {
      runs.push(name)
      return name
    })
  )))
  return { runs, layer }
}

const suspectRows = { name: "suspects", queue: "q", listable: false }

describe("a suspect", () => {
  it.effect("of a full broker runs, and is poison by its hand-outs", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const { layer, runs } = started()
      const full: Transport["Service"] = {
        ...transport,
        store: {
          ...transport.store,
          put: (collection, key, value, options) =>
            collection.name === "suspects"
              ? Effect.fail(new TransportError({ reason: new QueueFull({ queue: "q", description: "full" }) }))
              : transport.store.put(collection, key, value, options)
        }
      }
      yield* transport.log.send([handedOut("suspect", 2), handedOut("poison", 5)])
      yield* Effect.provideService(run(layer), Transport, full)
      for (let second = 0; second < 5; second++) yield* Effect.andThen(settle, TestClock.adjust("1 second"))
      assert.deepStrictEqual(runs, ["suspect"])
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ id }) => id), ["poison"])
    })))

  it.effect("counts once when the answer to its mark is lost, and is acquitted when it ends", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const { layer, runs } = started()
      const faults = Faults.make(transport)
      let lost = 0
      yield* transport.log.send([handedOut("suspect", 2)])
      const losing: Transport["Service"] = {
        ...faults.transport,
        store: {
          ...faults.transport.store,
          put: (collection, key, value, options) =>
            Effect.gen(function*() {
              const isMark = collection.name === "suspects" && lost++ < 1
              yield* faults.loseReplies(({ operation }) => isMark && operation === "put")
              return yield* faults.transport.store.put(collection, key, value, options)
            })
        }
      }
      const seen: Array<string> = []
      const watching: Transport["Service"] = {
        ...losing,
        store: {
          ...losing.store,
          remove: (collection, key, options) =>
            Effect.gen(function*() {
              if (collection.name === "suspects") {
                const [row] = yield* transport.store.get(suspectRows, [key])
                if (row?._tag === "Some") seen.push(new TextDecoder().decode(row.value.value))
              }
              yield* transport.store.remove(collection, key, options)
            })
        }
      }
      yield* Effect.provideService(run(layer), Transport, watching)
      for (let second = 0; second < 5; second++) yield* Effect.andThen(settle, TestClock.adjust("1 second"))
      assert.deepStrictEqual(runs, ["suspect"])
      assert.deepStrictEqual(seen, [`{"enqueuedAt":${bareEnvelope.enqueuedAt},"revision":0,"deliveries":3,"count":1}`])
      assert.strictEqual((yield* transport.store.get(suspectRows, ["suspect"]))[0]?._tag, "None")
    })))

  it.effect("is poison by its own starts, not by those of an earlier job with its id", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const { layer, runs } = started()
      const { enqueuedAt } = bareEnvelope
      for (const [id, of] of [["poison", enqueuedAt], ["replayed", enqueuedAt - 1]] as const) {
        const row = JSON.stringify({ enqueuedAt: of, revision: 0, deliveries: 5, count: 3 })
        yield* transport.store.put(suspectRows, id, new TextEncoder().encode(row))
      }
      yield* transport.log.send([handedOut("poison", 5), handedOut("replayed", 5)])
      yield* run(layer)
      for (let second = 0; second < 5; second++) yield* Effect.andThen(settle, TestClock.adjust("1 second"))
      assert.deepStrictEqual(runs, ["replayed"])
      assert.deepStrictEqual((yield* DeadLetter.list("q")).items.map(({ id }) => id), ["poison"])
    })))

  it.effect("keeps its starts though a worker that stood still judges an earlier hand-out late", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const verdicts: Array<Suspects.Verdict> = []
      for (const [revision, deliveries] of [[1, 3], [1, 5], [1, 4], [0, 4], [1, 6], [1, 7]] as const) {
        const delivery = { envelope: { ...handedOut("job", 0), revision }, deliveries, suspectRecord: false }
        verdicts.push(yield* Suspects.judge({ transport, maxDeliveries: 5 }, "q", delivery, true))
      }
      const [first, second, late, older, third, fourth] = verdicts
      for (const written of [first, second, third]) assert.isAbove(Number(written), 0)
      assert.deepStrictEqual([late, older, fourth], [0, 0, "poison"])
    })))

  it.effect("is handed back more rarely the longer another one is in its way", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const { open, pass } = yield* gate
      const runs: Array<string> = []
      const layer = Worker.layer({ tasks: [Work], concurrency: 4 }).pipe(Layer.provide(Work.toLayer((name) =>
        Effect.as(
          name === "endless" ?
            Effect.andThen(
              pass,
              Effect.sync(() => runs.push(name))
            ) :
            Effect.sync(() => runs.push(name)),
          name
        )
      )))
      let back = 0
      const counting: Transport["Service"] = {
        ...transport,
        log: {
          ...transport.log,
          subscribe: (options) =>
            Effect.map(transport.log.subscribe(options), (subscription) => ({
              ...subscription,
              settle: (settlements) => {
                back += settlements.filter(({ _tag }) => _tag === "Forward").length
                return subscription.settle(settlements)
              }
            }))
        }
      }
      yield* transport.log.send([handedOut("endless", 2), handedOut("other", 2)])
      yield* Effect.provideService(run(layer), Transport, counting)
      const seconds = (count: number) =>
        Effect.forEach(Array.from({ length: count }), () => Effect.andThen(TestClock.adjust("1 second"), settle))
      yield* seconds(10)
      // not put off for long where the one in the way may end soon
      assert.isAtLeast(back, 4)
      yield* seconds(110)
      // at most twice in ten seconds
      assert.isAtMost(back, 10 + 22)
      assert.deepStrictEqual(runs, [])
      yield* open
      yield* seconds(11)
      assert.deepStrictEqual(runs, ["endless", "other"])
    })))
})
