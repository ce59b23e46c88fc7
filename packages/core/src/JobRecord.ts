/**
 * The single terminal state of a job.
 *
 * A record is created if absent: success, failure, cancel and expiry race
 * there and exactly one wins, for ever.
 */
import type { Envelope } from "./Envelope.ts"
import { recordTimeToLive } from "./internal/cronHeader.ts"
import * as Frame from "./internal/frame.ts"
import { type Found, Templates } from "./internal/template.ts"

/** The record version that this release writes. */
export const version = 1

export type TerminalState = "succeeded" | "failed" | "cancelled" | "expired"

/**
 * Why a job failed. `Error` is a typed error of the task, held encoded in
 * `value`; every other reason is Troupe's own and explains itself in `message`.
 */
export type FailureReason =
  | "Error"
  | "Defect"
  | "TimedOut"
  | "Discarded"
  | "Exhausted"
  | "Poison"
  | "Undecodable"
  | "Unencodable"
  | "UnknownTask"
  | "UnknownVersion"
  | "Signature"

export interface JobRecord {
  readonly version: number
  readonly id: string
  readonly queue: string
  readonly task: string
  readonly state: TerminalState
  /** Attempts that counted. */
  readonly attempts: number
  /** ms since the epoch by the broker's clock. */
  readonly finishedAt: number
  /** Set if and only if the state is `failed`. */
  readonly reason: FailureReason | undefined
  readonly message: string | undefined
  readonly contentType: string
  /** The encoded success or typed error; empty otherwise. */
  readonly value: Uint8Array
  /** ms that the state is kept, at least. */
  readonly timeToLive: number
  /** ms that `value` is kept; not longer than `timeToLive`. */
  readonly valueTimeToLive: number
  /** The client to wake. */
  readonly replyTo: string | undefined
  readonly signature: string | undefined
}

const minute = 60_000

/**
 * How long a state is kept: max(`resultTimeToLive`, 1 min, 4 leases). A late
 * settlement of a stale worker must still find the record that stands.
 */
export const stateTimeToLive = (resultTimeToLive: number, lease: number): number =>
  Math.max(resultTimeToLive, minute, 4 * lease)

/** How long the record of a cancelled job is kept, ms: nobody who cancels knows the task's own time. */
const cancelledTimeToLive = 60 * minute

/** The record of a job that is cancelled before it ended, unsigned. */
export const cancelled = (envelope: Envelope, finishedAt: number): JobRecord => ({
  version,
  id: envelope.id,
  queue: envelope.queue,
  task: envelope.task,
  state: "cancelled",
  attempts: envelope.attempt - 1,
  finishedAt,
  reason: undefined,
  message: undefined,
  contentType: "",
  value: new Uint8Array(0),
  timeToLive: Math.max(cancelledTimeToLive, recordTimeToLive(envelope, finishedAt)),
  valueTimeToLive: 0,
  replyTo: envelope.replyTo,
  signature: undefined
})

const format = 0xe2
const what = "a job record"

/**
 * The wire format: byte 0xe2, then like an envelope's, with `value` as it is.
 * The answer may be a view of a shared buffer: copy it before you transfer or
 * write to it.
 *
 * Throws an `Error` if a number is not finite.
 */
export const toBytes = (self: JobRecord): Uint8Array => {
  checkNumbers(self)
  const { attempts, finishedAt, timeToLive, valueTimeToLive, version } = self
  if (isUsual(self)) {
    const header = usual.write(
      self,
      usualOf,
      self.id,
      finishedAt,
      undefined,
      undefined,
      self.replyTo,
      self.signature,
      false
    )
    if (header !== undefined) return Frame.write(format, header, self.value)
  }
  return Frame.toBytes(format, {
    v: version,
    i: self.id,
    q: self.queue,
    t: self.task,
    s: self.state,
    a: attempts,
    f: finishedAt,
    r: self.reason,
    m: self.message,
    c: self.contentType,
    l: timeToLive,
    y: valueTimeToLive === timeToLive ? undefined : valueTimeToLive,
    w: self.replyTo,
    g: self.signature
  }, self.value)
}

/** `toBytes` in two parts, for most successes; `undefined` for others. */
export const toParts = (self: JobRecord): Frame.Parts | undefined => {
  checkNumbers(self)
  if (!isUsual(self)) return undefined
  const header = usual.write(
    self,
    usualOf,
    self.id,
    self.finishedAt,
    undefined,
    undefined,
    self.replyTo,
    self.signature,
    true
  )
  return header === undefined ? undefined : Frame.parts(format, header, self.value)
}

const checkNumbers = (self: JobRecord): void => {
  const { attempts, finishedAt, timeToLive, valueTimeToLive, version } = self
  // one test for the usual case
  if (!Number.isFinite(version + attempts + finishedAt + timeToLive + valueTimeToLive)) {
    const numbers = { version, attempts, finishedAt, timeToLive, valueTimeToLive }
    Frame.checkFinite(`${what} of job "${self.id}"`, numbers)
  }
}

/**
 * Reads `toBytes`; `value` is a view of the input. Throws an `Error` that says
 * what is wrong with the bytes. A reason that only a newer release knows reads
 * as `Defect`; the message still explains it.
 */
export const fromBytes = (bytes: Uint8Array): JobRecord => read(bytes)

const read = (bytes: Uint8Array, range?: Frame.Range): JobRecord => {
  const { body, text } = Frame.fromBytes(format, what, bytes, range)
  const found = usual.read(text)
  if (found !== undefined) return ofUsual(found, body)
  const header = Frame.parse(what, text)
  const source: Frame.Source = { what, header }
  const version = Frame.getVersion(source)
  const timeToLive = Frame.getNumber(source, "l", "timeToLive")
  const self: JobRecord = {
    version,
    id: Frame.getString(source, "i", "id"),
    queue: Frame.getString(source, "q", "queue"),
    task: Frame.getString(source, "t", "task"),
    state: getState(source),
    attempts: Frame.getNumber(source, "a", "attempts"),
    finishedAt: Frame.getNumber(source, "f", "finishedAt"),
    reason: getReason(source, version),
    message: Frame.getOptionalString(source, "m", "message"),
    contentType: Frame.getString(source, "c", "contentType"),
    value: body,
    timeToLive,
    valueTimeToLive: Frame.getNumber(source, "y", "valueTimeToLive", timeToLive),
    replyTo: Frame.getOptionalString(source, "w", "replyTo"),
    signature: Frame.getOptionalString(source, "g", "signature")
  }
  if (isUsual(self)) usual.learn(text, usualOf(self))
  return self
}

/** What most successes of a task have in common. */
type Usual = Pick<JobRecord, "queue" | "task" | "attempts" | "contentType" | "timeToLive">

const usualOf = ({ attempts, contentType, queue, task, timeToLive }: Usual): Usual => ({
  queue,
  task,
  attempts,
  contentType,
  timeToLive
})

const usual = new Templates<Usual>(
  { start: "{\"v\":1,\"i\":\"", key: "", traceparent: ["", ""], replyTo: ",\"w\":\"", signature: ",\"g\":\"" },
  (a, b) =>
    a.task === b.task && a.queue === b.queue && a.attempts === b.attempts && a.contentType === b.contentType &&
    a.timeToLive === b.timeToLive,
  ({ attempts, contentType, queue, task, timeToLive }) => [
    `",${members({ q: queue, t: task, s: "succeeded", a: attempts })},"f":`,
    `,${members({ c: contentType, l: timeToLive })}`,
    ""
  ]
)

const members = (fields: Readonly<Record<string, string | number>>): string => JSON.stringify(fields).slice(1, -1)

/** A success whose value is kept as long as the state. */
const isUsual = (self: JobRecord): boolean =>
  self.state === "succeeded" && self.version === 1 && self.reason === undefined && self.message === undefined &&
  self.valueTimeToLive === self.timeToLive

const ofUsual = ({ fields, id, replyTo, signature, time }: Found<Usual>, value: Uint8Array): JobRecord => ({
  version: 1,
  id,
  queue: fields.queue,
  task: fields.task,
  state: "succeeded",
  attempts: fields.attempts,
  finishedAt: time,
  reason: undefined,
  message: undefined,
  contentType: fields.contentType,
  value,
  timeToLive: fields.timeToLive,
  valueTimeToLive: fields.timeToLive,
  replyTo,
  signature
})

/** Records one behind the other, each after its length (u32, big-endian). */
export const manyToBytes = (records: ReadonlyArray<JobRecord>): Uint8Array => join(records.map(toBytes))

/** `manyToBytes` of records that `toBytes` wrote already. */
export const join = (records: ReadonlyArray<Uint8Array>): Uint8Array => Frame.join(records)

/** Reads `manyToBytes`. Throws an `Error` if one of the records cannot be read. */
export const manyFromBytes = (bytes: Uint8Array): ReadonlyArray<JobRecord> =>
  Frame.split("a list of job records", bytes).map((range) => read(bytes, range))

const states: Readonly<Record<TerminalState, true>> = { succeeded: true, failed: true, cancelled: true, expired: true }

const isState = (input: string): input is TerminalState => Object.hasOwn(states, input)

const getState = (source: Frame.Source): TerminalState => {
  const state = Frame.getString(source, "s", "state")
  if (isState(state)) return state
  throw new Error(`Not ${what}: state "${state}" is unknown`)
}

const reasons: Readonly<Record<FailureReason, true>> = {
  Error: true,
  Defect: true,
  TimedOut: true,
  Discarded: true,
  Exhausted: true,
  Poison: true,
  Undecodable: true,
  Unencodable: true,
  UnknownTask: true,
  UnknownVersion: true,
  Signature: true
}

const isReason = (input: string): input is FailureReason => Object.hasOwn(reasons, input)

const getReason = (source: Frame.Source, written: number): FailureReason | undefined => {
  const reason = Frame.getOptionalString(source, "r", "reason")
  if (reason === undefined || isReason(reason)) return reason
  if (written > version) return "Defect"
  throw new Error(`Not ${what}: reason "${reason}" is unknown`)
}
