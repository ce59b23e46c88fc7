/**
 * One hand-out of a job: a delivery of the server, with what has to be known to
 * settle it. Whoever gets the job again gets another one.
 */
import * as Envelope from "@troupe/core/Envelope"
import type { Delivery, Settled, Settlement } from "@troupe/core/JobLog"
import * as Names from "./names.ts"
import * as Publications from "./publications.ts"
import type * as Row from "./row.ts"
import type { Delivered, Publish, Stored } from "./streams.ts"
import * as Token from "./token.ts"

/** The turn of a key: what is handed out while the token stands. */
export interface Turn {
  /** Of the head in the mailbox. */
  readonly sequence: number
  readonly token: Token.Token
}

export class HandOut implements Delivery {
  readonly envelope: Envelope.Envelope
  readonly deliveries: number
  readonly suspectRecord = false
  /** Of the job, or of the token of its key. */
  readonly message: Delivered
  /** The job's id, encoded. */
  readonly id: string
  /** What the row must have let happen; see `standing`. */
  readonly auth: number
  /** For a keyed job, what its successors keep in their rows. */
  readonly place: number | undefined
  readonly turn: Turn | undefined
  /** In what it writes to the row. */
  readonly nonce: string
  /** The subscription that handed it out. */
  owner: unknown = undefined
  /** Sequence of the row as far as we know: what the next write expects. */
  rowSequence: number
  private settlement: Settlement["_tag"] | undefined = undefined
  private answer: Settled | undefined = undefined

  constructor(options: {
    readonly envelope: Envelope.Envelope
    readonly message: Delivered
    readonly nonce: string
    readonly id: string
    readonly auth: number
    readonly place?: number | undefined
    readonly turn?: Turn | undefined
    readonly rowSequence: number
  }) {
    this.envelope = options.envelope
    this.message = options.message
    this.nonce = options.nonce
    this.id = options.id
    this.auth = options.auth
    this.place = options.place
    this.turn = options.turn
    this.rowSequence = options.rowSequence
    this.deliveries = options.envelope.deliveries + base(options.message) + options.message.deliveries
  }

  get isSettled(): boolean {
    return this.answer !== undefined
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

/** What was counted before a hand-back. */
const base = (message: Delivered): number => {
  // parsing headers costs as much as the rest: only what is not new has this one
  const count = message.headers.get(Publications.deliveriesHeader)
  return count === undefined ? 0 : Number(count)
}

/** Replaces a message that nobody here wants by a new one: this hand-out does not count. */
export const handBack = ({ message }: HandOut): Publish => {
  const headers: Record<string, string> = {
    [Publications.checkHeader]: "1",
    [Publications.deliveriesHeader]: String(base(message) + message.deliveries - 1)
  }
  return { subject: message.subject, bytes: message.bytes, headers, expected: message.sequence }
}

/** The next turn of the key of a hand-out: that is over if no `revision` follows, which may have to wait until `dueAt`. */
export const nextTurn = (
  { message }: HandOut,
  turn: Turn,
  revision: number | undefined,
  dueAt: number | undefined
): Publish => {
  const next = revision === undefined
    ? Token.past(turn.token, turn.sequence)
    : { ...turn.token, revision, dueAt }
  return Token.turn(message.subject, message.sequence, next)
}

/** `undefined` if the bytes are no envelope. */
export const tryDecode = (bytes: Uint8Array): Envelope.Envelope | undefined => {
  try {
    return Envelope.fromBytes(bytes)
  } catch {
    return undefined
  }
}

/** A job that came by its priority. `row`: what stands, if somebody looked. */
export const ofJob = (
  message: Delivered,
  envelope: Envelope.Envelope,
  nonce: string,
  row: Row.Live | undefined
): HandOut => {
  const { auth, id } = Names.parseJob(message.subject)
  return new HandOut({ envelope, message, nonce, id, auth, rowSequence: row?.sequence ?? auth })
}

/** The head of a key. */
export const ofHead = (token: Delivered, head: Stored, row: Row.Live, nonce: string, current: Token.Token): HandOut =>
  new HandOut({
    envelope: row.envelope,
    message: token,
    nonce,
    id: Names.encode(row.envelope.id),
    auth: row.auth,
    place: row.place,
    turn: { sequence: head.sequence, token: current },
    rowSequence: row.sequence
  })
