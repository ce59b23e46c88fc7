import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import * as Envelope from "../src/Envelope.ts"
import * as JobRecord from "../src/JobRecord.ts"
import * as Samples from "./samples.ts"

const optional = <S extends Schema.Top>(schema: S) => Schema.UndefinedOr(schema)

// a trip through JSON makes -0 positive
const Num = Schema.Finite.check(Schema.makeFilter((n) => !Object.is(n, -0)))

const AnyEnvelope = Schema.Struct({
  version: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1_000_000 })),
  id: Schema.String,
  queue: Schema.String,
  task: Schema.String,
  key: optional(Schema.String),
  contentType: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String),
  enqueuedAt: Num,
  expiresAt: optional(Num),
  maxAttempts: optional(Num),
  replyTo: optional(Schema.String),
  body: Schema.Uint8Array,
  revision: Num,
  priority: Schema.String,
  due: optional(Schema.Union([
    Schema.TaggedStruct("At", { at: Num }),
    Schema.TaggedStruct("After", { after: Num })
  ])),
  attempt: Num,
  deliveries: Num,
  writtenAt: Num,
  unknownSince: optional(Num),
  lastError: optional(Schema.String),
  prevTraceparent: optional(Schema.String),
  signature: optional(Schema.String)
})

const AnyRecord = Schema.Struct({
  version: Schema.Literal(1),
  id: Schema.String,
  queue: Schema.String,
  task: Schema.String,
  state: Schema.Literals(["succeeded", "failed", "cancelled", "expired"]),
  attempts: Num,
  finishedAt: Num,
  reason: optional(Schema.Literals(["Error", "Defect", "Poison", "Signature"])),
  message: optional(Schema.String),
  contentType: Schema.String,
  value: Schema.Uint8Array,
  timeToLive: Num,
  valueTimeToLive: Num,
  replyTo: optional(Schema.String),
  signature: optional(Schema.String)
})

const strange = [
  "",
  "\0",
  "a\0b",
  "\"\\/\b\n",
  "grün",
  "日本語",
  "😀",
  "\ud800",
  "a\udc00b",
  "\u2028",
  "\ufeff",
  "__proto__"
]

/** Bytes as the codec's writer did not make them: a header of our choice. */
const frame = (format: number, header: string | Uint8Array, body: string = ""): Uint8Array => {
  const head = typeof header === "string" ? new TextEncoder().encode(header) : header
  const prefix = new Uint8Array(5)
  prefix[0] = format
  new DataView(prefix.buffer).setUint32(1, head.length)
  return new Uint8Array([...prefix, ...head, ...new TextEncoder().encode(body)])
}

describe("Envelope", () => {
  const roundTrip = (envelope: Envelope.Envelope) => Envelope.fromBytes(Envelope.toBytes(envelope))

  it("keeps every field, set or not", () => {
    assert.deepStrictEqual(roundTrip(Samples.envelope), Samples.envelope)
    assert.deepStrictEqual(roundTrip(Samples.bareEnvelope), Samples.bareEnvelope)
    const delayed: Envelope.Envelope = { ...Samples.envelope, due: { _tag: "After", after: 0 } }
    assert.deepStrictEqual(roundTrip(delayed), delayed)
  })

  it.prop("keeps any envelope", [AnyEnvelope], ([envelope]) => assert.deepEqual(roundTrip(envelope), envelope))

  it.each(strange)("keeps the text %j in every field", (text) => {
    const envelope: Envelope.Envelope = {
      ...Samples.envelope,
      id: text,
      queue: text,
      task: text,
      key: text,
      headers: Object.fromEntries([[text, text]]),
      lastError: text,
      prevTraceparent: text
    }
    assert.deepStrictEqual(roundTrip(envelope), envelope)
  })

  it("keeps bodies from empty to large, whatever they hold", () => {
    for (const size of [0, 1, 2_000, 20_000, 1024 * 1024]) {
      const body = new Uint8Array(size).map((_, i) => i)
      assert.deepStrictEqual(roundTrip({ ...Samples.envelope, body }).body, body)
    }
  })

  it("keeps large headers", () => {
    const envelope = { ...Samples.envelope, headers: { big: "ü😀".repeat(20_000) } }
    assert.deepStrictEqual(roundTrip(envelope), envelope)
  })

  it("reads from the middle of a larger buffer, also of node's own kind", () => {
    const bytes = Envelope.toBytes(Samples.envelope)
    const larger = Buffer.concat([Buffer.from("before"), bytes, Buffer.from("after")])
    const read = Envelope.fromBytes(larger.subarray(6, 6 + bytes.length))
    assert.deepStrictEqual(read, Samples.envelope)
    assert.strictEqual(read.body.constructor, Uint8Array)
  })

  it("does not write into what it answered before", () => {
    const first = Envelope.toBytes(Samples.envelope)
    const copy = first.slice()
    for (let i = 0; i < 1_000; i++) Envelope.toBytes(Samples.bareEnvelope)
    assert.deepStrictEqual(first, copy)
  })

  it("reads the envelope of a newer release, with its version", () => {
    const header = "{\"v\":7,\"i\":\"a\",\"q\":\"mail\",\"t\":\"T\",\"c\":\"x/new\",\"e\":1,\"p\":\"low\",\"new\":{}}"
    const envelope = Envelope.fromBytes(frame(0xe1, header, "body"))
    assert.strictEqual(envelope.version, 7)
    assert.strictEqual(envelope.id, "a")
    assert.strictEqual(envelope.queue, "mail")
    assert.strictEqual(envelope.attempt, 1)
    assert.strictEqual(Envelope.fromBytes(Envelope.toBytes(envelope)).version, 7)
  })

  it("refuses truncated bytes, wherever they are cut", () => {
    const bytes = Envelope.toBytes({ ...Samples.envelope, body: new Uint8Array(0) })
    for (let end = 0; end < bytes.length; end++) {
      assert.throws(() => Envelope.fromBytes(bytes.subarray(0, end)), /^Not an envelope: /)
    }
  })

  it.each([
    ["other bytes", new TextEncoder().encode("hello world"), "Not an envelope: the first byte is 104, not 225"],
    ["a record", JobRecord.toBytes(Samples.record), "Not an envelope: the first byte is 226, not 225"],
    ["no JSON", frame(0xe1, "{"), "Not an envelope: the header is not JSON"],
    ["no UTF-8", frame(0xe1, new Uint8Array([34, 0xff, 34])), "Not an envelope: the header is not JSON"],
    ["no object", frame(0xe1, "[1]"), "Not an envelope: the header is not an object"],
    ["nothing in it", frame(0xe1, "{}"), "Not an envelope: enqueuedAt is not a number"],
    ["no version", frame(0xe1, "{\"e\":1,\"v\":0.5}"), "Not an envelope: version is not a positive integer"],
    ["no id", frame(0xe1, "{\"e\":1,\"v\":1,\"i\":null}"), "Not an envelope: id is not a string"],
    [
      "headers that are no strings",
      frame(0xe1, "{\"e\":1,\"v\":1,\"i\":\"\",\"q\":\"\",\"t\":\"\",\"c\":\"\",\"h\":{\"a\":1}}"),
      "Not an envelope: headers is not an object of strings"
    ]
  ])("refuses %s", (_, bytes, message) => {
    assert.throws(() => Envelope.fromBytes(bytes), message)
  })

  it("reads random bytes or throws an Error", () => {
    for (let i = 0; i < 2_000; i++) {
      const bytes = Envelope.toBytes(Samples.envelope).slice()
      bytes[(i * 7919) % bytes.length]! ^= 1 << (i % 8)
      try {
        Envelope.fromBytes(bytes)
      } catch (error) {
        assert.match(String(error), /^Error: Not an envelope: /)
      }
    }
  })

  it("refuses to write numbers that JSON cannot hold", () => {
    const endless: Envelope.Envelope = { ...Samples.envelope, due: { _tag: "After", after: Infinity } }
    assert.throws(() => Envelope.toBytes(endless), "Cannot write an envelope of job \"job-1\": due is Infinity")
    assert.throws(() => Envelope.toBytes({ ...Samples.envelope, writtenAt: NaN }), /writtenAt is NaN/)
  })
})

describe("JobRecord", () => {
  const roundTrip = (record: JobRecord.JobRecord) => JobRecord.fromBytes(JobRecord.toBytes(record))

  it("keeps every field, set or not", () => {
    assert.deepStrictEqual(roundTrip(Samples.record), Samples.record)
    assert.deepStrictEqual(roundTrip(Samples.bareRecord), Samples.bareRecord)
  })

  it.prop("keeps any record", [AnyRecord], ([record]) => assert.deepEqual(roundTrip(record), record))

  it("keeps lists, empty ones too", () => {
    const records = [Samples.record, Samples.bareRecord, { ...Samples.record, value: new Uint8Array(100_000) }]
    assert.deepStrictEqual(JobRecord.manyFromBytes(JobRecord.manyToBytes(records)), records)
    assert.deepStrictEqual(JobRecord.manyFromBytes(JobRecord.manyToBytes([])), [])
  })

  it("refuses truncated lists, unless they end between records", () => {
    const one = JobRecord.toBytes(Samples.bareRecord).length + 4
    const bytes = JobRecord.manyToBytes([Samples.bareRecord, Samples.bareRecord])
    assert.strictEqual(bytes.length, 2 * one)
    for (let end = 1; end < bytes.length; end++) {
      if (end === one) continue
      assert.throws(() => JobRecord.manyFromBytes(bytes.subarray(0, end)), /^Not a list of job records: cut off/)
    }
  })

  it("reads a reason that only a newer release knows as a defect", () => {
    const text =
      "\"i\":\"a\",\"q\":\"q\",\"t\":\"T\",\"s\":\"failed\",\"a\":1,\"f\":1,\"r\":\"Bored\",\"c\":\"\",\"l\":1"
    assert.strictEqual(JobRecord.fromBytes(frame(0xe2, `{"v":2,${text}}`)).reason, "Defect")
    assert.throws(() => JobRecord.fromBytes(frame(0xe2, `{"v":1,${text}}`)), /reason "Bored" is unknown/)
  })

  it("refuses states it does not know, and envelopes", () => {
    const text = "\"v\":1,\"i\":\"a\",\"q\":\"q\",\"t\":\"T\",\"s\":\"bored\""
    assert.throws(() => JobRecord.fromBytes(frame(0xe2, `{${text},"l":1}`)), /state "bored" is unknown/)
    assert.throws(() => JobRecord.fromBytes(Envelope.toBytes(Samples.envelope)), /^Not a job record: the first byte/)
  })

  it("refuses to write numbers that JSON cannot hold", () => {
    const endless = { ...Samples.record, timeToLive: Infinity }
    assert.throws(
      () => JobRecord.toBytes(endless),
      "Cannot write a job record of job \"job-1\": timeToLive is Infinity"
    )
  })
})
