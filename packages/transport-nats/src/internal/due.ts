/**
 * The due time of a job, as a message that it shares its subject with: a server
 * like 2.9 holds every subject in memory, and messages on disk.
 *
 * Wire format: due time, nonce and encoded id, with blanks between them.
 */
export interface Due {
  /** ms since the epoch by the broker's clock. */
  readonly dueAt: number
  /** Of the row that it belongs to. */
  readonly nonce: string
  /** Encoded. */
  readonly id: string
}

export const encode = ({ dueAt, id, nonce }: Due): Uint8Array => Buffer.from(`${dueAt} ${nonce} ${id}`, "latin1")

export const decode = (bytes: Uint8Array): Due => {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1")
  const first = text.indexOf(" ")
  const second = text.indexOf(" ", first + 1)
  return { dueAt: Number(text.slice(0, first)), nonce: text.slice(first + 1, second), id: text.slice(second + 1) }
}
