/**
 * A client that awaits a result while its connection is lost: what was said
 * meanwhile it reads when the connection is back, not with its next round.
 */
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import { assert, describe, it } from "vitest"
import { Kit, virtualTime } from "../../core/src/testing/conformance/kit.ts"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

const options = { namespace: "sim", durability: "process" } as const

class Work extends Task.make("Work", { queue: "q" }) {}

/** ms that the connection is lost: between two rounds of a waiting client, which are 5 s apart. */
const lost = { from: 5_500, to: 6_500 } as const

/** When the client that enqueued or another one was told, ms since it began to wait. */
const toldAfter = async (enqueuesItself: boolean): Promise<number> => {
  let told = Infinity
  await playAtPort(({ connect, wire }) =>
    Effect.gen(function*() {
      const own = connect()
      const other = yield* make(wire.streams, options)
      const clientOver = (transport: Transport["Service"]) =>
        Effect.provide(Layer.build(Client.layer), Layer.succeed(Transport, transport))
      const client = yield* clientOver(yield* make(own.streams, options))
      const sender = enqueuesItself ? client : yield* clientOver(other)
      const { id } = yield* Effect.provide(Work.enqueue(), sender)
      const startedAt = yield* Clock.currentTimeMillis
      const { job } = Context.get(client, Client.Client)
      const waiting = yield* Effect.forkChild(job("q", id).awaitRecord)
      const worker = yield* other.log.subscribe({ queue: "q", priorities: ["normal"], consumer: "w", lease: 60_000 })
      const [delivery] = yield* worker.pull(1)
      yield* Effect.sleep(lost.from)
      own.cutOff(lost.to - lost.from, true)
      yield* Effect.sleep(100)
      yield* worker.settle([new Kit(other, virtualTime, "q").ack(delivery)])
      yield* Fiber.join(waiting)
      told = (yield* Clock.currentTimeMillis) - startedAt
    })
  )
  return told
}

describe("A client that awaits a result while its connection is lost", () => {
  for (
    const [who, enqueuesItself] of [["that enqueued the job", true], ["that did not enqueue the job", false]] as const
  ) {
    it(`hears of it when the connection is back (a client ${who})`, async () => {
      const after = await toldAfter(enqueuesItself)
      assert.isAtLeast(after, lost.to)
      assert.isBelow(after, lost.to + 500)
    })
  }
})
