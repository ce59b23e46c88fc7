/**
 * Signatures over jobs and records, for brokers that others can write to.
 *
 * With signing on, an envelope with a missing, unknown, wrong or too old
 * signature is never decoded nor run. A signature covers every field, so a
 * body cannot be moved to another job, queue or due time. It hides nothing.
 * Within `maxAge` an old envelope can be sent again: unique ids and records
 * stop that for as long as they live.
 */
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Envelope } from "./Envelope.ts"
import * as Canonical from "./internal/canonical.ts"
import * as Hmac from "./internal/hmac.ts"
import type { JobRecord } from "./JobRecord.ts"

export interface Signing {
  /** The envelope with its `signature`; one that it had is replaced. */
  readonly signEnvelope: (envelope: Envelope) => Envelope
  /**
   * Why the envelope must not be decoded. `now` is ms since the epoch by the
   * broker's clock. Check `version` first: a newer one has fields that are not known here.
   */
  readonly verifyEnvelope: (envelope: Envelope, now: number) => SignatureError | undefined
  readonly signRecord: (record: JobRecord) => JobRecord
  /** A record has no greatest age. One whose value is no longer kept still verifies. */
  readonly verifyRecord: (record: JobRecord) => SignatureError | undefined
}

/** Signs and verifies all jobs and records, once provided. Producers, workers and waiters need the same keys. */
export const Signing = Context.Reference<Signing | undefined>("@troupe/core/Signing", {
  defaultValue: () => undefined
})

export interface Key {
  /** Travels in the clear: 1 to 64 letters, digits, `-` and `_`. */
  readonly id: string
  /** A text of `generateKey`, or at least 32 random bytes. */
  readonly secret: Redacted.Redacted<string | Uint8Array>
}

export interface HmacOptions {
  /**
   * The first signs, all verify. To rotate: append the new key everywhere,
   * then move it to the front, then drop the old one when its jobs are done.
   */
  readonly keys: NonEmptyReadonlyArray<Key>
  /** Counts from when an envelope was written or became due, the later of both. Without it signatures stay valid. */
  readonly maxAge?: Duration.Input | undefined
}

/** HMAC-SHA256, 1 to 3 µs per job. */
export const makeHmac = Effect.fnUntraced(function*(options: HmacOptions) {
  const maxAge = options.maxAge === undefined ? Infinity : Duration.toMillis(options.maxAge)
  const keys = new Map<string, Hmac.Key>()
  for (const { id, secret } of options.keys) {
    const position = keys.size + 1
    // a secret in the wrong place would show in errors and on the wire
    if (!isKeyId.test(id) || id.startsWith(keyPrefix)) return yield* new InvalidKey({ position, reason: "WrongId" })
    if (keys.has(id)) return yield* new InvalidKey({ position, reason: "DuplicateId" })
    const bytes = secretBytes(Redacted.value(secret))
    if (typeof bytes === "string") return yield* new InvalidKey({ position, reason: bytes })
    keys.set(id, Hmac.makeKey(bytes))
  }
  return fromKeys(options.keys[0].id, keys, maxAge)
})

/** Signs and verifies with keys from code. */
export const layerHmac = (options: HmacOptions): Layer.Layer<never, InvalidKey> =>
  Layer.effect(Signing, makeHmac(options))

/**
 * Keys and age from the environment: `TROUPE_SIGNING_KEYS` is a list like
 * `new:troupe-key-…,old:troupe-key-…`, `TROUPE_SIGNING_MAX_AGE` a duration
 * like `2 days` (optional). Without keys it fails: signing never goes off silently.
 */
export const layerConfig: Layer.Layer<never, InvalidKey | Config.ConfigError> = Layer.effect(
  Signing,
  Effect.gen(function*() {
    const list = yield* Config.Redacted("TROUPE_SIGNING_KEYS")
    const maxAge = yield* Config.option(Config.Duration("TROUPE_SIGNING_MAX_AGE"))
    const [first, ...others] = Redacted.value(list).split(",").map(parseKey)
    // splitting a text gives one item at least
    return yield* makeHmac({ keys: [first!, ...others], maxAge: Option.getOrUndefined(maxAge) })
  })
)

const keyPrefix = "troupe-key-"
const minimumBytes = 32

/** A new key: `troupe-key-` and 32 random bytes in base64url. `Redacted.value` prints it. */
export const generateKey: Effect.Effect<Redacted.Redacted<string>> = Effect.sync(() =>
  Redacted.make(keyPrefix + Base64Url.encode(Hmac.random(minimumBytes)))
)

/** A key that does not protect, refused at start. */
export class InvalidKey extends Schema.TaggedError<InvalidKey>()("InvalidKey", {
  /** In the list of keys, from 1. */
  position: Schema.Number,
  reason: Schema.Literals(["WrongId", "DuplicateId", "WrongText", "TooShort", "Guessable"])
}) {
  override get message() {
    return `Signing key number ${this.position}: ${invalidKeyAdvice[this.reason]}.`
  }
}

const generateAdvice = "make one with Signing.generateKey"

const invalidKeyAdvice: Readonly<Record<InvalidKey["reason"], string>> = {
  WrongId: "an id has 1 to 64 letters, digits, - and _; a list of keys reads id:secret,id:secret",
  DuplicateId: "an earlier key has this id; give each its own",
  WrongText: `the text does not hold ${minimumBytes} bytes after "${keyPrefix}"; ${generateAdvice}`,
  TooShort: `fewer than ${minimumBytes} bytes; ${generateAdvice}`,
  Guessable: `a password or a pattern, not random bytes; ${generateAdvice}`
}

const Reason = Schema.Union([
  Schema.TaggedStruct("Missing", {}),
  /** Signed with a key that is not among ours. */
  Schema.TaggedStruct("UnknownKey", { keyId: Schema.String }),
  /** Altered, or signed with another secret. */
  Schema.TaggedStruct("Wrong", {}),
  /** Both in ms. */
  Schema.TaggedStruct("TooOld", { age: Schema.Number, maxAge: Schema.Number })
])

export type SignatureErrorReason = typeof Reason.Type

/** A job or its record was not written by somebody with our keys, or too long ago. */
export class SignatureError extends Schema.TaggedError<SignatureError>()("SignatureError", {
  part: Schema.Literals(["envelope", "record"]),
  id: Schema.String,
  queue: Schema.String,
  reason: Reason
}) {
  override get message() {
    return `The ${this.part} of job "${this.id}" of queue "${this.queue}" ${describe(this.reason)}.`
  }
}

const describe = (reason: SignatureErrorReason): string => {
  switch (reason._tag) {
    case "Missing":
      return "has no signature: its writer has no Signing layer"
    case "UnknownKey":
      return `is signed with key "${reason.keyId}", which is unknown here: add it to the keys of this process`
    case "Wrong":
      return "does not match its signature: it was altered, or the secrets differ"
    case "TooOld":
      return `was signed ${reason.age} ms ago, more than the ${reason.maxAge} ms of maxAge: enqueue it again`
  }
}

/** A signature: `1.keyId.code`. Of a record whose value may be dropped before it: `1.keyId.code.valueCode`. */
const format = "1"
const isKeyId = /^[A-Za-z0-9_-]{1,64}$/

const fromKeys = (signingId: string, keys: ReadonlyMap<string, Hmac.Key>, maxAge: number): Signing => {
  const signingKey = keys.get(signingId)!
  const start = `${format}.${signingId}.`

  // what the signature claims, and the key to check it with
  const open = (signature: string | undefined): Opened | SignatureErrorReason => {
    if (signature === undefined) return { _tag: "Missing" }
    // by our own first key, as a rule
    if (signature.length === start.length + Hmac.codeLength && signature.startsWith(start)) {
      return { _tag: "Opened", key: signingKey, code: signature.slice(start.length), valueCode: undefined }
    }
    // one part more than allowed is enough to refuse
    const [version, keyId, code, valueCode, rest] = signature.split(".", 5)
    if (version !== format || keyId === undefined || code === undefined || rest !== undefined) return { _tag: "Wrong" }
    const key = keys.get(keyId)
    if (key === undefined) return { _tag: "UnknownKey", keyId: keyId.slice(0, 64) }
    return { _tag: "Opened", key, code, valueCode }
  }

  const checkEnvelope = (envelope: Envelope, now: number): SignatureErrorReason | undefined => {
    const opened = open(envelope.signature)
    if (opened._tag !== "Opened") return opened
    if (
      opened.valueCode !== undefined || !Hmac.equal(opened.code, Hmac.compute(opened.key, Canonical.envelope(envelope)))
    ) {
      return { _tag: "Wrong" }
    }
    // only now its times can be believed
    const age = now - freshAt(envelope)
    return age > maxAge ? { _tag: "TooOld", age, maxAge } : undefined
  }

  const checkRecord = (record: JobRecord): SignatureErrorReason | undefined => {
    const opened = open(record.signature)
    if (opened._tag !== "Opened") return opened
    const { key, valueCode } = opened
    if (!Hmac.equal(opened.code, Hmac.compute(key, Canonical.record(record, valueCode)))) return { _tag: "Wrong" }
    if (!Canonical.isApart(record)) return valueCode === undefined ? undefined : { _tag: "Wrong" }
    if (record.value.length === 0) return undefined
    const same = valueCode !== undefined && Hmac.equal(valueCode, Hmac.compute(key, Canonical.value(record.value)))
    return same ? undefined : { _tag: "Wrong" }
  }

  // a push is verified when it comes and when its waiter reads it: records do not change
  const verified = new WeakSet<JobRecord>()

  return {
    signEnvelope: (envelope) => ({
      ...envelope,
      signature: start + Hmac.compute(signingKey, Canonical.envelope(envelope))
    }),
    verifyEnvelope: (envelope, now) => {
      const reason = checkEnvelope(envelope, now)
      return reason && new SignatureError({ part: "envelope", id: envelope.id, queue: envelope.queue, reason })
    },
    signRecord: (record) => {
      const valueCode = Canonical.isApart(record) && record.value.length > 0
        ? Hmac.compute(signingKey, Canonical.value(record.value))
        : undefined
      const signature = start + Hmac.compute(signingKey, Canonical.record(record, valueCode))
      return { ...record, signature: valueCode === undefined ? signature : `${signature}.${valueCode}` }
    },
    verifyRecord: (record) => {
      if (verified.has(record)) return undefined
      const reason = checkRecord(record)
      if (reason === undefined) verified.add(record)
      return reason && new SignatureError({ part: "record", id: record.id, queue: record.queue, reason })
    }
  }
}

interface Opened {
  readonly _tag: "Opened"
  readonly key: Hmac.Key
  readonly code: string
  readonly valueCode: string | undefined
}

const freshAt = ({ due, writtenAt }: Envelope): number =>
  due === undefined ? writtenAt : Math.max(writtenAt, due._tag === "At" ? due.at : writtenAt + due.after)

const parseKey = (item: string): Key => {
  const colon = item.indexOf(":")
  return { id: item.slice(0, Math.max(colon, 0)).trim(), secret: Redacted.make(item.slice(colon + 1).trim()) }
}

const secretBytes = (secret: string | Uint8Array): Uint8Array | InvalidKey["reason"] => {
  if (typeof secret !== "string") return weakness(secret) ?? secret
  if (!secret.startsWith(keyPrefix)) return "WrongText"
  const bytes = Base64Url.decode(secret.slice(keyPrefix.length))
  return Result.isFailure(bytes) ? "WrongText" : weakness(bytes.success) ?? bytes.success
}

const weakness = (secret: Uint8Array): InvalidKey["reason"] | undefined => {
  if (secret.length < minimumBytes) return "TooShort"
  // 32 random bytes have 30 different values, and never fewer than 20
  if (new Set(secret).size < 10) return "Guessable"
  // 43 characters hold 32 random bytes in base64; shorter texts are passwords
  return secret.length < 43 && secret.every((byte) => byte >= 0x20 && byte < 0x7f) ? "Guessable" : undefined
}
