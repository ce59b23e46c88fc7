/**
 * How a record lies in bytes: a format byte, the length of a JSON header (u32,
 * big-endian), the header in UTF-8, then the body as it is.
 *
 * Every failure to read is an `Error` that says what is wrong with the bytes.
 */
import * as Bytes from "./bytes.ts"

const prefix = 5
const blank = " ".repeat(prefix)

const writeUint32 = (bytes: Uint8Array, offset: number, value: number): void => {
  bytes[offset] = value >>> 24
  bytes[offset + 1] = value >>> 16
  bytes[offset + 2] = value >>> 8
  bytes[offset + 3] = value
}

const readUint32 = (bytes: Uint8Array, offset: number): number =>
  ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0

// unlike `subarray`, a plain Uint8Array also of a Buffer
const view = (bytes: Uint8Array, start: number, end: number): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start)

export type Header = Readonly<Record<string, unknown>>

export interface Frame {
  /** The header as JSON. */
  readonly text: string
  /** A view of the input. */
  readonly body: Uint8Array
}

/** The answer may be a view of a shared buffer: never transfer that buffer. Lone surrogates survive, escaped by JSON. */
export const toBytes = (format: number, header: Header, body: Uint8Array): Uint8Array =>
  write(format, JSON.stringify(header), body)

/** The same with a header that is JSON already. `rest` is the end of the body. */
export const write = (format: number, header: string, body: Uint8Array, rest?: Uint8Array): Uint8Array => {
  const room = body.length + (rest?.length ?? 0)
  // the text begins with room for the prefix: one write instead of two
  const bytes = Bytes.encode(blank + header, room)
  const end = bytes.length - room
  bytes[0] = format
  writeUint32(bytes, 1, end - prefix)
  bytes.set(body, end)
  if (rest !== undefined) bytes.set(rest, end + body.length)
  return bytes
}

/**
 * The bytes of a frame in two parts, for who puts them into a larger message: nothing is copied twice.
 *
 * A class: V8 makes literals of one place old at once when many of them survive.
 */
export class Parts {
  /** What precedes the body, one UTF-16 unit per byte: "latin1". */
  readonly head: string
  readonly body: Uint8Array

  constructor(head: string, body: Uint8Array) {
    this.head = head
    this.body = body
  }
}

/** For a header in ASCII. */
export const parts = (format: number, header: string, body: Uint8Array): Parts => {
  const { length } = header
  const prefix = String.fromCharCode(format, length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255)
  return new Parts(prefix + header, body)
}

/** Where an item of a list stands in the bytes of all. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** `what` names the record in errors: "an envelope". */
export const fromBytes = (format: number, what: string, bytes: Uint8Array, range?: Range): Frame => {
  const start = range === undefined ? 0 : range.start
  const end = range === undefined ? bytes.length : range.end
  const length = end - start
  if (length < prefix) throw new Error(`Not ${what}: ${length} bytes are too few`)
  if (bytes[start] !== format) throw new Error(`Not ${what}: the first byte is ${bytes[start]}, not ${format}`)
  const headerStart = start + prefix
  const headerEnd = headerStart + readUint32(bytes, start + 1)
  if (headerEnd > end) throw new Error(`Not ${what}: cut off in the header, after ${length} bytes`)
  return { text: decode(what, bytes, headerStart, headerEnd), body: view(bytes, headerEnd, end) }
}

const decode = (what: string, bytes: Uint8Array, start: number, end: number): string => {
  try {
    return Bytes.decode(bytes, start, end)
  } catch (cause) {
    throw new Error(`Not ${what}: the header is not JSON`, { cause })
  }
}

export const parse = (what: string, text: string): Header => {
  let header: unknown
  try {
    header = JSON.parse(text)
  } catch (cause) {
    throw new Error(`Not ${what}: the header is not JSON`, { cause })
  }
  if (!isObject(header)) throw new Error(`Not ${what}: the header is not an object`)
  return header
}

const isObject = (input: unknown): input is Header =>
  typeof input === "object" && input !== null && !Array.isArray(input)

/** Concatenates items, each behind its length (u32, big-endian). */
export const join = (items: ReadonlyArray<Uint8Array>): Uint8Array => {
  let size = 0
  for (const item of items) size += 4 + item.length
  const bytes = Bytes.allocate(size)
  let offset = 0
  for (const item of items) {
    writeUint32(bytes, offset, item.length)
    bytes.set(item, offset + 4)
    offset += 4 + item.length
  }
  return bytes
}

/** The items of `join`. */
export const split = (what: string, bytes: Uint8Array): ReadonlyArray<Range> => {
  const items: Array<Range> = []
  let offset = 0
  while (offset < bytes.length) {
    const start = offset + 4
    const end = start > bytes.length ? start : start + readUint32(bytes, offset)
    if (end > bytes.length) throw new Error(`Not ${what}: cut off after ${bytes.length} bytes`)
    items.push({ start, end })
    offset = end
  }
  return items
}

// JSON writes what is not finite as null: refused here, where somebody can still act on it
export const checkFinite = (what: string, fields: Readonly<Record<string, number | undefined>>): void => {
  for (const name of Object.keys(fields)) {
    const value = fields[name]
    if (value !== undefined && !Number.isFinite(value)) throw new Error(`Cannot write ${what}: ${name} is ${value}`)
  }
}

/** A header to read fields from, and what to call it in errors. */
export interface Source {
  readonly what: string
  readonly header: Header
}

const wrong = (source: Source, name: string, expected: string): Error =>
  new Error(`Not ${source.what}: ${name} is not ${expected}`)

export const getVersion = (source: Source): number => {
  const value = source.header.v
  if (typeof value === "number" && Number.isSafeInteger(value) && value > 0) return value
  throw wrong(source, "version", "a positive integer")
}

export const getString = (source: Source, key: string, name: string): string => {
  const value = source.header[key]
  if (typeof value === "string") return value
  throw wrong(source, name, "a string")
}

export const getNumber = (source: Source, key: string, name: string, otherwise?: number): number => {
  const value = source.header[key]
  if (typeof value === "number") return value
  if (value === undefined && otherwise !== undefined) return otherwise
  throw wrong(source, name, "a number")
}

export const getOptionalString = (source: Source, key: string, name: string): string | undefined =>
  source.header[key] === undefined ? undefined : getString(source, key, name)

export const getOptionalNumber = (source: Source, key: string, name: string): number | undefined =>
  source.header[key] === undefined ? undefined : getNumber(source, key, name)

export const getStrings = (source: Source, key: string, name: string): Readonly<Record<string, string>> => {
  const value = source.header[key]
  if (value === undefined) return {}
  if (isObject(value) && areStrings(value)) return value
  throw wrong(source, name, "an object of strings")
}

const areStrings = (input: Header): input is Readonly<Record<string, string>> => {
  for (const key of Object.keys(input)) {
    if (typeof input[key] !== "string") return false
  }
  return true
}
