/**
 * Adds up results one by one. Its size does not depend on how many there are.
 */
import { createHash } from "node:crypto"
import type { FileFacts, Listing, Progress, Report, Unreadable } from "./tasks.ts"

/** Files in each list of the report. */
const listed = 5

/** Keeps the few largest of what was added, the largest first. */
class Top<A> {
  readonly items: Array<A> = []
  readonly #size: (item: A) => number

  constructor(size: (item: A) => number) {
    this.#size = size
  }

  add(item: A): void {
    const size = this.#size(item)
    const index = this.items.findIndex((other) => this.#size(other) < size)
    this.items.splice(index < 0 ? this.items.length : index, 0, item)
    if (this.items.length > listed) this.items.pop()
  }
}

export class Totals {
  #files = 0
  #folders = 0
  #bytes = 0
  #lines = 0
  #words = 0
  #skipped = 0
  #retried = 0
  #unreadable = 0
  readonly #checksum = new Uint8Array(32)
  readonly #largest = new Top<FileFacts>((file) => file.bytes)
  readonly #slowest = new Top<FileFacts>((file) => file.millis)
  readonly #failures: Array<Unreadable> = []
  readonly #nameOf: (path: string) => string

  /** `nameOf` shortens a path for the report. */
  constructor(nameOf: (path: string) => string) {
    this.#nameOf = nameOf
  }

  addFile(facts: FileFacts): void {
    const file = { ...facts, path: this.#nameOf(facts.path) }
    this.#files++
    this.#bytes += file.bytes
    this.#lines += file.lines
    this.#words += file.words
    this.#addAttempts(file.attempts)
    this.#largest.add(file)
    this.#slowest.add(file)
    // exclusive or does not ask for an order, and no path occurs twice
    const code = createHash("sha256").update(`${file.path}\0${file.sha256}`).digest()
    for (let i = 0; i < code.length; i++) this.#checksum[i]! ^= code[i]!
  }

  addFolder(listing: Listing): void {
    this.#folders++
    this.#skipped += listing.skipped
    this.#addAttempts(listing.attempts)
  }

  addUnreadable(error: Unreadable): void {
    this.#unreadable++
    this.#addAttempts(error.attempts)
    if (this.#failures.length < listed) this.#failures.push(error)
  }

  #addAttempts(attempts: number): void {
    if (attempts > 1) this.#retried++
  }

  get progress(): Progress {
    return { files: this.#files, folders: this.#folders, unreadable: this.#unreadable, bytes: this.#bytes }
  }

  get report(): Report {
    return {
      ...this.progress,
      lines: this.#lines,
      words: this.#words,
      skipped: this.#skipped,
      retried: this.#retried,
      checksum: Buffer.from(this.#checksum).toString("hex"),
      largest: this.#largest.items,
      slowest: this.#slowest.items,
      failures: this.#failures
    }
  }
}
