/** Many workers on one queue. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"

const Work = Task.make("Work", { payload: Schema.Int, success: Schema.Int, queue: "herd" })

describe("fifty idle workers", () => {
  it.effect("run one job once, and share fifty", () =>
    program(Effect.gen(function*() {
      const runs: Array<number> = []
      const worker = Worker.layer({ tasks: [Work], concurrency: 1, prefetch: 0 }).pipe(
        Layer.provide(Work.toLayer((n) => Effect.as(Effect.sync(() => runs.push(n)), n)))
      )
      const workers = yield* Effect.forEach(Array.from({ length: 50 }), () => run(Layer.fresh(worker)))
      yield* settle
      assert.strictEqual((yield* JobQueue.stats("herd")).consumers, 50)
      assert.strictEqual(yield* (yield* Work.enqueue(0)).await, 0)
      assert.deepStrictEqual(runs, [0])
      const items = Array.from({ length: 50 }, (_, i) => ({ payload: i + 1 }))
      for (const job of yield* Work.enqueueMany(items)) yield* (yield* Effect.fromResult(job)).await
      assert.deepStrictEqual([...runs].sort((a, b) => a - b), Array.from({ length: 51 }, (_, i) => i))
      // the last result is pushed before its worker has its answer
      yield* settle
      const finished = yield* Effect.forEach(workers, ({ worker }) => worker.finished)
      assert.strictEqual(finished.reduce((sum, one) => sum + one, 0), 51)
      assert.isAbove(finished.filter((count) => count > 0).length, 40)
    })))
})
