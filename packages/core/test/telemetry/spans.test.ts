import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Task from "../../src/Task.ts"
import * as Worker from "../../src/Worker.ts"
import { program, run, settle } from "../fixtures/kit.ts"
import { traced } from "../fixtures/traces.ts"

const Greet = Task.make("Greet", { payload: { name: Schema.String }, success: Schema.String, queue: "mail" })

describe("a job", () => {
  it.effect("is a send span and a process span in one trace", () =>
    traced((traces) =>
      program(Effect.gen(function*() {
        yield* run(
          Worker.layer({ tasks: [Greet] }).pipe(Layer.provide(Greet.toLayer(({ name }) => Effect.succeed(name))))
        )
        const job = yield* Greet.enqueue({ name: "ada" })
        yield* job.await
        yield* settle
        const send = traces.one("send mail")
        const run_ = traces.one("process mail")
        assert.deepStrictEqual([send.kind, send.state, send.parentId], ["producer", "unset", undefined])
        assert.deepStrictEqual([run_.kind, run_.state, run_.parentId], ["consumer", "unset", send.spanId])
        assert.strictEqual(run_.traceId, send.traceId)
        assert.deepStrictEqual(run_.linksTo, [["creation", send.spanId]])
      }))
    ))
})
