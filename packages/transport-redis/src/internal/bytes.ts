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
