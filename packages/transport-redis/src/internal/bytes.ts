/**
 * Views between the two kinds of bytes: ioredis takes and gives Buffers.
 */

/** The same bytes, not a copy. */
export const view = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** UTF-8. */
export const text = (bytes: Buffer): string => bytes.toString("utf8")

/** For what is ASCII by construction: entry ids. */
export const ascii = (bytes: Buffer): string => bytes.toString("latin1")

/** A whole number in digits. `Number` of a Buffer makes a text of it first, in JavaScript. */
export const integer = (bytes: Buffer): number => {
  let number = 0
  for (let i = 0; i < bytes.length; i++) number = number * 10 + (bytes[i]! - 0x30)
  return number
}
