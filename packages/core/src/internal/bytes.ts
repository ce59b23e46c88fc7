/**
 * UTF-8 without an `ArrayBuffer` per text: allocating one costs more than
 * encoding into it.
 */

const encoder = new TextEncoder()
// fatal: two different inputs must not read as one through replacement characters
const decoder = new TextDecoder("utf-8", { fatal: true })

const slabSize = 16 * 1024
let slab = new ArrayBuffer(slabSize)
let used = 0

/** Zeroed bytes, a view of a shared buffer if they are few. */
export const allocate = (size: number): Uint8Array => {
  if (size > slabSize / 8) return new Uint8Array(size)
  if (used + size > slabSize) {
    slab = new ArrayBuffer(slabSize)
    used = 0
  }
  const bytes = new Uint8Array(slab, used, size)
  used += size
  return bytes
}

const scratch = new Uint8Array(slabSize)

/** UTF-8 of a text, followed by room for so many bytes. */
export const encode = (text: string, room = 0): Uint8Array => {
  const ascii = allocate(text.length + room)
  const { read, written } = encoder.encodeInto(text, ascii)
  // most texts are ASCII: nothing is copied, and no view of a part is made
  if (read === text.length && written === text.length) return ascii
  // a UTF-16 unit takes three bytes at most
  const encoded = text.length * 3 > scratch.length
    ? encoder.encode(text)
    : scratch.subarray(0, encoder.encodeInto(text, scratch).written)
  const bytes = allocate(encoded.length + room)
  bytes.set(encoded)
  return bytes
}

/** Of Node's Buffer, where there is one: it takes any bytes, needs no view of a part, and costs a third of a decoder. */
interface Slicing {
  readonly utf8Slice?: (this: Uint8Array, start: number, end: number) => string
}
const utf8Slice = (globalThis as { readonly Buffer?: { readonly prototype: Slicing } }).Buffer?.prototype.utf8Slice

/** Text from `start` to `end`. Throws a `TypeError` if the bytes are not UTF-8. */
export const decode = (bytes: Uint8Array, start = 0, end = bytes.length): string => {
  if (utf8Slice !== undefined) {
    const text = utf8Slice.call(bytes, start, end)
    // what is no UTF-8 becomes U+FFFD, which may also stand in the text; and a byte order mark stays
    if (!text.includes("\ufffd") && text.charCodeAt(0) !== 0xfeff) return text
  }
  return decoder.decode(bytes.subarray(start, end))
}

export const equal = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, index) => byte === b[index])
