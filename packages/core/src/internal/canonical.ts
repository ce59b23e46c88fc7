/**
 * The bytes that a signature covers: every field at a known place or behind its
 * length, so that no two records share them.
 *
 * kind (1 byte) · form of the text (1) · numbers (presence and float64, 9 each)
 * · length of the text in bytes (4) · text · body. The text holds the strings,
 * `length:string` in UTF-16 units, or `-` without one.
 */
import type { Envelope } from "../Envelope.ts"
import type { JobRecord } from "../JobRecord.ts"
import { blockSize } from "./hmac.ts"

/** Valid until the next message is written. The first `blockSize` bytes are room for the key. */
export interface Message {
  readonly buffer: Uint8Array
  readonly end: number
}

const string = (value: string | undefined): string => value === undefined ? "-" : `${value.length}:${value}`

const entries = (headers: Readonly<Record<string, string>>): string => {
  const names = Object.keys(headers)
  if (names.length > 1) names.sort()
  let text = `${names.length};`
  for (const name of names) text += string(name) + string(headers[name])
  return text
}

/** All of an envelope but its signature. What the broker counts is not part of it. */
export const envelope = (self: Envelope): Message =>
  write(
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
    string(self.id) + string(self.queue) + string(self.task) + string(self.key) + string(self.contentType) +
      string(self.replyTo) + string(self.priority) + string(self.lastError) + string(self.prevTraceparent) +
      entries(self.headers),
    self.body
  )

/** All of a record but its signature. `valueCode` stands for a value that may be dropped before the rest. */
export const record = (self: JobRecord, valueCode: string | undefined): Message =>
  write(
    2,
    [self.version, self.attempts, self.finishedAt, self.timeToLive, self.valueTimeToLive],
    string(self.id) + string(self.queue) + string(self.task) + string(self.state) + string(self.reason) +
      string(self.message) + string(self.contentType) + string(self.replyTo) + string(valueCode),
    isApart(self) ? empty : self.value
  )

/** The value may be dropped before the record: it needs a code of its own. Both times are signed. */
export const isApart = (self: JobRecord): boolean => self.valueTimeToLive < self.timeToLive

export const value = (bytes: Uint8Array): Message => write(3, [], "", bytes)

const empty = new Uint8Array(0)

const encoder = new TextEncoder()

// a large message gets its own memory: what is kept is kept for ever
const maxKept = 1024 * 1024
let kept = new Uint8Array(4096)
let keptView = new DataView(kept.buffer)

const reserve = (size: number): void => {
  kept = new Uint8Array(size)
  keptView = new DataView(kept.buffer)
}

const write = (
  kind: number,
  numbers: ReadonlyArray<number | undefined>,
  text: string,
  body: Uint8Array
): Message => {
  const textStart = blockSize + 2 + 9 * numbers.length + 4
  // a UTF-16 unit takes three bytes at most
  const size = textStart + 3 * text.length + body.length
  if (size > kept.length && size <= maxKept) reserve(Math.min(2 * size, maxKept))
  const buffer = size > maxKept ? new Uint8Array(size) : kept
  const view = size > maxKept ? new DataView(buffer.buffer) : keptView
  // two texts with lone surrogates could share their UTF-8
  const wellFormed = text.isWellFormed()
  buffer[blockSize] = kind
  buffer[blockSize + 1] = wellFormed ? 8 : 16
  let offset = blockSize + 2
  for (const number of numbers) {
    buffer[offset] = number === undefined ? 0 : 1
    // adding zero makes -0 positive, as a trip through JSON does
    view.setFloat64(offset + 1, number === undefined ? 0 : number + 0)
    offset += 9
  }
  const written = wellFormed
    ? encoder.encodeInto(text, buffer.subarray(textStart)).written
    : writeUnits(text, view, textStart)
  view.setUint32(offset, written)
  buffer.set(body, textStart + written)
  return { buffer, end: textStart + written + body.length }
}

const writeUnits = (text: string, view: DataView, start: number): number => {
  for (let i = 0; i < text.length; i++) view.setUint16(start + 2 * i, text.charCodeAt(i))
  return 2 * text.length
}
