import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Envelope from "../src/Envelope.ts"
import * as JobRecord from "../src/JobRecord.ts"
import * as Signing from "../src/Signing.ts"
import * as Samples from "./samples.ts"

const utf8 = (text: string) => new TextEncoder().encode(text)

const key = (id: string, seed = id): Signing.Key => ({
  id,
  secret: Redacted.make(Uint8Array.from({ length: 32 }, (_, i) => (seed.charCodeAt(0) * 31 + i * 7) % 256))
})

const make = (...keys: [Signing.Key, ...Array<Signing.Key>]) => Effect.runSync(Signing.makeHmac({ keys }))

const signing = make(key("a"))
const now = Samples.envelope.writtenAt

const envelopeReason = (envelope: Envelope.Envelope, verifier = signing, at = now) =>
  verifier.verifyEnvelope(envelope, at)?.reason._tag

const recordReason = (record: JobRecord.JobRecord, verifier = signing) => verifier.verifyRecord(record)?.reason._tag

describe("envelopes", () => {
  const signed = signing.signEnvelope(Samples.envelope)

  it("verify, also after a trip over the wire", () => {
    assert.match(signed.signature ?? "", /^1\.a\.[A-Za-z0-9_-]{43}$/)
    assert.isUndefined(envelopeReason(signed))
    assert.isUndefined(envelopeReason(Envelope.fromBytes(Envelope.toBytes(signed))))
    const bare = signing.signEnvelope(Samples.bareEnvelope)
    assert.isUndefined(envelopeReason(Envelope.fromBytes(Envelope.toBytes(bare))))
    assert.strictEqual(signing.signEnvelope(signed).signature, signed.signature)
  })

  it("verify with strange texts and every size of body", () => {
    for (const text of ["", "\0", "1:a", "-", "grün", "😀", "\ud800", "__proto__"]) {
      const envelope = { ...signed, id: text, key: text, headers: Object.fromEntries([[text, text], ["b", "1"]]) }
      const wire = Envelope.toBytes(signing.signEnvelope(envelope))
      assert.isUndefined(envelopeReason(Envelope.fromBytes(wire)))
    }
    for (const size of [0, 1, 4_096, 1024 * 1024, 10_000_000]) {
      const large = signing.signEnvelope({ ...signed, body: new Uint8Array(size).fill(7) })
      assert.isUndefined(envelopeReason(large))
      if (size === 0) continue
      large.body[size - 1]! ^= 1
      assert.strictEqual(envelopeReason(large), "Wrong")
    }
  })

  // a field that is added to the envelope must be added here, and to the signature
  const tampered: {
    readonly [K in Exclude<keyof Envelope.Envelope, "signature">]: ReadonlyArray<Envelope.Envelope[K]>
  } = {
    version: [2],
    id: ["job-2", "JOB-1", "job-1\0"],
    queue: ["sms"],
    task: ["DeleteAll"],
    key: [undefined, "", "account-2"],
    contentType: ["application/vnd.effect.schema-binary"],
    headers: [{}, { tenant: "a" }, { ...signed.headers, tenant: "b" }, { ...signed.headers, more: "" }],
    enqueuedAt: [signed.enqueuedAt + 1],
    expiresAt: [undefined, 0, Number.MAX_SAFE_INTEGER],
    maxAttempts: [undefined, 0, 50],
    replyTo: [undefined, "client-2"],
    body: [new Uint8Array(0), utf8("{\"to\":\"a@b.d\"}"), utf8("{\"to\":\"a@b.c\"} ")],
    revision: [2, 4],
    priority: ["low"],
    due: [undefined, { _tag: "At", at: 0 }, { _tag: "After", after: 1_767_225_660_000 }],
    attempt: [1, 3],
    deliveries: [0, 2],
    writtenAt: [signed.writtenAt + 0.5],
    unknownSince: [undefined, 0],
    lastError: [undefined, ""],
    prevTraceparent: [undefined, "", "00-1-2-01"]
  }

  it.each(Object.entries(tampered))("do not verify with another %s", (field, values) => {
    for (const value of values) assert.strictEqual(envelopeReason({ ...signed, [field]: value }), "Wrong")
  })

  it.each(Object.entries(tampered))("do not verify with another %s than that of the last one", (field, values) => {
    const bare = signing.signEnvelope(Samples.bareEnvelope)
    for (const value of [...values, signed[field as keyof Envelope.Envelope]]) {
      assert.isUndefined(envelopeReason(bare))
      const other = { ...bare, [field]: value }
      const isOther = JSON.stringify(other) !== JSON.stringify(bare)
      assert.strictEqual(envelopeReason(other), isOther ? "Wrong" : undefined)
    }
  })

  it("do not verify when bodies are swapped", () => {
    const other = signing.signEnvelope({ ...Samples.envelope, id: "job-2", body: utf8("other") })
    assert.strictEqual(envelopeReason({ ...signed, body: other.body }), "Wrong")
    assert.strictEqual(envelopeReason({ ...signed, body: other.body, signature: other.signature }), "Wrong")
    assert.strictEqual(envelopeReason({ ...other, id: "job-1" }), "Wrong")
  })

  it("do not verify when text moves from one field to the next", () => {
    const base = { ...Samples.bareEnvelope, key: "c" }
    const pairs: ReadonlyArray<readonly [Partial<Envelope.Envelope>, Partial<Envelope.Envelope>]> = [
      [{ id: "ab", queue: "c" }, { id: "a", queue: "bc" }],
      [{ task: "a", key: "1:b" }, { task: "a1:b", key: "" }],
      [{ replyTo: undefined, lastError: "-" }, { replyTo: "-", lastError: undefined }],
      [{ id: "\ud800" }, { id: "\ufffd" }],
      [{ headers: { a: "b1:c" } }, { headers: { a: "b", c: "" } }],
      [{ headers: { ab: "" } }, { headers: { a: "b" } }],
      [{ lastError: "0;" }, { lastError: undefined }],
      [{ lastError: "1:a", prevTraceparent: undefined }, { lastError: undefined, prevTraceparent: "1:a" }],
      [{ priority: "p", body: utf8("1") }, { priority: "p1", body: utf8("") }],
      [{ expiresAt: 5, maxAttempts: undefined }, { expiresAt: undefined, maxAttempts: 5 }],
      [{ due: { _tag: "At", at: 5 } }, { due: { _tag: "After", after: 5 } }]
    ]
    for (const [one, two] of pairs) {
      const { signature } = signing.signEnvelope({ ...base, ...one })
      assert.strictEqual(envelopeReason({ ...base, ...two, signature }), "Wrong")
    }
  })

  it("verify whatever the order of their headers", () => {
    const { signature } = signing.signEnvelope({ ...signed, headers: { a: "1", b: "2", "10": "3" } })
    assert.isUndefined(envelopeReason({ ...signed, headers: { b: "2", "10": "3", a: "1" }, signature }))
  })

  it("need a signature of ours", () => {
    assert.strictEqual(envelopeReason({ ...signed, signature: undefined }), "Missing")
    const strangers = make(key("b")).signEnvelope(signed)
    assert.deepStrictEqual(signing.verifyEnvelope(strangers, now)?.reason, { _tag: "UnknownKey", keyId: "b" })
    assert.strictEqual(envelopeReason(make(key("a", "z")).signEnvelope(signed)), "Wrong")
    const signature = signed.signature ?? ""
    for (
      const other of [
        "",
        "1",
        "1.a",
        "1.a.",
        signature.slice(1),
        signature.replace("1.", "2."),
        `${signature}.`,
        `${signature}.x`,
        `${signature}.x.y`,
        `${signature}=`,
        ` ${signature}`,
        signature.slice(0, -1),
        signature.toLowerCase()
      ]
    ) {
      assert.strictEqual(envelopeReason({ ...signed, signature: other }), "Wrong", other)
    }
  })

  it("name job, queue and advice when refused", () => {
    assert.strictEqual(
      signing.verifyEnvelope({ ...signed, signature: undefined }, now)?.message,
      "The envelope of job \"job-1\" of queue \"mail\" has no signature: its writer has no Signing layer."
    )
    assert.strictEqual(
      signing.verifyEnvelope(make(key("b")).signEnvelope(signed), now)?.message,
      "The envelope of job \"job-1\" of queue \"mail\" is signed with key \"b\", which is unknown here: " +
        "add it to the keys of this process."
    )
  })

  it("rotate keys: the first signs, all verify", () => {
    const [before, during, after] = [make(key("a"), key("b")), make(key("b"), key("a")), make(key("b"))]
    const old = before.signEnvelope(signed)
    const fresh = during.signEnvelope(signed)
    assert.match(fresh.signature ?? "", /^1\.b\./)
    assert.isUndefined(envelopeReason(fresh, before))
    assert.isUndefined(envelopeReason(old, during))
    assert.isUndefined(envelopeReason(fresh, after))
    assert.strictEqual(envelopeReason(old, after), "UnknownKey")
  })

  it("age from when they were written or due", () => {
    const strict = Effect.runSync(Signing.makeHmac({ keys: [key("a")], maxAge: "1 minute" }))
    const { writtenAt } = signed
    const age = (due: Envelope.Due | undefined, at: number) =>
      envelopeReason(strict.signEnvelope({ ...signed, due }), strict, at)
    assert.isUndefined(age(undefined, writtenAt + 60_000))
    assert.strictEqual(age(undefined, writtenAt + 60_001), "TooOld")
    assert.isUndefined(age({ _tag: "After", after: 5_000 }, writtenAt + 65_000))
    assert.strictEqual(age({ _tag: "After", after: 5_000 }, writtenAt + 65_001), "TooOld")
    assert.isUndefined(age({ _tag: "At", at: writtenAt + 7_000 }, writtenAt + 67_000))
    assert.strictEqual(age({ _tag: "At", at: writtenAt + 7_000 }, writtenAt + 67_001), "TooOld")
    assert.strictEqual(age({ _tag: "At", at: 0 }, writtenAt + 60_001), "TooOld")
    // clocks differ: one that is ahead of ours is no reason
    assert.isUndefined(age(undefined, writtenAt - 3_600_000))
    assert.deepStrictEqual(strict.verifyEnvelope(strict.signEnvelope(Samples.bareEnvelope), now + 120_000)?.reason, {
      _tag: "TooOld",
      age: 121_000,
      maxAge: 60_000
    })
    // a time that was altered is wrong, not old
    assert.strictEqual(envelopeReason({ ...signed, writtenAt: 0 }, strict, now), "Wrong")
  })

  it("stay valid without maxAge", () => {
    assert.isUndefined(envelopeReason(signed, signing, Number.MAX_SAFE_INTEGER))
  })
})

describe("records", () => {
  const signed = signing.signRecord(Samples.record)

  it("verify, also after a trip over the wire", () => {
    assert.match(signed.signature ?? "", /^1\.a\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}$/)
    assert.isUndefined(recordReason(JobRecord.fromBytes(JobRecord.toBytes(signed))))
    assert.isUndefined(recordReason(signing.signRecord(Samples.bareRecord)))
    assert.isUndefined(recordReason(signing.signRecord({ ...signed, value: new Uint8Array(10_000_000) })))
  })

  const tampered: {
    readonly [K in Exclude<keyof JobRecord.JobRecord, "signature">]: ReadonlyArray<JobRecord.JobRecord[K]>
  } = {
    version: [2],
    id: ["job-2"],
    queue: ["sms"],
    task: ["Other"],
    state: ["succeeded", "cancelled"],
    attempts: [4],
    finishedAt: [0],
    reason: [undefined, "Defect"],
    message: [undefined, ""],
    contentType: ["text/plain"],
    value: [utf8("{}")],
    timeToLive: [1],
    valueTimeToLive: [60_001],
    replyTo: [undefined, "client-2"]
  }

  it.each(Object.entries(tampered))("do not verify with another %s", (field, values) => {
    for (const value of values) assert.strictEqual(recordReason({ ...signed, [field]: value }), "Wrong")
  })

  it.each(Object.entries(tampered))("do not verify with another %s than that of the last one", (field, values) => {
    const whole = signing.signRecord({ ...Samples.record, valueTimeToLive: Samples.record.timeToLive })
    for (const value of values) {
      // a copy: what was verified once is not verified again
      assert.isUndefined(recordReason({ ...whole }))
      assert.strictEqual(recordReason({ ...whole, [field]: value }), "Wrong")
    }
  })

  it("verify when the value is no longer kept, if it may go first", () => {
    assert.isUndefined(recordReason({ ...signed, value: new Uint8Array(0) }))
    const whole = signing.signRecord({ ...Samples.record, valueTimeToLive: Samples.record.timeToLive })
    assert.strictEqual(recordReason({ ...whole, value: new Uint8Array(0) }), "Wrong")
    assert.strictEqual(recordReason({ ...signed, value: new Uint8Array(0), state: "succeeded" }), "Wrong")
  })

  it("have one code if their value is kept as long as they are", () => {
    const whole = signing.signRecord({ ...Samples.record, valueTimeToLive: Samples.record.timeToLive })
    assert.match(whole.signature ?? "", /^1\.a\.[A-Za-z0-9_-]{43}$/)
    assert.isUndefined(recordReason(JobRecord.fromBytes(JobRecord.toBytes(whole))))
    assert.strictEqual(recordReason({ ...whole, value: utf8("{}") }), "Wrong")
    const valueCode = signed.signature?.split(".")[3]
    assert.strictEqual(recordReason({ ...whole, signature: `${whole.signature}.${valueCode}` }), "Wrong")
    assert.strictEqual(recordReason({ ...whole, valueTimeToLive: 1, value: new Uint8Array(0) }), "Wrong")
  })

  it("do not take a value that they never had", () => {
    const bare = signing.signRecord(Samples.bareRecord)
    assert.strictEqual(recordReason({ ...bare, value: utf8("1") }), "Wrong")
    const valueCode = signed.signature?.split(".")[3]
    assert.strictEqual(
      recordReason({ ...bare, value: signed.value, signature: `${bare.signature}.${valueCode}` }),
      "Wrong"
    )
    assert.strictEqual(recordReason({ ...bare, signature: undefined }), "Missing")
  })

  it("have no code in common with envelopes", () => {
    assert.strictEqual(
      recordReason({ ...Samples.bareRecord, signature: signing.signEnvelope(Samples.envelope).signature }),
      "Wrong"
    )
    assert.strictEqual(envelopeReason({ ...Samples.envelope, signature: signed.signature }), "Wrong")
  })
})

describe("keys", () => {
  const refused = (...keys: [Signing.Key, ...Array<Signing.Key>]) =>
    Effect.runSync(Effect.flip(Signing.makeHmac({ keys })))

  const secret = (value: string | Uint8Array): Signing.Key => ({ id: "a", secret: Redacted.make(value) })

  it.effect("are generated, each its own", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* Signing.generateKey, yield* Signing.generateKey]
      assert.match(Redacted.value(one), /^troupe-key-[A-Za-z0-9_-]{43}$/)
      assert.notStrictEqual(Redacted.value(one), Redacted.value(two))
      const generated = yield* Signing.makeHmac({ keys: [{ id: "a", secret: one }] })
      assert.isUndefined(envelopeReason(generated.signEnvelope(Samples.envelope), generated))
    }))

  it.each([
    ["31 bytes", Uint8Array.from({ length: 31 }, (_, i) => i * 8), "TooShort"],
    ["no bytes", new Uint8Array(0), "TooShort"],
    ["zeros", new Uint8Array(64), "Guessable"],
    ["a pattern", utf8("abcabc".repeat(20)), "Guessable"],
    ["a padded password", utf8("hunter2".padEnd(32, "\0")), "Guessable"],
    ["a password", utf8("correct horse battery staple, isn't it"), "Guessable"],
    ["a text that was not generated", "correct horse battery staple and more", "WrongText"],
    ["a generated text that was cut", "troupe-key-AAECAwQFBgcICQoLDA0ODw", "TooShort"],
    ["a generated text with a typo", `troupe-key-${"A".repeat(42)}!`, "WrongText"],
    ["a generated text of zeros", `troupe-key-${"A".repeat(43)}`, "Guessable"]
  ])("are refused when they are %s", (_, value, reason) => {
    const error = refused(key("b"), secret(value))
    assert.strictEqual(error.position, 2)
    assert.strictEqual(error.reason, reason)
    assert.include(error.message, "make one with Signing.generateKey")
    if (typeof value === "string") assert.notInclude(error.message, value)
  })

  it("may be random bytes of 32 and more, or a long text of them", () => {
    const random = Uint8Array.from({ length: 32 }, (_, i) => (i * 41) % 256)
    for (
      const bytes of [random, utf8(Buffer.from(random).toString("base64")), utf8(Buffer.from(random).toString("hex"))]
    ) {
      make(secret(bytes))
    }
  })

  it.each(["", "a.b", "a b", "a,b", "ü", "a".repeat(65), "troupe-key-AAECAwQFBgcICQoLDA0ODw"])(
    "have ids that fit on the wire, not %j",
    (id) => {
      const error = refused(key(id, "a"))
      assert.strictEqual(error.reason, "WrongId")
      if (id.length > 3) assert.notInclude(error.message, id)
    }
  )

  it("have different ids", () => {
    assert.deepInclude(refused(key("a"), key("b"), key("a", "c")), { position: 3, reason: "DuplicateId" })
  })
})

describe("layers", () => {
  const provided = (env: Record<string, string>) =>
    Effect.gen(function*() {
      return yield* Signing.Signing
    }).pipe(
      Effect.provide(Signing.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))))
    )

  const text = `troupe-key-${Buffer.from(Redacted.value(key("a").secret)).toString("base64url")}`

  it.effect("sign nothing by default", () =>
    Effect.gen(function*() {
      assert.isUndefined(yield* Signing.Signing)
    }))

  it.effect("take keys from code", () =>
    Effect.gen(function*() {
      const provided = yield* Signing.Signing
      assert.strictEqual(
        provided?.signEnvelope(Samples.envelope).signature,
        signing.signEnvelope(Samples.envelope).signature
      )
    }).pipe(Effect.provide(Signing.layerHmac({ keys: [key("a")] }))))

  it.effect("take keys and age from the environment", () =>
    Effect.gen(function*() {
      const other = Redacted.value(yield* Signing.generateKey)
      const configured = yield* provided({
        TROUPE_SIGNING_KEYS: `a:${text}, old:${other}`,
        TROUPE_SIGNING_MAX_AGE: "1 minute"
      })
      const signed = signing.signEnvelope(Samples.bareEnvelope)
      assert.isUndefined(envelopeReason(signed, configured, signed.writtenAt + 60_000))
      assert.strictEqual(envelopeReason(signed, configured, signed.writtenAt + 60_001), "TooOld")
      assert.strictEqual(configured?.signEnvelope(Samples.bareEnvelope).signature, signed.signature)
    }))

  it.effect("fail without keys, and show none in errors", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* Effect.flip(provided({})))._tag, "ConfigError")
      assert.strictEqual((yield* Effect.flip(provided({ TROUPE_SIGNING_KEYS: "" })))._tag, "ConfigError")
      for (const list of [text, `${text}:a`, `a:${text},${text}`, ",", "a:", `a:${text},`]) {
        const error = yield* Effect.flip(provided({ TROUPE_SIGNING_KEYS: list }))
        assert.strictEqual(error._tag, "InvalidKey", list)
        assert.notInclude(`${error} ${error.message} ${JSON.stringify(error)}`, text)
      }
    }))
})
