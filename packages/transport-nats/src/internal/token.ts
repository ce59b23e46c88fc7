/**
 * The token of a key: the one message of the work stream that lets the next job
 * of the key be handed out. It is there for as long as the key has jobs, and is
 * replaced at every turn: whoever held the old one can replace nothing any more.
 */
import * as Names from "./names.ts"
import type { Publish, Stored } from "./streams.ts"

export interface Token {
  /** Sequence in the mailbox up to which everything is over. */
  readonly after: number
  /** Of the head, the one that it lets be handed out; `undefined`: the first one. */
  readonly revision: number | undefined
  /** The head of the key waits until then (ms since the epoch by the broker's clock). */
  readonly dueAt: number | undefined
  /** Turns since the mailbox was last cleaned. */
  readonly turns: number
}

/** Whatever it says and expects: a full stream takes a message in place of one of the same size. */
const size = 96

const encode = ({ after, dueAt, revision, turns }: Token, expected: number): Uint8Array =>
  Buffer.from(JSON.stringify({ a: after, r: revision, d: dueAt, n: turns }).padEnd(size - String(expected).length))

export const decode = (stored: Stored): Token => {
  const text = Buffer.from(stored.bytes.buffer, stored.bytes.byteOffset, stored.bytes.byteLength).toString()
  // as `encode` wrote it
  const { a, d, n, r } = JSON.parse(text) as {
    readonly a: number
    readonly r?: number
    readonly d?: number
    readonly n: number
  }
  return { after: a, revision: r, dueAt: d, turns: n }
}

/** Wakes a key that has no token. `key` encoded. */
export const wake = (names: Names.QueueNames, key: string): Publish => ({
  subject: Names.token(names, key),
  bytes: encode({ after: 0, revision: undefined, dueAt: undefined, turns: 0 }, 0),
  expected: 0
})

/** The token after its head is over. */
export const past = (token: Token, sequence: number): Token => ({
  after: sequence,
  revision: undefined,
  dueAt: undefined,
  turns: token.turns + 1
})

/** The next turn, if the token still is the one of this sequence. */
export const turn = (subject: string, sequence: number, next: Token): Publish => ({
  subject,
  bytes: encode(next, sequence),
  expected: sequence
})
