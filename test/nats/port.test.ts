/**
 * What the model of JetStream does, the server does: every case runs on both.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { Outbox } from "../../packages/transport-nats/src/internal/outbox.ts"
import type { Publish } from "../../packages/transport-nats/src/internal/streams.ts"
import { type NatsServer, startNats } from "../servers/nats.ts"
import {
  ackWait,
  type Body,
  bytes,
  connected,
  isHandOut,
  onModel,
  onServer,
  publish,
  pulling,
  text,
  work
} from "./port.ts"

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

// most of their time is spent waiting for messages that come again
vi.setConfig({ maxConcurrency: 20 })

const together: Array<readonly [name: string, body: Body]> = []
const alone: Array<readonly [name: string, body: Body]> = []

const both = (name: string, body: Body) => {
  test(`model: ${name}`, () => onModel(body))
  together.push([name, body])
}

/** A case that kills the server. */
const bothAlone = (name: string, body: Body) => {
  test(`model: ${name}`, () => onModel(body))
  alone.push([name, body])
}

describe("publish", () => {
  both("looks at the message id first, then at the expected sequence", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      const first = yield* publish(rig, "a", "1", { messageId: "m", expected: 0 })
      expect(first._tag).toBe("Stored")
      expect((yield* publish(rig, "a", "1", { messageId: "m", expected: 0 }))._tag).toBe("Duplicate")
      expect((yield* publish(rig, "a", "1", { messageId: "n", expected: 0 }))._tag).toBe("WrongSequence")
      expect((yield* publish(rig, "b", "1", { messageId: "m" }))._tag).toBe("Duplicate")
      expect((yield* publish(rig, "b", "2", { expected: 0 }))._tag).toBe("Stored")
    }))

  test("server: it is written as bytes, past the client", () =>
    Effect.runPromise(Effect.scoped(Effect.map(connected(server), (connection) => {
      expect(new Outbox(connection).isDirect).toBe(true)
    }))))

  both("in any size, in order", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      // around the sizes that are copied, sent at once, and more than a buffer
      const sizes = [
        0,
        1,
        16_384,
        16_385,
        31_000,
        1,
        40_000,
        300_000,
        2,
        ...Array.from({ length: 100 }, (_, i) => 4_000 + i)
      ]
      const answers = yield* rig.streams.publish(
        sizes.map((size, index) => ({ subject: `${rig.name}.${index}`, bytes: new Uint8Array(size).fill(index) }))
      )
      expect(answers.map((answer) => "sequence" in answer && answer.sequence)).toEqual(
        sizes.map((_, index) => index + 1)
      )
      const stored = yield* rig.streams.at(rig.name, sizes.map((_, index) => index + 1))
      expect(stored.map((message) => message?.bytes.length)).toEqual(sizes)
      expect(stored.every((message, index) => message?.bytes.every((byte) => byte === index))).toBe(true)
    }))

  both("refuses above the limit, and takes what replaces something of its size", (rig) =>
    Effect.gen(function*() {
      yield* work(rig, { maxMessages: 2 })
      yield* publish(rig, "a", "1")
      const second = yield* publish(rig, "b", "2")
      expect((yield* publish(rig, "c", "3"))._tag).toBe("Full")
      const replaced = yield* publish(rig, "b", "4", { expected: "sequence" in second ? second.sequence : -1 })
      expect(replaced._tag).toBe("Stored")
    }))

  both("takes what is removed as removed, once or twice, acknowledged or never there", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      const sequences: Array<number> = []
      for (const word of ["a", "b", "c"]) {
        const answer = yield* publish(rig, word, word)
        sequences.push("sequence" in answer ? answer.sequence : -1)
      }
      const [a, b, c] = sequences as [number, number, number]
      // between two that stay
      yield* rig.streams.remove(rig.name, [b, b])
      yield* rig.streams.remove(rig.name, [b])
      const { come } = yield* pulling(rig)
      const [first] = yield* come(2, 1_500)
      yield* rig.streams.acknowledge([first!.reply], { _tag: "Done" })
      yield* rig.streams.remove(rig.name, [a, c, c, c + 1_000])
      expect((yield* publish(rig, "b", "again", { expected: 0 }))._tag).toBe("Stored")
      yield* rig.streams.remove(rig.name, sequences)
    }))

  bothAlone("forgets the message ids of what is gone when the server is killed", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "1", { messageId: "gone" })
      yield* publish(rig, "b", "2", { messageId: "there" })
      yield* rig.streams.purge(rig.name, `${rig.name}.a`)
      expect((yield* publish(rig, "a", "1", { messageId: "gone" }))._tag).toBe("Duplicate")
      yield* rig.crash
      expect((yield* publish(rig, "b", "2", { messageId: "there" }))._tag).toBe("Duplicate")
      expect(yield* publish(rig, "a", "1", { messageId: "gone" })).toEqual({ _tag: "Stored", sequence: 3 })
    }))
})

describe("read", () => {
  both("by subject, by pattern and by count", (rig) =>
    Effect.gen(function*() {
      const { name, streams } = rig
      yield* streams.ensureStream({
        name,
        subjects: [`${name}.>`],
        retention: "limits",
        perSubject: undefined,
        duplicateWindow: 120_000
      })
      for (const content of ["1", "2", "3"]) yield* publish(rig, "a", content)
      yield* publish(rig, "b.c", "4")
      const subjects = [`${name}.a`, `${name}.nothing`, `${name}.b.c`]
      expect((yield* streams.last(name, subjects)).map(text)).toEqual(["3", undefined, "4"])
      expect(text(yield* streams.next(name, `${name}.a`, 2))).toBe("2")
      expect(text(yield* streams.next(name, `${name}.>`, 4))).toBe("4")
      expect(yield* streams.next(name, `${name}.a`, 4)).toBe(undefined)
      expect(yield* streams.purge(name, `${name}.a`, 3)).toBe(2)
      const info = yield* streams.streamInfo(name, `${name}.>`)
      expect({ ...info, bytes: 0, subjects: [...info!.subjects] }).toEqual({
        messages: 2,
        bytes: 0,
        firstSequence: 3,
        lastSequence: 4,
        subjects: [[`${name}.a`, 1], [`${name}.b.c`, 1]]
      })
      expect(yield* streams.streamInfo(`${name}x`)).toBe(undefined)
      expect(yield* streams.consumerInfo(name, "nobody")).toBe(undefined)
    }))
})

describe("hand out", () => {
  both("again after the wait, and honours old acknowledgements", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "1")
      const { come, take } = yield* pulling(rig)
      const [first] = yield* come(1, 600)
      isHandOut(rig, first, "1", 1)
      const [second] = yield* come(1, 4_500)
      isHandOut(rig, second, "1", 2)
      expect(second!.sequence).toBe(first!.sequence)
      yield* rig.streams.acknowledge([first!.reply], { _tag: "Done" })
      expect((yield* take(4_500)).map(text)).toEqual([])
      expect((yield* rig.streams.streamInfo(rig.name))!.messages).toBe(0)
      // and says yes to whatever comes later
      yield* rig.streams.acknowledge([second!.reply, first!.reply], { _tag: "Done" })
    }))

  both("an old sign of life keeps the message from everybody", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "1")
      const { come, take } = yield* pulling(rig)
      const [first] = yield* come(1, 600)
      yield* Effect.sleep(2_700)
      const [second] = yield* come(1, 900)
      isHandOut(rig, second, "1", 2)
      for (let i = 0; i < 4; i++) {
        yield* rig.streams.acknowledge([first!.reply], { _tag: "Working" })
        expect((yield* take(1_200)).map(text)).toEqual([])
      }
      isHandOut(rig, (yield* come(1, 4_500))[0], "1", 3)
    }))

  both("later, if it is asked to", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "1")
      const { come, take } = yield* pulling(rig)
      const [first] = yield* come(1, 600)
      yield* rig.streams.acknowledge([first!.reply], { _tag: "Delay", milliseconds: 7_500 })
      expect((yield* take(6_000)).map(text)).toEqual([])
      isHandOut(rig, (yield* come(1, 2_700))[0], "1", 2)
    }))

  both("a replaced message never, what replaced it at once", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "1")
      const { come } = yield* pulling(rig)
      const [first] = yield* come(1, 600)
      expect((yield* publish(rig, "a", "2", { expected: 99 }))._tag).toBe("WrongSequence")
      expect((yield* publish(rig, "a", "2", { expected: first!.sequence }))._tag).toBe("Stored")
      isHandOut(rig, (yield* come(1, 600))[0], "2", 1)
      yield* rig.streams.acknowledge([first!.reply], { _tag: "Done" })
      expect((yield* rig.streams.streamInfo(rig.name))!.messages).toBe(1)
      isHandOut(rig, (yield* come(1, 4_500))[0], "2", 2)
    }))

  both("nothing of what was there before a purge, of whatever subject", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      yield* publish(rig, "a", "a")
      const { come, take } = yield* pulling(rig)
      isHandOut(rig, (yield* come(1, 600))[0], "a", 1)
      for (const word of ["b", "c"]) yield* publish(rig, word, word)
      expect(yield* rig.streams.purge(rig.name, `${rig.name}.b`)).toBe(1)
      expect(yield* rig.streams.consumerInfo(rig.name, "c")).toEqual({
        ackWait,
        delivered: 3,
        ackFloor: 3,
        pending: 0,
        ackPending: 0
      })
      expect((yield* take(4_500)).map(text)).toEqual([])
      expect((yield* rig.streams.streamInfo(rig.name))!.messages).toBe(2)
      yield* publish(rig, "d", "d")
      isHandOut(rig, (yield* come(1, 600))[0], "d", 1)
    }))

  both("what is there, without waiting", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      for (const word of ["a", "b", "c"]) yield* publish(rig, word, word)
      const { events, puller } = yield* pulling(rig)
      const ended = () => Effect.repeat(Effect.sleep(20), { until: () => events.at(-1)?._tag === "End", times: 500 })
      puller.request({ batch: 2, wait: false })
      yield* ended()
      expect(events.map(({ _tag }) => _tag)).toEqual(["Message", "Message", "End"])
      puller.request({ batch: 2, wait: false })
      yield* ended()
      expect(events.slice(3).map(({ _tag }) => _tag)).toEqual(["Message", "End"])
      const info = yield* rig.streams.consumerInfo(rig.name, "c")
      expect(info).toEqual({ ackWait, delivered: 3, ackFloor: 0, pending: 0, ackPending: 3 })
      const delivered = events.flatMap((event) => event._tag === "Message" ? [event.message] : [])
      yield* rig.streams.acknowledge([delivered[0]!.reply, delivered[2]!.reply], { _tag: "Done" })
      const later = yield* rig.streams.consumerInfo(rig.name, "c")
      expect(later).toEqual({ ackWait, delivered: 3, ackFloor: 1, pending: 0, ackPending: 1 })
    }))

  both("to a request for about a lease: that of a dead host takes no more", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      const { events, puller } = yield* pulling(rig)
      puller.request({ batch: 2, wait: true })
      const waiting = Effect.repeat(Effect.sleep(100), { until: () => events.length > 0, times: 200 })
      const isEarly = Duration.toMillis((yield* Effect.timed(waiting))[0]) < 0.99 * ackWait
      expect({ events, isEarly }).toMatchObject({ events: [{ _tag: "End" }], isEarly: false })
    }))

  both("what was finished never again", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      for (const word of ["a", "b", "c"]) yield* publish(rig, word, word)
      const { come, take } = yield* pulling(rig)
      const [a, b, c] = yield* come(3, 600)
      yield* rig.streams.finish([a!.reply, b!.reply, c!.reply])
      const info = yield* rig.streams.consumerInfo(rig.name, "c")
      expect(info).toEqual({ ackWait, delivered: 3, ackFloor: 3, pending: 0, ackPending: 0 })
      expect((yield* take(4_500)).map(text)).toEqual([])
    }))

  both("headers of ours among those of JetStream", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      const send = (word: string, message: Partial<Publish>) =>
        rig.streams.publish([{ subject: `${rig.name}.${word}`, bytes: bytes(word), ...message }])
      yield* send("plain", {})
      yield* send("theirs", { messageId: "Trouble", expected: 0 })
      yield* send("ours", { messageId: "m", expected: 0, headers: { "Troupe-Check": "1", "Troupe-Deliveries": "3" } })
      yield* send("empty", { bytes: new Uint8Array(0), headers: { "Troupe-Check": "1" } })
      const { come } = yield* pulling(rig)
      const found = (yield* come(4, 900)).map((
        { headers }
      ) => [headers.get("Troupe-Check"), headers.get("Troupe-Deliveries")])
      expect(found).toEqual([[undefined, undefined], [undefined, undefined], ["1", "3"], ["1", undefined]])
    }))

  bothAlone("the rest after the server was killed", (rig) =>
    Effect.gen(function*() {
      yield* work(rig)
      for (const word of ["a", "b", "c"]) yield* publish(rig, word, word)
      const { come, take } = yield* pulling(rig)
      const all = yield* come(3, 600)
      yield* rig.streams.acknowledge([all[1]!.reply], { _tag: "Done" })
      yield* rig.crash
      const again = yield* take(7_500)
      expect(again.map(text).sort()).toEqual(["a", "c"])
    }))
})

describe.concurrent("server", () => {
  for (const [name, body] of together) test(name, () => onServer(server, body), 60_000)
})

describe("server that is killed", () => {
  for (const [name, body] of alone) test(name, () => onServer(server, body), 60_000)
})
