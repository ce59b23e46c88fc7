import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { TestClock } from "effect/testing"
import * as Client from "../src/Client.ts"
import * as JobQueue from "../src/JobQueue.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"

const Idle = Task.make("Idle", { queue: "presence" })

describe("the row of a worker", () => {
  it.effect("is its own after the answer to a renewal got lost", () => {
    const lines: Array<string> = []
    const logger = Logger.make(({ message }) => {
      lines.push(String(message))
    })
    return Effect.gen(function*() {
      const faults = Faults.make(yield* Transport)
      const start = Worker.make({ tasks: [Idle], id: "w" }).pipe(
        Effect.provide(Idle.toLayer(() => Effect.void)),
        Effect.provideService(Transport, faults.transport)
      )
      yield* start
      yield* faults.loseReplies(({ operation }) => operation === "put")
      yield* TestClock.adjust("1 second")
      // then a request that never arrives, and says something else: what was sent last is not what stands
      yield* faults.loseReplies(false)
      yield* faults.loseRequests(({ operation }) => operation === "put")
      yield* Idle.enqueue()
      yield* TestClock.adjust("1 second")
      yield* faults.heal
      yield* TestClock.adjust("10 seconds")
      const { items } = yield* JobQueue.workers()
      assert.deepStrictEqual(items.map(({ finished, id }) => [id, finished]), [["w", 1]])
      assert.isTrue(lines.some((line) => line.includes("did not take the worker's sign of life")))
      assert.deepStrictEqual(lines.filter((line) => line.includes("took the id")), [])
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.merge(Layer.provideMerge(Client.layer, MemoryTransport.layer), Logger.layer([logger])))
    )
  })
})
