import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Client from "../src/Client.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import { QueueFull, TransportError } from "../src/TransportError.ts"
import { program } from "./fixtures/kit.ts"

class Greet extends Task.make("Greet", { payload: { name: Schema.NonEmptyString }, queue: "greetings" }) {}

describe("a large enqueueMany", () => {
  const items = (keyed: boolean) =>
    Array.from({ length: 600 }, (_, i) => ({
      payload: { name: "Ada" },
      options: { id: `${i}`, key: keyed ? "a" : undefined }
    }))

  /** What the transport is asked, and how many calls are under way at once. */
  const enqueue = Effect.fnUntraced(function*(keyed: boolean, failing: (call: number) => boolean) {
    const transport = yield* Transport
    const seen = { calls: 0, underWay: 0, most: 0, ids: [] as Array<string> }
    const away = new TransportError({ reason: new QueueFull({ queue: "greetings", description: "no room" }) })
    const slow: Transport["Service"] = {
      ...transport,
      log: {
        ...transport.log,
        send: (envelopes) =>
          Effect.gen(function*() {
            const call = seen.calls++
            seen.most = Math.max(seen.most, ++seen.underWay)
            seen.ids.push(...envelopes.map((envelope) => envelope.id))
            yield* Effect.yieldNow
            seen.underWay--
            return failing(call) ? yield* Effect.fail(away) : envelopes.map(() => "sent" as const)
          })
      }
    }
    const outcomes = yield* Effect.result(Greet.enqueueMany(items(keyed))).pipe(
      Effect.provide(Client.layer, { local: true }),
      Effect.provideService(Transport, slow)
    )
    return { ...seen, outcomes, away }
  })

  it.effect("travels in chunks that overlap, and answers in its order", () =>
    program(Effect.gen(function*() {
      const { most, outcomes } = yield* enqueue(false, () => false)
      assert.isAbove(most, 1)
      assert.deepStrictEqual(
        Result.getOrThrow(outcomes).map((one) => Result.getOrThrow(one).id),
        items(false).map((item) => item.options.id)
      )
    })))

  it.effect("sends jobs of keys one chunk after the other", () =>
    program(Effect.gen(function*() {
      const { ids, most } = yield* enqueue(true, () => false)
      assert.strictEqual(most, 1)
      assert.deepStrictEqual(ids, items(true).map((item) => item.options.id))
    })))

  it.effect("fails the jobs of the chunk that failed, or as a whole", () =>
    program(Effect.gen(function*() {
      const { away, outcomes } = yield* enqueue(false, (call) => call === 1)
      const failed = Result.getOrThrow(outcomes).map(Result.isFailure)
      assert.strictEqual(failed.length, 600)
      assert.strictEqual(failed.indexOf(true), 200)
      assert.strictEqual(failed.lastIndexOf(true), 399)
      assert.strictEqual(failed.filter((one) => one).length, 200)
      const all = yield* enqueue(false, () => true)
      assert.isTrue(Result.isFailure(all.outcomes))
      assert.deepStrictEqual(Result.isFailure(all.outcomes) && all.outcomes.failure.reason, away.reason)
    })))
})
