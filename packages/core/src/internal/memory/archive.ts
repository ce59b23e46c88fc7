/**
 * What a queue keeps of jobs that are over: the records and the dead letters.
 */
import type { Envelope } from "../../Envelope.ts"
import type { LocatedJob } from "../../JobLog.ts"
import type { JobRecord } from "../../JobRecord.ts"
import type { Expiring, Expiry } from "./expiry.ts"

const nothing = new Uint8Array(0)

export class RecordRow implements Expiring {
  record: JobRecord
  /** The archive does not know it any more; only its bucket does. */
  isForgotten = false
  readonly revision: number
  readonly createdAt: number
  bucket = Infinity
  private readonly archive: Archive

  constructor(archive: Archive, record: JobRecord, revision: number, createdAt: number) {
    this.archive = archive
    this.record = record
    this.revision = revision
    this.createdAt = createdAt
  }

  get expiresAt(): number {
    return this.createdAt + this.record.timeToLive
  }

  get valueExpiresAt(): number {
    return this.createdAt + this.record.valueTimeToLive
  }

  /** When the next part of it runs out. */
  get nextExpiry(): number {
    return this.record.value.length === 0 ? this.expiresAt : Math.min(this.expiresAt, this.valueExpiresAt)
  }

  dropValue(now: number): void {
    if (now >= this.valueExpiresAt && this.record.value.length > 0) this.record = { ...this.record, value: nothing }
  }

  expire(now: number): number {
    if (this.isForgotten) return Infinity
    if (now >= this.expiresAt) {
      this.archive.expired(this)
      return Infinity
    }
    this.dropValue(now)
    return this.nextExpiry
  }
}

export class Letter implements Expiring {
  readonly envelope: Envelope
  readonly dueAt: number
  readonly record: JobRecord
  readonly sequence: number
  readonly expiresAt: number
  bucket = Infinity
  private readonly archive: Archive

  constructor(
    archive: Archive,
    envelope: Envelope,
    dueAt: number,
    record: JobRecord,
    sequence: number,
    expiresAt: number
  ) {
    this.archive = archive
    this.envelope = envelope
    this.dueAt = dueAt
    this.record = record
    this.sequence = sequence
    this.expiresAt = expiresAt
  }

  get located(): LocatedJob {
    return { place: "dead", envelope: this.envelope, dueAt: this.dueAt, record: this.record }
  }

  expire(now: number): number {
    if (now < this.expiresAt) return this.expiresAt
    this.archive.dropLetter(this)
    this.archive.onExpired()
    return Infinity
  }
}

export class Archive {
  private readonly records = new Map<string, RecordRow>()
  /** In the order of their sequence. */
  private readonly letterById = new Map<string, Letter>()
  private readonly expiry: Expiry
  private readonly nextSequence: () => number
  readonly onExpired: () => void

  constructor(expiry: Expiry, nextSequence: () => number, onExpired: () => void) {
    this.expiry = expiry
    this.nextSequence = nextSequence
    this.onExpired = onExpired
  }

  get isEmpty(): boolean {
    return this.records.size === 0 && this.letterById.size === 0
  }

  /** The record that stands, without its value once that ran out. */
  row(id: string, now: number): RecordRow | undefined {
    const row = this.records.get(id)
    if (row === undefined) return undefined
    if (now >= row.expiresAt) {
      // not left to the sweep, which would take the next record of the id for it
      this.forgetRecord(id)
      return undefined
    }
    row.dropValue(now)
    return row
  }

  /** The caller has asked for the `row` of the id, now or when the job came: there is none. */
  create(record: JobRecord, now: number): void {
    const row = new RecordRow(this, record, this.nextSequence(), now)
    this.records.set(record.id, row)
    this.expiry.add(row, row.nextExpiry)
  }

  forgetRecord(id: string): void {
    const row = this.records.get(id)
    if (row === undefined) return
    row.isForgotten = true
    this.records.delete(id)
  }

  /** Called by the row itself. */
  expired(row: RecordRow): void {
    this.records.delete(row.record.id)
    this.onExpired()
  }

  bury(envelope: Envelope, dueAt: number, record: JobRecord, expiresAt: number): void {
    const letter = new Letter(this, envelope, dueAt, record, this.nextSequence(), expiresAt)
    // removed first: a map keeps the place of a key that it knows
    this.letterById.delete(envelope.id)
    this.letterById.set(envelope.id, letter)
    this.expiry.add(letter, expiresAt)
  }

  letter(id: string, now: number): Letter | undefined {
    const letter = this.letterById.get(id)
    return letter === undefined || now >= letter.expiresAt ? undefined : letter
  }

  *letters(now: number): Generator<Letter> {
    for (const letter of this.letterById.values()) if (now < letter.expiresAt) yield letter
  }

  dropLetter(letter: Letter): void {
    if (this.letterById.get(letter.envelope.id) === letter) this.letterById.delete(letter.envelope.id)
  }
}
