/**
 * JSON rows of the store.
 */
const encoder = new TextEncoder()

export const encodeJson = (value: unknown): Uint8Array => encoder.encode(JSON.stringify(value))
