/**
 * Two that send the same id at once, one of which gives up: whoever was told
 * that the job is there finds it there.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Transport } from "@troupe/core/Transport"
import { TransportError, Unavailable } from "@troupe/core/TransportError"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { assert, describe, it } from "vitest"
import type { Publish, Published, Streams } from "../src/internal/streams.ts"
import { make } from "../src/internal/transport.ts"
import { playAtPort } from "./model/play.ts"

const envelope = (options: Partial<Envelope.Envelope>): Envelope.Envelope => ({
  version: Envelope.version,
  id: "report",
  queue: "q",
  task: "Report",
  key: undefined,
  contentType: "application/json",
  headers: {},
  enqueuedAt: 0,
  expiresAt: undefined,
  maxAttempts: undefined,
  replyTo: undefined,
  body: new Uint8Array(2),
  revision: 0,
  priority: "normal",
  due: undefined,
  attempt: 1,
  deliveries: 0,
  writtenAt: 0,
  unknownSince: undefined,
  lastError: undefined,
  prevTraceparent: undefined,
  signature: undefined,
  ...options
})

/** What comes after the row of a claim. */
const isJob = ({ subject }: Publish) => /\.(k\.q\.m|w\.q\.p)\./.test(subject)

const failures = {
  "finds no room": { _tag: "Full", description: "maximum messages exceeded" },
  "gets no answer": {
    _tag: "Failed",
    error: new TransportError({ reason: new Unavailable({ operation: "publish", description: "no answer" }) })
  }
} satisfies Record<string, Published>

/** The first publication of a job fails, after `meanwhile`. */
const failing = (streams: Streams, failure: Published, meanwhile: Effect.Effect<unknown>): Streams => {
  let failed = false
  return {
    ...streams,
    publish: (messages) => {
      if (failed || !messages.some(isJob)) return streams.publish(messages)
      failed = true
      return Effect.as(meanwhile, messages.map(() => failure))
    }
  }
}

const options = { namespace: "claims", durability: "process" } as const

const kinds: Readonly<Record<string, Partial<Envelope.Envelope>>> = {
  "a job": {},
  "a job of a key": { key: "k" }
}

describe("A claim that is given up", () => {
  for (const [kind, changes] of Object.entries(kinds)) {
    for (const [how, failure] of Object.entries(failures)) {
      it(`leaves ${kind} that somebody else was told of, when its sender ${how}`, () =>
        playAtPort(({ wire }) =>
          Effect.gen(function*() {
            const other: Transport["Service"] = yield* make(wire.streams, options)
            const job = envelope(changes)
            let told: unknown
            const send = Effect.map(other.log.send([job]), ([answer]) => {
              told = answer
            })
            const sender = yield* make(failing(wire.streams, failure, Effect.ignore(send)), options)
            const [answer] = yield* sender.log.send([job])
            assert.instanceOf(answer, TransportError)
            assert.strictEqual(told, "duplicate")
            const worker = yield* other.log.subscribe({
              queue: "q",
              priorities: ["normal"],
              consumer: "w",
              lease: 2_000
            })
            const pulled = yield* Effect.timeoutOption(worker.pull(1), 30_000)
            const ids = Option.getOrElse(pulled, () => []).map(({ envelope }) => envelope.id)
            assert.deepStrictEqual(ids, ["report"])
          })
        ))
    }
  }
})

const isRow = ({ subject }: Publish) => /\.r\.q\.j\./.test(subject)

const ids = ["a", "b", "c", "d"]

/** Ids of the jobs that come soon. */
const comers = (transport: Transport["Service"]) =>
  Effect.gen(function*() {
    const found: Array<string> = []
    const lease = { queue: "q", priorities: ["normal"], consumer: "w", lease: 60_000 } as const
    const worker = yield* transport.log.subscribe(lease)
    const pulling = Effect.forever(Effect.map(worker.pull(10), (jobs) => {
      for (const { envelope } of jobs) found.push(envelope.id)
    }))
    yield* Effect.timeoutOption(pulling, 20_000)
    return found.sort()
  })

describe("Several jobs that are sent together", () => {
  for (
    const [kind, due] of Object.entries({ "due at once": undefined, delayed: { _tag: "After", after: 5_000 } } as const)
  ) {
    const jobs = ids.map((id) => envelope({ id, due })) as [Envelope.Envelope, ...Array<Envelope.Envelope>]

    it(`are answered one by one when a row fails (${kind})`, () =>
      playAtPort(({ wire }) =>
        Effect.gen(function*() {
          const other = yield* make(wire.streams, options)
          let failed = false
          const sender = yield* make({
            ...wire.streams,
            publish: (messages) => {
              if (failed || !messages.some(isRow)) return wire.streams.publish(messages)
              failed = true
              const kept = messages.filter(({ subject }) => !subject.endsWith(".b"))
              return Effect.map(
                wire.streams.publish(kept),
                (answers) => answers.toSpliced(1, 0, failures["gets no answer"])
              )
            }
          }, options)
          const [a, b, ...others] = yield* sender.log.send(jobs)
          assert.instanceOf(b, TransportError)
          assert.deepStrictEqual([a, ...others], ["sent", "sent", "sent"])
          assert.deepStrictEqual(yield* comers(other), ["a", "c", "d"])
          // the same call once more adds what is missing
          assert.deepStrictEqual(yield* sender.log.send(jobs), ["duplicate", "sent", "duplicate", "duplicate"])
        })
      ))
  }

  it("are there as they were answered when the server cannot be asked for one of them", () =>
    playAtPort(({ wire }) =>
      Effect.gen(function*() {
        const other = yield* make(wire.streams, options)
        const due = { _tag: "After", after: 5_000 } as const
        yield* other.log.send([envelope({ id: "b", due: undefined })])
        const sender = yield* make({
          ...wire.streams,
          last: (stream, subjects) =>
            subjects.some((subject) => subject.endsWith(".r.q.j.b"))
              ? Effect.fail(failures["gets no answer"].error)
              : wire.streams.last(stream, subjects)
        }, options)
        const [a, b, ...others] = yield* sender.log.send(ids.map((id) => envelope({ id, due })) as never)
        assert.instanceOf(b, TransportError)
        assert.deepStrictEqual([a, ...others], ["sent", "sent", "sent"])
        assert.deepStrictEqual(yield* comers(other), ids)
      })
    ))
})
