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
