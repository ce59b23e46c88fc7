/**
 * Due times and rows are two writes: whatever happens between them, a job that
 * was accepted runs, once, and not before its time.
 */
import type * as Envelope from "@troupe/core/Envelope"
import type { Delivery, Subscription } from "@troupe/core/JobLog"
import type { Transport } from "@troupe/core/Transport"
import { TransportError, Unavailable } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { assert, describe, it } from "vitest"
import { Kit, virtualTime } from "../../core/src/testing/conformance/kit.ts"
import type { Publish, Published, Streams } from "../src/internal/streams.ts"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

const options = { namespace: "d", durability: "process" } as const

const isRow = ({ subject }: Publish) => subject.startsWith("d.r.q.j.")
const isDue = ({ subject }: Publish) => subject.startsWith("d.t.q.m.")

type Sending = (messages: ReadonlyArray<Publish>) => Effect.Effect<ReadonlyArray<Published>>

const sending = (streams: Streams, publish: (send: Sending) => Sending): Streams => ({
  ...streams,
  publish: publish((messages) => streams.publish(messages))
})

/** The first write of a row takes so many ms; what follows it goes another way. */
const slow = (streams: Streams, milliseconds: number, after: Sending = streams.publish): Streams => {
  let rows = 0
  return sending(streams, (send) => (messages) => {
    if (messages.some(isRow) && ++rows === 1) return Effect.delay(send(messages), milliseconds)
    return rows > 0 && messages.some(isDue) ? after(messages) : send(messages)
  })
}

const failed: Published = {
  _tag: "Failed",
  error: new TransportError({ reason: new Unavailable({ operation: "publish", description: "no answer" }) })
}

let count = 0

const kit = (transport: Transport["Service"]) => new Kit(transport, virtualTime, "q")

const delayed = (transport: Transport["Service"], after: number) => ({
  ...kit(transport).envelope({ id: `job-${++count}` }),
  due: { _tag: "After", after } as const
})

const subscribe = ({ log }: Transport["Service"], consumer: string) =>
  log.subscribe({ queue: "q", priorities: ["default"], consumer, lease: 2_000 })

/** What comes within so many ms. */
const pull = (worker: Subscription, milliseconds: number) =>
  Effect.map(Effect.timeoutOption(worker.pull(1), milliseconds), Option.getOrElse((): ReadonlyArray<Delivery> => []))

describe("A job that waits for its time", () => {
  it("waits once, however often it is sent", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const transport = yield* make(wire.streams, options)
        const { log } = transport
        const job = delayed(transport, 60_000)
        assert.deepStrictEqual(yield* log.send([job]), ["sent"])
        assert.deepStrictEqual(yield* log.send([job]), ["duplicate"])
        yield* Effect.sleep(40_000)
        assert.deepStrictEqual(yield* log.send([job]), ["duplicate"])
        assert.strictEqual((yield* log.stats("q")).scheduled, 1)
        assert.lengthOf((yield* log.list("q", "scheduled", { cursor: undefined, limit: 10 })).items, 1)
        const worker = yield* subscribe(transport, "w")
        assert.lengthOf(yield* pull(worker, 19_000), 0)
        const [delivery] = yield* pull(worker, 10_000)
        assert.strictEqual(delivery?.envelope.id, job.id)
        yield* worker.settle([{ _tag: "Drop", delivery: delivery! }])
        assert.lengthOf(yield* pull(worker, 120_000), 0)
        assert.strictEqual((yield* log.stats("q")).scheduled, 0)
      })
    ))

  for (const late of [20_000, 90_000]) {
    it(`runs although its sender stands still for ${late} ms between due time and row`, () =>
      playAtPort(({ wire, world }) =>
        Effect.gen(function*() {
          const transport = yield* make(wire.streams, options)
          const worker = yield* subscribe(transport, "w")
          const sender = yield* make(slow(wire.streams, late), options)
          const start = world.now
          assert.deepStrictEqual(yield* sender.log.send([delayed(sender, 1_000)]), ["sent"])
          assert.isAtLeast(world.now - start, late)
          const [delivery] = yield* pull(worker, 10_000)
          yield* worker.settle([{ _tag: "Drop", delivery: delivery! }])
          assert.lengthOf(yield* pull(worker, 120_000), 0)
        })
      ))
  }

  it("runs although whoever retries it stands still between due time and row, and dies after the row", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const transport = yield* make(wire.streams, options)
        const { log } = transport
        const job = { ...delayed(transport, 0), due: undefined }
        yield* log.send([job])
        yield* Effect.scoped(Effect.gen(function*() {
          const dying = yield* make(slow(wire.streams, 90_000, (all) => Effect.succeed(all.map(() => failed))), options)
          const worker = yield* subscribe(dying, "first")
          const [delivery] = yield* pull(worker, 10_000)
          const successor: Envelope.Envelope = {
            ...delivery!.envelope,
            revision: 1,
            attempt: 2,
            due: { _tag: "After", after: 1_000 }
          }
          const heartbeats = Effect.forever(Effect.andThen(Effect.sleep(500), worker.extend([delivery!])))
          yield* Effect.forkScoped(Effect.ignore(heartbeats))
          // looks after the bucket, and drops what has no row
          yield* subscribe(transport, "bystander")
          assert.isTrue(
            (yield* Effect.exit(worker.settle([{ _tag: "Forward", delivery: delivery!, successor }])))._tag ===
              "Failure"
          )
        }))
        const worker = yield* subscribe(transport, "second")
        const [delivery] = yield* pull(worker, 60_000)
        assert.strictEqual(delivery?.envelope.attempt, 2)
      })
    ))

  it("leaves nothing behind when it is cancelled", () =>
    playAtPort(({ server, wire }) =>
      Effect.gen(function*() {
        const transport = yield* make(wire.streams, options)
        const { log } = transport
        const [one, other] = [delayed(transport, 60_000), delayed(transport, 60_000)]
        yield* log.send([one, other])
        const [located] = yield* log.locate("q", [one.id])
        const { envelope } = Option.getOrThrow(located!)
        const successor = { ...envelope, revision: 1, due: { _tag: "After", after: 90_000 } as const }
        assert.deepStrictEqual(yield* log.revise("q", [{ _tag: "Reschedule", successor }]), ["done"])
        assert.strictEqual((yield* log.stats("q")).scheduled, 2)
        yield* log.withdraw("q", [kit(transport).cancelled(one)])
        assert.strictEqual((yield* log.stats("q")).scheduled, 1)
        // sequences of a stream that was made anew are those of other jobs
        server.deleteStream("d_T_q")
        server.deleteStream("d_W_q")
        const fresh = yield* make(wire.streams, options)
        yield* fresh.log.send([delayed(fresh, 60_000), delayed(fresh, 60_000)])
        yield* log.withdraw("q", [kit(transport).cancelled(other)])
        assert.strictEqual((yield* log.stats("q")).scheduled, 2)
      })
    ))
})
