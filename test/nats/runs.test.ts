/**
 * Many messages that one answer of the server confirms: whatever comes between,
 * each of them is stored once, and who published it knows.
 */
import { connect } from "@nats-io/transport-node"
import * as Client from "@troupe/core/Client"
import * as Task from "@troupe/core/Task"
import { Transport } from "@troupe/core/Transport"
import type { TransportError } from "@troupe/core/TransportError"
import * as Worker from "@troupe/core/Worker"
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { afterAll, beforeAll, expect, test } from "vitest"
import * as JetStream from "../../packages/transport-nats/src/internal/jetstream.ts"
import * as Link from "../../packages/transport-nats/src/internal/link.ts"
import type { Publish, Published, Streams } from "../../packages/transport-nats/src/internal/streams.ts"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { startProxy } from "../servers/proxy.ts"

let server: NatsServer
beforeAll(async () => {
  server = await startNats()
})
afterAll(() => server.stop())

const silent = Layer.succeed(References.MinimumLogLevel, "None")

const run = <A>(body: Effect.Effect<A, unknown, Scope>) =>
  Effect.runPromise(Effect.provide(Effect.scoped(body), silent))

/** A process with a connection, and how many messages it got. */
const peer = Effect.fnUntraced(function*(port: number) {
  const connection = yield* Effect.acquireRelease(
    Effect.promise(() =>
      connect({ servers: `nats://127.0.0.1:${port}`, maxReconnectAttempts: -1, reconnectTimeWait: 20 })
    ),
    (connection) => Effect.promise(() => connection.close())
  )
  const link = yield* Link.make({ connection, inboxPrefix: undefined, patience: 15_000 })
  return {
    streams: JetStream.make(link, { replicas: 1, bindOnly: false }),
    replies: () => connection.stats().inMsgs
  }
})

let count = 0

const stream = Effect.fnUntraced(function*(
  streams: Streams,
  maxBytes?: number,
  retention: "work" | "limits" = "work"
): Effect.fn.Return<string, TransportError> {
  const name = `runs${++count}`
  const subjects = [`${name}.>`]
  yield* streams.ensureStream({ name, subjects, retention, perSubject: 1, maxBytes, duplicateWindow: 30_000 })
  return name
})

const message = (name: string, word: string | number, size = 100): Publish => ({
  subject: `${name}.${word}`,
  bytes: new Uint8Array(size),
  messageId: String(word)
})

const several = (name: string, from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => message(name, from + index))

/** What did not go well, each once. */
const failures = (answers: ReadonlyArray<Published>) =>
  Array.from(
    new Set(answers.flatMap((answer) =>
      answer._tag === "Failed" ? [String(answer.error)] : answer._tag === "Full" ? [answer.description] : []
    ))
  )

const tags = (answers: ReadonlyArray<Published>) => answers.map(({ _tag }) => _tag)

/** The server has each of these once. */
const verify = Effect.fnUntraced(function*(streams: Streams, name: string, messages: number) {
  const info = yield* streams.streamInfo(name, `${name}.>`)
  expect([info?.messages, info?.lastSequence, info?.subjects.size]).toEqual([messages, messages, messages])
})

test("one answer confirms many", () =>
  run(Effect.gen(function*() {
    const { replies, streams } = yield* peer(server.port)
    const name = yield* stream(streams)
    const before = replies()
    const answers = yield* streams.publish(several(name, 0, 640), name)
    expect(replies() - before).toBe(10)
    expect(tags(answers)).toEqual(Array.from({ length: 640 }, () => "Stored"))
    const stored = yield* streams.at(name, [1, 64, 65, 640])
    expect(stored.map((one) => one?.subject)).toEqual([0, 63, 64, 639].map((word) => `${name}.${word}`))
  })))

test("a message may come in two parts, whatever its size", () =>
  run(Effect.gen(function*() {
    const { streams } = yield* peer(server.port)
    const name = yield* stream(streams)
    const head = String.fromCharCode(0xe1, 0, 255, 13, 10) + "text"
    // around the sizes that are copied, sent at once, and more than a buffer
    const sizes = [0, 1, 16_384, 16_385, 40_000, 300_000, 2]
    const messages = (word: string) => sizes.map((size, index) => ({ ...message(name, `${word}${index}`, size), head }))
    yield* streams.publish(messages("alone"))
    yield* streams.publish(messages("together"), name)
    const stored = yield* streams.at(name, Array.from({ length: 2 * sizes.length }, (_, index) => index + 1))
    const expected = [...sizes, ...sizes].map((size) =>
      Buffer.concat([Buffer.from(head, "latin1"), Buffer.alloc(size)])
    )
    expect(stored.map((one, index) => one !== undefined && expected[index]!.equals(one.bytes)))
      .toEqual(expected.map(() => true))
  })))

test("what finds no room among others is told, and what was there before", () =>
  run(Effect.gen(function*() {
    const { streams } = yield* peer(server.port)
    const name = yield* stream(streams, 100_000)
    yield* streams.publish([message(name, "there")], name)
    // its place in a run: the first one, one in the middle, the last one
    for (const place of [0, 30, 63]) {
      const of = (word: string) =>
        Array.from({ length: 64 }, (_, index) => {
          if (index !== place) return message(name, `${place}-${word}-${index}`)
          return word === "large" ? message(name, `${place}-large`, 110_000) : message(name, "there")
        })
      for (const [word, tag] of [["large", "Full"], ["again", "Duplicate"]] as const) {
        const answers = tags(yield* streams.publish(of(word), name))
        expect(answers[place]).toBe(tag)
        // some were there when the run broke
        expect(answers.filter((answer) => answer === "Stored" || answer === "Duplicate").length)
          .toBe(tag === "Full" ? 63 : 64)
      }
    }
    yield* verify(streams, name, 1 + 3 * 2 * 63)
  })))

const row = (name: string, word: string | number, writer: string, expected = 0): Publish => ({
  subject: `${name}.${word}`,
  bytes: Buffer.from(writer),
  runId: `${writer}.${word}`,
  expected
})

/** Who wrote the row. */
const writerOf = Effect.fnUntraced(function*(streams: Streams, name: string, words: ReadonlyArray<string | number>) {
  const found = yield* streams.last(name, words.map((word) => `${name}.${word}`))
  return found.map((one) => one && Buffer.from(one.bytes).toString())
})

test("of rows that are written together, the ones that somebody else wrote are told", () =>
  run(Effect.gen(function*() {
    const { replies, streams } = yield* peer(server.port)
    const name = yield* stream(streams, undefined, "limits")
    for (const place of [0, 30, 63]) {
      const words = Array.from({ length: 64 }, (_, index) => `${place}-${index}`)
      yield* streams.publish([row(name, words[place]!, "other")], name)
      const before = replies()
      const answers = tags(yield* streams.publish(words.map((word) => row(name, word, "me")), name))
      // one that says that the run broke, and one each
      expect(replies() - before).toBe(65)
      expect(answers[place]).toBe("WrongSequence")
      expect(answers.filter((tag) => tag === "Stored" || tag === "Duplicate").length).toBe(63)
      const writers = yield* writerOf(streams, name, words)
      expect(writers).toEqual(words.map((_, index) => index === place ? "other" : "me"))
      // the next run may be one again
      yield* streams.publish(several(name, 1_000 * (place + 1), 1_000 * (place + 1) + 600), name)
    }
  })))

test("one writes a row, whoever else writes rows at the same time", () =>
  run(Effect.gen(function*() {
    const peers = [yield* peer(server.port), yield* peer(server.port), yield* peer(server.port)]
    const { streams } = peers[0]!
    const name = yield* stream(streams, undefined, "limits")
    const size = 100
    for (let round = 0; round < 20; round++) {
      // every third row is wanted by all
      const wordsOf = (index: number) =>
        Array.from({ length: size }, (_, n) => n % 3 === 0 ? `${round}-${n}` : `${round}-${n}-${index}`)
      const answers = yield* Effect.forEach(
        peers,
        ({ streams }, index) => streams.publish(wordsOf(index).map((word) => row(name, word, `w${index}`)), name),
        { concurrency: "unbounded" }
      )
      for (const [index, some] of answers.entries()) {
        const writers = yield* writerOf(streams, name, wordsOf(index))
        const isMine = tags(some).map((tag) => tag === "Stored" || tag === "Duplicate")
        expect(failures(some)).toEqual([])
        expect(isMine).toEqual(writers.map((writer) => writer === `w${index}`))
      }
    }
  })), 30_000)

test("two that publish at the same time", () =>
  run(Effect.gen(function*() {
    const peers = [yield* peer(server.port), yield* peer(server.port)]
    const name = yield* stream(peers[0]!.streams)
    const size = 250
    const each = 20
    yield* Effect.forEach(peers, ({ streams }, index) =>
      Effect.forEach(
        Array.from({ length: each }, (_, n) => (index * each + n) * size),
        (from) =>
          Effect.map(streams.publish(several(name, from, from + size), name), (answers) =>
            // again, after a run that broke: some of it was there
            expect(tags(answers).filter((tag) => tag !== "Stored" && tag !== "Duplicate")).toEqual([]))
      ), {
      concurrency: 2
    })
    yield* verify(peers[0]!.streams, name, peers.length * each * size)
  })), 30_000)

test("connections that are cut, and answers that are lost", async () => {
  const proxy = await startProxy(server.port)
  await run(Effect.gen(function*() {
    const { streams } = yield* peer(proxy.port)
    const name = yield* stream(streams)
    const size = 500
    for (let round = 0; round < 12; round++) {
      // the first ones right away, others in the middle
      yield* Effect.forkScoped(Effect.andThen(
        Effect.sleep(round % 4),
        Effect.sync(() => round % 2 === 0 ? proxy.cut() : proxy.loseReplies(1))
      ))
      const answers = yield* streams.publish(several(name, round * size, (round + 1) * size), name)
      expect(failures(answers)).toEqual([])
      proxy.loseReplies(0)
    }
    yield* verify(streams, name, 12 * size)
  }))
  await proxy.close()
}, 60_000)

test("a connection that is closed in the middle of its handshake", async () => {
  let toCut = 0
  const proxy = await startProxy(server.port, (reply) => {
    if (toCut > 0 && reply.toString("latin1").startsWith("PONG")) {
      toCut--
      proxy.cut()
    }
    return reply
  })
  await run(Effect.gen(function*() {
    const { streams } = yield* peer(proxy.port)
    const name = yield* stream(streams)
    toCut = 3
    proxy.cut()
    // the client by itself would wait for 20 s each time
    const answers = yield* streams.publish(several(name, 0, 100), name)
    expect(failures(answers)).toEqual([])
    expect(toCut).toBe(0)
    yield* verify(streams, name, 100)
  }))
  await proxy.close()
})

test("a server that is killed in between and comes back", () =>
  run(Effect.gen(function*() {
    const { streams } = yield* peer(server.port)
    const name = yield* stream(streams)
    const size = 1_000
    for (let round = 0; round < 3; round++) {
      const strike = yield* Effect.forkScoped(Effect.andThen(
        Effect.sleep(4 * round),
        Effect.promise(async () => {
          await server.kill()
          await server.restart()
        })
      ))
      const answers = yield* streams.publish(several(name, round * size, (round + 1) * size), name)
      expect(failures(answers)).toEqual([])
      yield* Fiber.join(strike)
    }
    yield* verify(streams, name, 3 * size)
  })), 60_000)

test("jobs that are enqueued together run once each, whatever the connection does", async () => {
  const proxy = await startProxy(server.port)
  class Work extends Task.make("Work", { payload: Schema.Number, queue: "runs" }) {}
  const starts = new Map<number, number>()
  const handler = (n: number) =>
    Effect.sync(() => {
      starts.set(n, (starts.get(n) ?? 0) + 1)
    })
  const broker = (port: number) => Layer.fresh(NatsTransport.layer({ servers: `nats://127.0.0.1:${port}` }))
  const WorkerLive = Worker.layer({ tasks: [Work], concurrency: 32 }).pipe(
    Layer.provide(Work.toLayer(handler)),
    Layer.provide(broker(server.port))
  )
  const jobs = 4_000
  const chunk = 500
  const program = Effect.gen(function*() {
    for (let from = 0; from < jobs; from += chunk) {
      yield* Effect.forkScoped(Effect.andThen(
        Effect.sleep(from / chunk),
        Effect.sync(() => from % (2 * chunk) === 0 ? proxy.cut() : proxy.loseReplies(1))
      ))
      const items = Array.from({ length: chunk }, (_, index) => ({ payload: from + index }))
      const outcomes = yield* Work.enqueueMany(items)
      proxy.loseReplies(0)
      expect(outcomes.filter(Result.isFailure)).toEqual([])
    }
    const { log } = yield* Transport
    let stats = yield* log.stats("runs")
    for (let i = 0; i < 300 && stats.running + stats.queued > 0; i++) {
      yield* Effect.sleep(100)
      stats = yield* log.stats("runs")
    }
    expect([stats.running, stats.queued]).toEqual([0, 0])
  })
  await run(Effect.andThen(
    Layer.build(WorkerLive),
    Effect.provide(program, Layer.provideMerge(Client.layer, broker(proxy.port)))
  ))
  expect([...starts.values()].filter((times) => times !== 1)).toEqual([])
  expect(starts.size).toBe(jobs)
  await proxy.close()
}, 60_000)
