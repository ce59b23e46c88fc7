/** Headers that a caller gives to all of its jobs. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Client from "../src/Client.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import { traced } from "./fixtures/traces.ts"

const Note = Task.make("Note", { payload: Schema.String, queue: "notes" })

/** The headers of each job that ran, by its payload; one that is called `parent` enqueues others. */
const started = Effect.gen(function*() {
  const seen: Record<string, Readonly<Record<string, string>>> = {}
  const live = Note.toLayer(Effect.fnUntraced(function*(name, { headers }) {
    seen[name] = headers
    if (name !== "parent") return
    yield* Effect.orDie(Note.enqueue("child"))
    yield* Effect.provideService(Effect.orDie(Note.enqueue("heir")), Client.DefaultHeaders, headers)
  }))
  yield* run(Worker.layer({ tasks: [Note] }).pipe(Layer.provide(live)))
  return seen
})

const acme = Effect.provideService(Client.DefaultHeaders, { tenant: "acme", region: "eu" })

it.effect("are those of every job that it enqueues, in every way; the call's own win", () =>
  program(Effect.gen(function*() {
    const seen = yield* started
    const client = yield* Client.Client
    yield* acme(Effect.gen(function*() {
      yield* Note.enqueue("one")
      yield* Note.enqueue("own", { headers: { tenant: "other", more: "1" } })
      yield* Note.enqueueMany([{ payload: "first" }, { payload: "second", options: { headers: { region: "us" } } }])
      yield* client.enqueueByName("Note", "by name", { queue: "notes" })
    }))
    yield* Note.enqueue("outside")
    yield* settle
    const both = { tenant: "acme", region: "eu" }
    assert.deepStrictEqual(seen, {
      one: both,
      own: { tenant: "other", region: "eu", more: "1" },
      first: both,
      second: { tenant: "acme", region: "us" },
      "by name": both,
      outside: {}
    })
  })))

it.effect("are not handed on by a handler, unless it says so", () =>
  program(Effect.gen(function*() {
    const seen = yield* started
    yield* acme(Note.enqueue("parent"))
    yield* settle
    const both = { tenant: "acme", region: "eu" }
    assert.deepStrictEqual(seen, { parent: both, child: {}, heir: both })
  })))

it.effect("are beside those of a trace", () =>
  traced(() =>
    program(Effect.gen(function*() {
      const seen = yield* started
      yield* acme(Effect.andThen(Note.enqueue("one"), Note.enqueueMany([{ payload: "many" }])))
      yield* settle
      for (const name of ["one", "many"]) {
        assert.deepStrictEqual(Object.keys(seen[name]!).toSorted(), ["region", "tenant", "traceparent"])
      }
    }))
  ))

it.effect("that are no texts refuse the job", () =>
  program(Effect.gen(function*() {
    // @ts-expect-error: they are texts
    const wrong = Effect.provideService(Note.enqueue("one"), Client.DefaultHeaders, { tenant: 7 })
    const error = yield* Effect.flip(wrong)
    assert.strictEqual(error.message.includes("must be texts"), true)
  })))
