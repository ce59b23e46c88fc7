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

/** Valid until the next call. */
export const encodeBriefly = (text: string): Uint8Array =>
  // a UTF-16 unit takes three bytes at most
  text.length * 3 > scratch.length
    ? encoder.encode(text)
    : scratch.subarray(0, encoder.encodeInto(text, scratch).written)

export const encode = (text: string): Uint8Array => {
  const brief = encodeBriefly(text)
  const bytes = allocate(brief.length)
  bytes.set(brief)
  return bytes
}

/** Throws a `TypeError` if the bytes are not UTF-8. */
export const decode = (bytes: Uint8Array): string => decoder.decode(bytes)
