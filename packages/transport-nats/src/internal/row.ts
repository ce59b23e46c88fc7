/**
 * The row of an id: what the job is now, whoever asks and whatever else is on
 * its way. A live row holds the envelope of the last revision, an ended one the
 * record that stands.
 *
 * Wire format: the length of a JSON header (u32, big-endian), the header in
 * UTF-8, then the bytes of envelope or record.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Stored } from "./streams.ts"

export interface Live {
  readonly _tag: "Live"
  readonly sequence: number
  /** Which hand-out the row lets happen: the sequence of its first writing. */
  readonly auth: number
  /** Who wrote it. */
  readonly nonce: string
  /** ms since the epoch by the broker's clock. */
  readonly dueAt: number
  /** ms since the epoch by the broker's clock: its first writing. */
  readonly writtenAt: number
  /** Sequence of its due time; 0: it has none. */
  readonly entry: number
  /** It waits for its time, and may be rescheduled. Whoever lets it go on writes the row anew before. */
  readonly waits: boolean
  /** For a keyed job: `auth` of the message in the mailbox. Of the first revision it is the row's own. */
  readonly place: number
  readonly isFirst: boolean
  readonly bytes: Uint8Array
  readonly envelope: Envelope.Envelope
}

export interface Ended {
  readonly _tag: "Ended"
  readonly sequence: number
  readonly nonce: string
  /** ms since the epoch by the broker's clock. */
  readonly expiresAt: number
  readonly valueExpiresAt: number
  readonly record: Uint8Array
  /** `auth` of the job that it was taken from before it ended, 0 if that had no row; `undefined`: it ended by itself. */
  readonly withdrew: number | undefined
  /** A buried job: its letter is written after the row. */
  readonly letter: Uint8Array | undefined
}

/** `sequence`: what the next write has to expect. An expired row is none, and so is one that was given up. */
export interface Found {
  readonly sequence: number
  readonly row: Live | Ended | undefined
}

interface Header {
  /** l: live, e: ended, g: given up. */
  readonly k: "l" | "e" | "g"
  readonly n: string
  readonly d?: number
  /** waits. */
  readonly w?: 1
  /** Sequence of the due time. */
  readonly q?: number
  /** auth and writtenAt, if the row was copied. */
  readonly o?: number
  readonly f?: number
  /** place, after the first revision. */
  readonly m?: number
  /** ms to live, of the state and of the value. */
  readonly t?: number
  readonly y?: number
  /** Length of the letter behind the record. */
  readonly l?: number
  /** withdrew. */
  readonly x?: number
}

export const pack = (header: unknown, ...parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const text = JSON.stringify(header)
  let size = 4 + Buffer.byteLength(text)
  for (const part of parts) size += part.length
  // pooled: one allocation for many
  const bytes = Buffer.allocUnsafe(size)
  let at = 4 + bytes.write(text, 4)
  bytes.writeUInt32BE(at - 4)
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}

/** Throws on what is no packet. */
export const unpack = (bytes: Uint8Array): { readonly header: unknown; readonly body: Uint8Array } => {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = 4 + view.readUInt32BE(0)
  return { header: JSON.parse(view.toString("utf8", 4, end)), body: view.subarray(end) }
}

export const live = (options: {
  readonly nonce: string
  readonly dueAt: number
  readonly envelope: Uint8Array
  readonly waits: boolean
  /** Of the due time. */
  readonly entry?: number | undefined
  readonly place?: number | undefined
}): Uint8Array => {
  const { dueAt, entry, envelope, nonce, place, waits } = options
  const header: Undefinable = { k: "l", n: nonce, d: dueAt, w: waits ? 1 : undefined, q: entry, m: place }
  return pack(header, envelope)
}

type Undefinable = { readonly [Key in keyof Header]: Header[Key] | undefined }

export const ended = (options: {
  readonly nonce: string
  readonly timeToLive: number
  readonly valueTimeToLive: number
  readonly record: Uint8Array
  readonly letter?: Uint8Array | undefined
  readonly withdrew?: number | undefined
}): Uint8Array => {
  const { letter, nonce, record, timeToLive, valueTimeToLive, withdrew } = options
  const header: Undefinable = { k: "e", n: nonce, t: timeToLive, y: valueTimeToLive, l: letter?.length, x: withdrew }
  return letter === undefined ? pack(header, record) : pack(header, record, letter)
}

/**
 * What precedes the record in a row that says nothing else, one UTF-16 unit for each byte: whoever sends the row need not
 * put it together before.
 */
export const beforeRecord = (nonce: string, timeToLive: number, valueTimeToLive: number): string => {
  // as JSON would have it: nothing in a nonce is escaped
  const text = `{"k":"e","n":"${nonce}","t":${timeToLive},"y":${valueTimeToLive}}`
  return `\0\0\0${String.fromCharCode(text.length)}${text}`
}

/** There is no row any more. Not a removal: a request that comes late and expects none must not find its way. */
export const gone: Uint8Array = pack({ k: "g", n: "" } satisfies Header)

/** The letter in a row that `ended` packed. */
export const letterOf = (bytes: Uint8Array): Uint8Array | undefined => {
  const { body, header } = unpack(bytes)
  const { l } = header as Header
  return l === undefined ? undefined : body.subarray(body.length - l)
}

/** The same row, written anew at another time. */
export const copied = (row: Live | Ended, now: number): Uint8Array => {
  if (row._tag === "Live") return copiedLive(row)
  const { expiresAt, nonce, record, valueExpiresAt } = row
  return ended({ nonce, timeToLive: expiresAt - now, valueTimeToLive: Math.max(0, valueExpiresAt - now), record })
}

const copiedLive = (row: Live): Uint8Array =>
  pack(
    {
      k: "l",
      n: row.nonce,
      d: row.dueAt,
      w: row.waits ? 1 : undefined,
      q: row.entry === 0 ? undefined : row.entry,
      o: row.auth,
      f: row.writtenAt,
      m: row.isFirst ? undefined : row.place
    } satisfies Undefinable,
    row.bytes
  )

/** The row of a job whose time has come. `place`: it has one in a mailbox. */
export const due = ({ bytes, dueAt, nonce }: Live, place: number | undefined): Uint8Array =>
  live({ nonce, dueAt, envelope: bytes, waits: false, place })

const decode = ({ bytes, sequence, timestamp }: Stored): Live | Ended | undefined => {
  const { body, header } = unpack(bytes)
  // as `live`, `ended`, `gone` or `copied` wrote it
  const { d, f, k, l, m, n, o, q = 0, t = 0, w, x, y = 0 } = header as Header
  if (k === "g") return undefined
  if (k === "l") {
    const auth = o ?? sequence
    const place = m ?? auth
    let envelope: Envelope.Envelope | undefined
    return {
      _tag: "Live",
      sequence,
      auth,
      nonce: n,
      dueAt: d ?? timestamp,
      writtenAt: f ?? timestamp,
      entry: q,
      waits: w === 1,
      place,
      isFirst: m === undefined,
      bytes: body,
      // most readers only compare
      get envelope() {
        return envelope ??= Envelope.fromBytes(body)
      }
    }
  }
  const end = body.length - (l ?? 0)
  return {
    _tag: "Ended",
    sequence,
    nonce: n,
    expiresAt: timestamp + t,
    valueExpiresAt: timestamp + y,
    record: body.subarray(0, end),
    withdrew: x,
    letter: l === undefined ? undefined : body.subarray(end)
  }
}

/** `now`: ms since the epoch by the broker's clock. */
export const read = (stored: Stored | undefined, now: number): Found => {
  if (stored === undefined) return { sequence: 0, row: undefined }
  const row = decode(stored)
  return { sequence: stored.sequence, row: row?._tag === "Ended" && row.expiresAt <= now ? undefined : row }
}
