/**
 * The token of a key comes again while whoever had it lets its job go on.
 */
import type { Delivery } from "@troupe/core/JobLog"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { assert, describe, it } from "vitest"
import { Kit, virtualTime } from "../../core/src/testing/conformance/kit.ts"
import type { Streams } from "../src/internal/streams.ts"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

const options = { namespace: "sim", durability: "process" } as const

/** Tokens that are replaced are under way for 3 s. */
const slow = (streams: Streams): Streams => ({
  ...streams,
  publish: (messages) =>
    messages.some(({ expected = 0, subject }) => subject.startsWith("sim.w.q.t.") && expected > 0)
      ? Effect.delay(streams.publish(messages), 3_000)
      : streams.publish(messages)
})

const subscribe = ({ log }: Transport["Service"], consumer: string) =>
  log.subscribe({ queue: "q", priorities: ["default"], consumer, lease: 1_000 })

describe("The turn of a key", () => {
  it("lets every revision be handed out once, although its token comes again", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const first = yield* make(slow(wire.streams), options)
        const second = yield* make(wire.streams, options)
        const envelope = new Kit(second, virtualTime, "q").envelope({ key: "k" })
        yield* second.log.send([envelope])
        const slowWorker = yield* subscribe(first, "slow")
        const [delivery] = yield* slowWorker.pull(1)
        const worker = yield* subscribe(second, "w")
        const successor = { ...envelope, revision: 1, attempt: 2 }
        yield* Effect.forkChild(slowWorker.settle([{ _tag: "Forward", delivery, successor }]))
        const seen: Array<Delivery> = []
        const pull = Effect.tap(worker.pull(1), ([one]) => Effect.sync(() => seen.push(one)))
        yield* pull
        // it keeps what it has
        const beat = Effect.andThen(Effect.sleep(300), Effect.suspend(() => worker.extend([seen[0]!])))
        yield* Effect.forkChild(Effect.forever(beat))
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(pull, 10_000)))
        assert.deepStrictEqual(seen.map(({ deliveries, envelope }) => [envelope.revision, deliveries]), [[1, 1]])
        assert.deepStrictEqual(
          yield* worker.settle([new Kit(second, virtualTime, "q").ack(seen[0]!)]),
          ["settled"]
        )
      })
    ))
})
