/**
 * Counts bytes, lines and words like `wc` and hashes, piece by piece: the
 * memory that a file takes does not depend on its size.
 */
import { createHash } from "node:crypto"

const lineFeed = 0x0a

/** 1 for tab, line feed, vertical tab, form feed, carriage return and space. */
const isSpace = Uint8Array.from({ length: 256 }, (_, byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d) ? 1 : 0)

export class Counts {
  bytes = 0
  lines = 0
  words = 0
  readonly #hash = createHash("sha256")
  #afterSpace = 1

  add(bytes: Uint8Array): void {
    this.#hash.update(bytes)
    let { lines, words } = this
    let afterSpace = this.#afterSpace
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!
      const space = isSpace[byte]!
      if (byte === lineFeed) lines++
      // a word begins where a space ends
      words += afterSpace & (space ^ 1)
      afterSpace = space
    }
    this.bytes += bytes.length
    this.lines = lines
    this.words = words
    this.#afterSpace = afterSpace
  }

  /** Ends the count. */
  get sha256(): string {
    return this.#hash.digest("hex")
  }
}
