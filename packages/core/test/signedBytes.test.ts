/** Signatures of one release are to verify in all others: the bytes that they cover stay the same. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { createHmac } from "node:crypto"
import type * as Envelope from "../src/Envelope.ts"
import type * as JobRecord from "../src/JobRecord.ts"
import * as Signing from "../src/Signing.ts"
import * as Samples from "./samples.ts"

describe("what is signed", () => {
  const secret = Uint8Array.from({ length: 32 }, (_, i) => (97 * 31 + i * 7) % 256)
  const signing = Effect.runSync(Signing.makeHmac({ keys: [{ id: "a", secret: Redacted.make(secret) }] }))

  /** HMAC-SHA256 of the bytes as every release has signed them: other releases are to verify them. */
  const codeOf = (
    kind: number,
    numbers: ReadonlyArray<number | undefined>,
    strings: ReadonlyArray<string | undefined>,
    end: string,
    body: Uint8Array
  ) => {
    const text = strings.map((value) => value === undefined ? "-" : `${value.length}:${value}`).join("") + end
    const isWellFormed = text.isWellFormed()
    const bytes = isWellFormed ? Buffer.from(text) : Buffer.from(text, "utf16le").swap16()
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    const hmac = createHmac("sha256", secret).update(Buffer.of(kind, isWellFormed ? 8 : 16))
    for (const number of numbers) {
      const field = Buffer.alloc(9)
      if (number !== undefined) {
        field[0] = 1
        field.writeDoubleBE(number, 1)
      }
      hmac.update(field)
    }
    return hmac.update(length).update(bytes).update(body).digest("base64url")
  }

  const ofEnvelope = (self: Envelope.Envelope) =>
    codeOf(
      1,
      [
        self.version,
        self.enqueuedAt,
        self.expiresAt,
        self.maxAttempts,
        self.revision,
        self.due?._tag === "At" ? self.due.at : undefined,
        self.due?._tag === "After" ? self.due.after : undefined,
        self.attempt,
        self.deliveries,
        self.writtenAt,
        self.unknownSince
      ],
      [
        self.id,
        self.queue,
        self.task,
        self.key,
        self.contentType,
        self.replyTo,
        self.priority,
        self.lastError,
        self.prevTraceparent
      ],
      Object.keys(self.headers).sort().reduce(
        (text, name) => `${text}${name.length}:${name}${self.headers[name]?.length}:${self.headers[name]}`,
        `${Object.keys(self.headers).length};`
      ),
      self.body
    )

  const ofRecord = (self: JobRecord.JobRecord) =>
    codeOf(
      2,
      [self.version, self.attempts, self.finishedAt, self.timeToLive, self.valueTimeToLive],
      [
        self.id,
        self.queue,
        self.task,
        self.state,
        self.reason,
        self.message,
        self.contentType,
        self.replyTo,
        undefined
      ],
      "",
      self.value
    )

  it("stays the same, whatever was signed before", () => {
    const { bareEnvelope, bareRecord, envelope, record } = Samples
    const texts = ["", "a", "job-1", "job-2", "job-10", "j".repeat(5_000), "grün", "😀", "\ud800", "1:a", "-"]
    const bodies = [0, 1, 1_000, 5_000, 1_100_000].map((size) => new Uint8Array(size).fill(size))
    const envelopes: ReadonlyArray<Envelope.Envelope> = [
      ...[bareEnvelope, envelope].flatMap((one) => [
        ...texts.flatMap((id) => [{ ...one, id }, { ...one, queue: id }, { ...one, enqueuedAt: id.length }]),
        ...bodies.map((body) => ({ ...one, body }))
      ]),
      { ...bareEnvelope, headers: { a: "1" } },
      { ...bareEnvelope, due: { _tag: "After", after: 0 } },
      { ...bareEnvelope, enqueuedAt: 0, writtenAt: 1.5, revision: 2 ** 53 }
    ]
    const whole = { ...record, valueTimeToLive: record.timeToLive }
    const records: ReadonlyArray<JobRecord.JobRecord> = [bareRecord, whole].flatMap((one) => [
      ...texts.flatMap((id) => [{ ...one, id }, { ...one, task: id }, { ...one, finishedAt: id.length }]),
      ...bodies.map((value) => ({ ...one, value }))
    ])
    // in two orders: each comes after several others
    for (const step of [1, 7]) {
      for (let i = 0; i < envelopes.length; i++) {
        const one = envelopes[(i * step) % envelopes.length]!
        assert.strictEqual(signing.signEnvelope(one).signature, `1.a.${ofEnvelope(one)}`)
        assert.strictEqual(signing.signEnvelope(one).signature, `1.a.${ofEnvelope(one)}`)
      }
      for (let i = 0; i < records.length; i++) {
        const one = records[(i * step) % records.length]!
        assert.strictEqual(signing.signRecord(one).signature, `1.a.${ofRecord(one)}`)
      }
    }
  })
})
