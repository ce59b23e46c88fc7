/**
 * The bytes that a signature covers: every field at a known place or behind its
 * length, so that no two records share them.
 *
 * kind (1 byte) · form of the text (1) · numbers (presence and float64, 9 each)
 * · length of the text in bytes (4) · text · body. The text holds the strings,
 * `length:string` in UTF-16 units, or `-` without one.
 *
 * The answers are valid until the next one is asked for. Their first `blockSize`
 * bytes are room for the key.
 */
import type { Envelope } from "../Envelope.ts"
import type { JobRecord } from "../JobRecord.ts"
import { Page } from "./page.ts"

const string = (value: string | undefined): string => value === undefined ? "-" : `${value.length}:${value}`

const envelopes = new Page()

/** Most envelopes differ from the last one in nothing else. */
type Common = Omit<Envelope, "id" | "enqueuedAt" | "writtenAt" | "body" | "signature" | "due" | "headers">

/** Of the envelope on the page; `undefined` if it has a due time or headers. */
let common: Common | undefined

const isCommon = (a: Common, b: Envelope): boolean =>
  a.task === b.task && a.queue === b.queue && a.priority === b.priority && a.replyTo === b.replyTo &&
  a.contentType === b.contentType && a.key === b.key && a.lastError === b.lastError &&
  a.prevTraceparent === b.prevTraceparent && a.version === b.version && a.expiresAt === b.expiresAt &&
  a.maxAttempts === b.maxAttempts && a.revision === b.revision && a.attempt === b.attempt &&
  a.deliveries === b.deliveries && a.unknownSince === b.unknownSince && isBare(b)

const isBare = ({ due, headers }: Envelope): boolean => {
  for (const _ in headers) return false
  return due === undefined
}

/** Without what the object keeps alive. */
const commonOf = (self: Envelope): Common => ({
  version: self.version,
  queue: self.queue,
  task: self.task,
  key: self.key,
  contentType: self.contentType,
  expiresAt: self.expiresAt,
  maxAttempts: self.maxAttempts,
  replyTo: self.replyTo,
  revision: self.revision,
  priority: self.priority,
  attempt: self.attempt,
  deliveries: self.deliveries,
  unknownSince: self.unknownSince,
  lastError: self.lastError,
  prevTraceparent: self.prevTraceparent
})

const entries = (headers: Readonly<Record<string, string>>): string => {
  const names = Object.keys(headers)
  if (names.length > 1) names.sort()
  let text = `${names.length};`
  for (const name of names) text += string(name) + string(headers[name])
  return text
}

/** All of an envelope but its signature. What the broker counts is not part of it. */
export const envelope = (self: Envelope): Uint8Array => {
  if (common !== undefined && isCommon(common, self) && envelopes.replace(self.id)) {
    envelopes.number(1, self.enqueuedAt)
    envelopes.number(9, self.writtenAt)
  } else writeEnvelope(self)
  return envelopes.finish(self.body)
}

const writeEnvelope = (self: Envelope): void => {
  const numbers = [
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
  ]
  const text = string(self.id) + string(self.queue) + string(self.task) + string(self.key) +
    string(self.contentType) + string(self.replyTo) + string(self.priority) + string(self.lastError) +
    string(self.prevTraceparent) + entries(self.headers)
  envelopes.write(1, numbers, self.id, text)
  common = isBare(self) ? commonOf(self) : undefined
}

const records = new Page()

type CommonRecord = Omit<JobRecord, "id" | "finishedAt" | "value" | "signature">

let commonRecord: CommonRecord | undefined

const isCommonRecord = (a: CommonRecord, b: JobRecord): boolean =>
  a.task === b.task && a.queue === b.queue && a.state === b.state && a.attempts === b.attempts &&
  a.contentType === b.contentType && a.replyTo === b.replyTo && a.timeToLive === b.timeToLive &&
  a.valueTimeToLive === b.valueTimeToLive && a.reason === b.reason && a.message === b.message &&
  a.version === b.version

const commonOfRecord = (self: JobRecord): CommonRecord => ({
  version: self.version,
  queue: self.queue,
  task: self.task,
  state: self.state,
  attempts: self.attempts,
  reason: self.reason,
  message: self.message,
  contentType: self.contentType,
  timeToLive: self.timeToLive,
  valueTimeToLive: self.valueTimeToLive,
  replyTo: self.replyTo
})

/** All of a record but its signature. `valueCode` stands for a value that may be dropped before the rest. */
export const record = (self: JobRecord, valueCode: string | undefined): Uint8Array => {
  if (
    valueCode === undefined && commonRecord !== undefined && isCommonRecord(commonRecord, self) &&
    records.replace(self.id)
  ) records.number(2, self.finishedAt)
  else writeRecord(self, valueCode)
  return records.finish(isApart(self) ? empty : self.value)
}

const writeRecord = (self: JobRecord, valueCode: string | undefined): void => {
  const numbers = [self.version, self.attempts, self.finishedAt, self.timeToLive, self.valueTimeToLive]
  const text = string(self.id) + string(self.queue) + string(self.task) + string(self.state) + string(self.reason) +
    string(self.message) + string(self.contentType) + string(self.replyTo) + string(valueCode)
  records.write(2, numbers, self.id, text)
  commonRecord = valueCode === undefined ? commonOfRecord(self) : undefined
}

/** The value may be dropped before the record: it needs a code of its own. Both times are signed. */
export const isApart = (self: JobRecord): boolean => self.valueTimeToLive < self.timeToLive

const values = new Page()

export const value = (bytes: Uint8Array): Uint8Array => {
  values.write(3, [], "", "")
  return values.finish(bytes)
}

const empty = new Uint8Array(0)
