/** How a job waits for a worker that knows its task. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import type { Settlement } from "../src/JobLog.ts"
import * as Task from "../src/Task.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { program, run, settle } from "./fixtures/kit.ts"
import * as Spy from "./fixtures/spy.ts"

const Known = Task.make("Known", { queue: "q" })
const Unknown = Task.make("Unknown", { queue: "q" })

it.effect("hand-backs of a job whose task is unknown keep no step: a broker that serves in rounds meets all workers", () =>
  program(Effect.gen(function*() {
    const spy = Spy.make(yield* Transport)
    yield* run(Worker.layer({ tasks: [Known] }).pipe(Layer.provide(Known.toLayer(() => Effect.void)))).pipe(
      Effect.provideService(Transport, spy.transport)
    )
    yield* Unknown.enqueue()
    for (let second = 0; second < 120; second++) yield* Effect.andThen(settle, TestClock.adjust("1 second"))
    const settlements = spy.of("subscription.settle").flatMap(({ args }) => args[0] as ReadonlyArray<Settlement>)
    const delays = settlements.map((settlement) =>
      settlement._tag === "Forward" && settlement.successor.due?._tag === "After" ? settlement.successor.due.after : 0
    )
    for (const delay of delays) assert.isTrue(delay >= 500 && delay <= 5_000, `a delay of ${delay} ms`)
    assert.isAbove(delays.length, 24, "hand-outs within two minutes")
    const later = delays.slice(-16)
    assert.isAbove(Math.max(...later) - Math.min(...later), 1_000, `they differ: ${later.join(", ")}`)
  })))
