/** Headers that are written and read without JSON: nobody can tell the difference. */
import { assert, describe, it } from "@effect/vitest"
import * as Envelope from "../src/Envelope.ts"
import * as JobRecord from "../src/JobRecord.ts"
import * as Samples from "./samples.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder()
const body = encoder.encode("[1]")

const frame = (format: number, header: string): Uint8Array => {
  const text = encoder.encode(header)
  const bytes = new Uint8Array(5 + text.length + body.length)
  bytes[0] = format
  new DataView(bytes.buffer).setUint32(1, text.length)
  bytes.set(text, 5)
  bytes.set(body, 5 + text.length)
  return bytes
}

const headerOf = (bytes: Uint8Array): string =>
  decoder.decode(bytes.subarray(5, 5 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(1)))

const envelope = (fields: Partial<Envelope.Envelope> = {}): Envelope.Envelope => ({
  ...Samples.bareEnvelope,
  replyTo: "client-1",
  body,
  ...fields
})

const record = (fields: Partial<JobRecord.JobRecord> = {}): JobRecord.JobRecord => ({
  ...Samples.bareRecord,
  state: "succeeded",
  attempts: 1,
  reason: undefined,
  message: undefined,
  valueTimeToLive: Samples.bareRecord.timeToLive,
  replyTo: "client-1",
  value: body,
  ...fields
})

/** What differs from job to job, as far from usual as it gets. */
const texts = [
  "job-1",
  "",
  " ",
  "a\"b",
  "a\\b",
  "\\\"",
  "\",\"q\":\"other\"",
  "line\nbreak",
  "\u0000",
  "\u007f",
  "é",
  "日本",
  "😀",
  "\ud800",
  "\u2028",
  "\ufeff",
  "\ufffd",
  "}",
  "x".repeat(2_000)
]
const times = [0, -0, 1, 1_767_225_600_000, 1_767_225_600_000.25, 0.5, -5, 1e21, 1e-7, Number.MAX_SAFE_INTEGER, 2 ** 60]

const traceparent = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`

const envelopes = [
  ...texts.flatMap((text) => [
    envelope({ id: text }),
    envelope({ replyTo: text }),
    envelope({ key: text }),
    envelope({ key: text, replyTo: undefined, signature: "1.k.code" }),
    envelope({ signature: text }),
    envelope({ headers: { traceparent: text } }),
    envelope({ headers: { traceparent: text, "troupe-trace": "link" }, key: text, signature: "1.k.code" }),
    envelope({ headers: { traceparent, "troupe-trace": text } }),
    envelope({ headers: { [text]: traceparent } }),
    envelope({ queue: text }),
    envelope({ task: text, contentType: text, priority: text, replyTo: undefined })
  ]),
  ...times.map((time) => envelope({ enqueuedAt: time, writtenAt: time })),
  envelope({ replyTo: undefined, signature: "1.k.code" }),
  envelope({ headers: { traceparent }, replyTo: undefined }),
  envelope({ headers: { "troupe-trace": "link", traceparent } }),
  envelope({ headers: { "troupe-trace": "link" } }),
  envelope({ headers: { traceparent, "troupe-trace": "link", "troupe-root": "job-0" } }),
  envelope({ headers: { traceparent, tracestate: "vendor=1" } }),
  envelope({ headers: { traceparent, "troupe-trace": "replay" } })
]
const records = [
  ...texts.flatMap((text) => [
    record({ id: text }),
    record({ replyTo: text }),
    record({ signature: text }),
    record({ queue: text, task: text, contentType: text, replyTo: undefined })
  ]),
  ...times.map((time) => record({ finishedAt: time })),
  record({ attempts: 3, timeToLive: 1.5, valueTimeToLive: 1.5 })
]

// -0 becomes 0 in JSON, too
const positive = (time: number) => time + 0

describe("usual headers", () => {
  it("of envelopes are what JSON writes, and read as they were", () => {
    for (const one of [...envelopes, ...envelopes]) {
      const bytes = Envelope.toBytes(one)
      const header = headerOf(bytes)
      assert.strictEqual(header, JSON.stringify(JSON.parse(header)))
      const read = Envelope.fromBytes(bytes)
      assert.deepStrictEqual(
        { ...read, body: [...read.body] },
        { ...one, body: [...one.body], enqueuedAt: positive(one.enqueuedAt), writtenAt: positive(one.writtenAt) }
      )
      // written by JSON alone, in another order
      const fields = Object.entries(JSON.parse(header)).reverse()
      assert.deepStrictEqual(Envelope.fromBytes(frame(0xe1, JSON.stringify(Object.fromEntries(fields)))), read)
    }
  })

  it("of records are what JSON writes, and read as they were", () => {
    for (const one of [...records, ...records]) {
      const bytes = JobRecord.toBytes(one)
      const header = headerOf(bytes)
      assert.strictEqual(header, JSON.stringify(JSON.parse(header)))
      const read = JobRecord.fromBytes(bytes)
      assert.deepStrictEqual(
        { ...read, value: [...read.value] },
        { ...one, value: [...one.value], finishedAt: positive(one.finishedAt) }
      )
      const fields = Object.entries(JSON.parse(header)).reverse()
      assert.deepStrictEqual(JobRecord.fromBytes(frame(0xe2, JSON.stringify(Object.fromEntries(fields)))), read)
    }
  })

  it("that are damaged anywhere are read as JSON reads them", () => {
    const outcome = (read: () => unknown) => {
      try {
        return read()
      } catch {
        return "unreadable"
      }
    }
    for (const headers of [{}, { traceparent }, { traceparent, "troupe-trace": "link" }]) {
      const usual = envelope({ key: "key-1", signature: "1.k.code", headers })
      Envelope.fromBytes(Envelope.toBytes(usual))
      const header = headerOf(Envelope.toBytes(usual))
      for (let at = 0; at < header.length; at++) {
        for (const other of ["", "\"", "\\", "}", ",", "0", "x", "\n", "00", "\",\"s\":\""]) {
          const damaged = header.slice(0, at) + other + header.slice(at + 1)
          // a space before it: nothing is usual about it, and it is the same JSON
          assert.deepStrictEqual(
            outcome(() => Envelope.fromBytes(frame(0xe1, damaged))),
            outcome(() => Envelope.fromBytes(frame(0xe1, ` ${damaged}`)))
          )
        }
      }
    }
  })

  it("in two parts are the same bytes, and ASCII is always in two parts", () => {
    const joined = ({ body, head }: Envelope.Parts) =>
      Uint8Array.from([...Array.from(head, (unit) => unit.charCodeAt(0)), ...body])
    for (const one of envelopes) {
      const parts = Envelope.toParts(one)
      if (parts !== undefined) assert.deepStrictEqual(joined(parts), new Uint8Array(Envelope.toBytes(one)))
    }
    for (const one of records) {
      const parts = JobRecord.toParts(one)
      if (parts !== undefined) assert.deepStrictEqual(joined(parts), new Uint8Array(JobRecord.toBytes(one)))
    }
    assert.isDefined(Envelope.toParts(envelope({ id: "job-2" })))
    assert.isDefined(Envelope.toParts(envelope({ id: "job-2", key: "key-2" })))
    assert.isDefined(JobRecord.toParts(record({ id: "job-2" })))
    assert.isUndefined(Envelope.toParts(envelope({ key: "é" })))
    assert.isUndefined(Envelope.toParts(envelope({ queue: "é" })))
    assert.isUndefined(JobRecord.toParts(record({ task: "日本" })))
    assert.throws(() => Envelope.toParts(envelope({ enqueuedAt: NaN })), /enqueuedAt is NaN/)
    assert.throws(() => JobRecord.toParts(record({ finishedAt: NaN })), /finishedAt is NaN/)
  })

  it("of more tasks than are remembered are written and read all the same", () => {
    for (let round = 0; round < 3; round++) {
      for (let task = 0; task < 100; task++) {
        const one = envelope({ task: `Task${task}`, id: `${round}` })
        assert.deepStrictEqual(Envelope.fromBytes(Envelope.toBytes(one)), one)
      }
    }
  })

  it("share nothing that a handler could change for others", () => {
    const [one, other] = [1, 2].map((id) => Envelope.fromBytes(Envelope.toBytes(envelope({ id: `${id}` }))))
    Reflect.set(one!.headers, "written", "x")
    assert.deepStrictEqual(other!.headers, {})
  })
})
