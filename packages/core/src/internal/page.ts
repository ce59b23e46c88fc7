/**
 * Memory in which one message after the other is written, to be hashed. One
 * that is like the last one is written over it, where it differs.
 */
import { blockSize } from "./hmac.ts"

// a large message gets its own memory: what is kept is kept for ever
const kept = { least: 4096, most: 1024 * 1024 }

/** A view costs more than a short message is worth: those of so many bytes are kept. */
const short = 2048

/** Two texts with lone surrogates could share their UTF-8. */
const forms = { utf8: 8, utf16: 16 }

const numbersStart = blockSize + 2
const numberSize = 9

export class Page {
  // a Buffer: it writes strings at an offset
  #buffer = Buffer.alloc(kept.least)
  #view = new DataView(this.#buffer.buffer)
  #shorts: Array<Uint8Array | undefined> = []
  /** Where the text ends. */
  #textEnd = 0
  /** Where the id stands, if it is in ASCII, and how long it is. */
  #idStart = 0
  #idLength = -1

  /** `text`: `length:id` and what follows it. */
  write(kind: number, numbers: ReadonlyArray<number | undefined>, id: string, text: string): void {
    if (this.#buffer.length > kept.most) this.#use(Buffer.alloc(kept.least))
    const textStart = numbersStart + numberSize * numbers.length + 4
    // a UTF-16 unit takes three bytes at most
    this.#reserve(textStart + 3 * text.length)
    for (let i = 0; i < numbers.length; i++) this.number(i, numbers[i])
    const isWellFormed = text.isWellFormed()
    this.#buffer[blockSize] = kind
    this.#buffer[blockSize + 1] = isWellFormed ? forms.utf8 : forms.utf16
    const written = isWellFormed ? this.#buffer.write(text, textStart) : this.#writeUnits(text, textStart)
    this.#view.setUint32(textStart - 4, written)
    this.#textEnd = textStart + written
    this.#idStart = textStart + text.indexOf(":") + 1
    // every other character takes more bytes than UTF-16 units
    this.#idLength = written === text.length ? id.length : -1
  }

  /** Presence (1 byte) and float64. */
  number(index: number, value: number | undefined): void {
    const offset = numbersStart + numberSize * index
    this.#buffer[offset] = value === undefined ? 0 : 1
    // adding zero makes -0 positive, as a trip through JSON does
    this.#view.setFloat64(offset + 1, value === undefined ? 0 : value + 0)
  }

  /** Replaces the id. False if the message has to be written anew. */
  replace(id: string): boolean {
    return id.length === this.#idLength && this.#buffer.length <= kept.most &&
      this.#buffer.write(id, this.#idStart) === id.length
  }

  /**
   * The message, with what follows the text. Its first `blockSize` bytes are room for the key. Valid until the next
   * one is written.
   */
  finish(body: Uint8Array): Uint8Array {
    const end = this.#textEnd + body.length
    this.#reserve(end)
    this.#buffer.set(body, this.#textEnd)
    return end > short ? this.#buffer.subarray(0, end) : this.#shorts[end] ??= this.#buffer.subarray(0, end)
  }

  #writeUnits(text: string, start: number): number {
    for (let i = 0; i < text.length; i++) this.#view.setUint16(start + 2 * i, text.charCodeAt(i))
    return 2 * text.length
  }

  #reserve(size: number): void {
    if (size <= this.#buffer.length) return
    const larger = Buffer.alloc(size > kept.most ? size : Math.min(2 * size, kept.most))
    larger.set(this.#buffer.subarray(0, this.#textEnd))
    this.#use(larger)
  }

  #use(buffer: Buffer<ArrayBuffer>): void {
    this.#buffer = buffer
    this.#view = new DataView(buffer.buffer)
    this.#shorts = []
  }
}
