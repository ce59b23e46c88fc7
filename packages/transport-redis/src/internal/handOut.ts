/**
 * One hand-out of a job: its stream entry is its identity. Whoever gets the
 * job again gets another entry.
 */
import type * as Envelope from "@troupe/core/Envelope"
import type { Delivery, Settled, Settlement } from "@troupe/core/JobLog"

export class HandOut implements Delivery {
  readonly envelope: Envelope.Envelope
  readonly deliveries: number
  readonly suspectRecord = false
  readonly stream: string
  readonly entry: string
  readonly follows: string | undefined
  /** When the lease was last known to be ours, ms by the local clock. */
  renewedAt: number
  /** The batch of settlements that it last travelled with. */
  batch: object | undefined = undefined
  private settlement: Settlement["_tag"] | undefined = undefined
  private answer: Settled | undefined = undefined

  constructor(
    envelope: Envelope.Envelope,
    handOutsBefore: number,
    stream: string,
    entry: string,
    now: number,
    follows?: string
  ) {
    this.envelope = envelope
    this.deliveries = envelope.deliveries + handOutsBefore + 1
    this.stream = stream
    this.entry = entry
    this.follows = follows
    this.renewedAt = now
  }

  /** No other hand-out of the queue has this one's entry. */
  get turnId(): string {
    return this.stream + this.entry
  }

  /** The answer to a settlement of what is settled already: the first answer for a repeat, else `superseded`. */
  repeated(tag: Settlement["_tag"]): Settled | undefined {
    if (this.answer === undefined) return undefined
    return this.settlement === tag ? this.answer : "superseded"
  }

  settled(tag: Settlement["_tag"], answer: Settled): void {
    this.settlement = tag
    this.answer = answer
  }
}

/** The head in the name of an entry's field, see `lua.ts`; `undefined` if no release wrote it. */
export const headOf = (name: Buffer): string | undefined => {
  if (name[0] === 0x3a) return ""
  const length = /^([0-9]{1,5})h/.exec(name.toString("latin1", 0, 6))
  if (length === null) return undefined
  const start = length[0].length
  return name.toString("utf8", start, start + Number(length[1]))
}

/** The count in the head of an entry. */
export const handOutsBefore = (head: string): number => {
  if (head === "") return 0
  const count = Number.parseInt(head, 10)
  // no release wrote anything else
  return count >= 0 ? count : 0
}

/** The due time in the head of an entry, or else the time of its id. */
export const dueOf = (head: string, entry: string): number => {
  const due = head === "" ? "" : head.split(" ", 2)[1]
  return due === undefined || !/^[0-9]+$/.test(due) ? Number(entry.slice(0, entry.indexOf("-"))) : Number(due)
}
