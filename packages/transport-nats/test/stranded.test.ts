/**
 * Writers that die in the middle: what they began is finished by whoever finds
 * it, and what they gave up does not come back.
 */
import type { Transport } from "@troupe/core/Transport"
import { TransportError } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { assert, describe, it } from "vitest"
import { Kit, virtualTime } from "../../core/src/testing/conformance/kit.ts"
import type { Publish, Streams } from "../src/internal/streams.ts"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

const options = { namespace: "sim", durability: "process" } as const

const isRow = ({ subject }: Publish) => subject.startsWith("sim.r.") && subject.includes(".j.")

/** Whatever brings the job of a row to a worker. */
const isJob = ({ subject }: Publish) => /^sim\.(k\.q\.m|w\.q\.p)\./.test(subject)

/** What comes after the row is never sent. */
const dying = (streams: Streams): Streams => ({
  ...streams,
  publish: (messages) => messages.some(isJob) ? Effect.never : streams.publish(messages)
})

const pulled = (transport: Transport["Service"]) =>
  Effect.gen(function*() {
    const lease = { queue: "q", priorities: ["default"], consumer: "w", lease: 2_000 } as const
    const worker = yield* transport.log.subscribe(lease)
    const found = yield* Effect.timeoutOption(worker.pull(1), 15_000)
    return Option.getOrElse(found, () => []).map(({ envelope }) => envelope.id)
  })

const place = (transport: Transport["Service"], id: string) =>
  Effect.map(transport.log.locate("q", [id]), ([found]) => Option.getOrUndefined(found!)?.place)

describe("A claim whose writer is gone", () => {
  for (const key of [undefined, "k"]) {
    it(`is finished by whoever asks for it (${key === undefined ? "without a key" : "with a key"})`, () =>
      playAtPort(({ wire }) =>
        Effect.gen(function*() {
          const other = yield* make(wire.streams, options)
          const envelope = new Kit(other, virtualTime, "q").envelope({ key })
          const sender = yield* make(dying(wire.streams), options)
          yield* Effect.forkChild(sender.log.send([envelope]))
          yield* Effect.sleep(1_000)
          assert.strictEqual(yield* place(other, envelope.id), "queued")
          // its writer may still be at it
          assert.deepStrictEqual(yield* pulled(other), [])
          yield* Effect.sleep(60_000)
          assert.strictEqual(yield* place(other, envelope.id), "queued")
          assert.deepStrictEqual(yield* pulled(other), [envelope.id])
        })
      ))

    it(`is not published again when its job is there (${key === undefined ? "without a key" : "with a key"})`, () =>
      playAtPort(({ server, wire }) =>
        Effect.gen(function*() {
          const transport = yield* make(wire.streams, options)
          const envelope = new Kit(transport, virtualTime, "q").envelope({ key })
          yield* transport.log.send([envelope])
          yield* Effect.sleep(61_000)
          const stored: Array<string> = []
          server.ears = { ...server.ears, stored: (_, { subject }) => void stored.push(subject) }
          assert.strictEqual(yield* place(transport, envelope.id), "queued")
          assert.deepStrictEqual(stored, [])
        })
      ))
  }
})

describe("A claim that nobody asks for", () => {
  /** Ids whose jobs could be run, by the subjects of what was stored. */
  const stored = (transport: Transport["Service"], id: string) =>
    Effect.map(
      transport.log.list("q", "queued", { limit: 1_000, cursor: undefined }),
      ({ items }) => items.filter(({ envelope }) => envelope.id === id).length
    )

  for (const key of [undefined, "k"]) {
    it(
      `is finished within 31 minutes, whatever stands before it (${
        key === undefined ? "without a key" : "with a key"
      })`,
      () =>
        playAtPort(({ wire }) =>
          Effect.gen(function*() {
            const other = yield* make(wire.streams, options)
            const kit = new Kit(other, virtualTime, "q")
            const jobs = Array.from({ length: 300 }, () => kit.envelope({ key }))
            yield* other.log.send(jobs as never)
            const envelope = kit.envelope({ key })
            const sender = yield* make(dying(wire.streams), options)
            yield* Effect.forkChild(sender.log.send([envelope]))
            yield* Effect.sleep(1_000)
            // a worker that takes nothing makes the rounds, and others go on sending
            yield* other.log.subscribe({ queue: "q", priorities: ["default"], consumer: "w", lease: 2_000 })
            const sending = Effect.andThen(
              Effect.sleep(60_000),
              Effect.suspend(() => other.log.send([kit.envelope({})]))
            )
            yield* Effect.forkChild(Effect.forever(sending))
            assert.strictEqual(yield* stored(other, envelope.id), 0)
            yield* Effect.sleep(31 * 60_000)
            assert.strictEqual(yield* stored(other, envelope.id), 1)
          })
        ),
      60_000
    )
  }
})

describe("A delayed job whose due time is lost", () => {
  it(
    "gets another one within 31 minutes, long before it is due",
    () =>
      playAtPort(({ wire }) =>
        Effect.gen(function*() {
          const transport = yield* make(wire.streams, options)
          const kit = new Kit(transport, virtualTime, "q")
          const day = 86_400_000
          yield* transport.log.send([kit.envelope({ due: { _tag: "After", after: day } })])
          yield* transport.log.subscribe({ queue: "q", priorities: ["default"], consumer: "w", lease: 2_000 })
          const dues = Effect.map(wire.streams.next("sim_T_q", "sim.t.q.m.*", 1), (found) => found?.sequence)
          const first = yield* dues
          yield* wire.streams.remove("sim_T_q", [first!])
          assert.isUndefined(yield* dues)
          yield* Effect.sleep(31 * 60_000)
          assert.isAbove((yield* dues) ?? 0, first!)
        })
      ),
    60_000
  )
})

describe("A claim that was given up", () => {
  it("does not come back with a request that comes late", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const other = yield* make(wire.streams, options)
        const envelope = new Kit(other, virtualTime, "q").envelope({})
        const claims: Array<Publish> = []
        const sender = yield* make({
          ...wire.streams,
          publish: (messages) => {
            claims.push(...messages.filter(isRow))
            return messages.some(isJob)
              ? Effect.succeed(messages.map(() => ({ _tag: "Full", description: "maximum bytes exceeded" })))
              : wire.streams.publish(messages)
          }
        }, options)
        const [answer] = yield* sender.log.send([envelope])
        assert.instanceOf(answer, TransportError)
        yield* wire.streams.publish(claims.slice(0, 1))
        assert.isUndefined(yield* place(other, envelope.id))
        // the id is free
        assert.deepStrictEqual(yield* other.log.send([envelope]), ["sent"])
        assert.deepStrictEqual(yield* pulled(other), [envelope.id])
      })
    ))
})

describe("A dead letter that was replayed", () => {
  it("does not come back with a request that comes late", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const letters: Array<Publish> = []
        const transport = yield* make({
          ...wire.streams,
          publish: (messages, stream) => {
            letters.push(...messages.filter(({ subject }) => subject.startsWith("sim.k.q.l.")))
            return wire.streams.publish(messages, stream)
          }
        }, options)
        const { list, redrive, send, subscribe } = transport.log
        const kit = new Kit(transport, virtualTime, "q")
        const envelope = kit.envelope({})
        yield* send([envelope])
        const worker = yield* subscribe({ queue: "q", priorities: ["default"], consumer: "w", lease: 2_000 })
        const [delivery] = yield* worker.pull(1)
        yield* worker.settle([kit.bury(delivery)])
        assert.lengthOf(letters, 1)
        assert.deepStrictEqual(yield* redrive("q", [{ id: envelope.id, as: { ...envelope, enqueuedAt: 1 } }]), ["done"])
        yield* wire.streams.publish(letters)
        assert.deepStrictEqual((yield* list("q", "dead", { limit: 10, cursor: undefined })).items, [])
      })
    ))
})

describe("A cancel whose caller is gone", () => {
  for (const generated of [false, true]) {
    it(`is carried out by the next caller (${generated ? "a generated id" : "a chosen id"})`, () =>
      playAtPort(({ wire }) =>
        Effect.gen(function*() {
          const other = yield* make(wire.streams, options)
          const kit = new Kit(other, virtualTime, "q")
          const envelope = kit.envelope({})
          yield* other.log.send([envelope], generated ? new Set([envelope.id]) : undefined)
          const record = kit.cancelled(envelope)
          const caller = yield* make({ ...wire.streams, remove: () => Effect.never }, options)
          yield* Effect.forkChild(caller.log.withdraw("q", [record]))
          yield* Effect.sleep(1_000)
          const [stands] = yield* other.log.withdraw("q", [{ ...record, finishedAt: record.finishedAt + 1 }])
          assert.strictEqual(stands?.finishedAt, record.finishedAt)
          assert.deepStrictEqual(yield* pulled(other), [])
        })
      ))
  }
})
