/**
 * Bytes in a stream that are no envelope: written by something else, or damaged.
 */
import * as Envelope from "@troupe/core/Envelope"
import * as Bytes from "./bytes.ts"
import type { Entry } from "./cycle.ts"
import type { Link } from "./link.ts"

/** `undefined` if the bytes are no envelope. */
export const tryDecode = (bytes: Buffer): Envelope.Envelope | undefined => {
  try {
    return Envelope.fromBytes(bytes)
  } catch {
    return undefined
  }
}

/** No release writes this version, so that a worker dead-letters the job with its bytes. */
const noVersion = 0

/** Asks for the id of the job; calls back with an envelope around the bytes. */
export const wrap = (
  link: Link,
  base: string,
  queue: string,
  { entry, envelope, stream }: Entry,
  onWrapped: (envelope: Envelope.Envelope) => void
): void => {
  link.request({
    operation: `pull from queue "${queue}"`,
    queue,
    command: "xrange",
    args: [base + stream, entry, entry],
    repeatable: true,
    onReply: (reply) => {
      // an entry and its fields, the id being the first of them
      const [found] = reply as ReadonlyArray<[Buffer, ReadonlyArray<Buffer>]>
      const id = found?.[1][1]
      if (id !== undefined) onWrapped(around(queue, Bytes.text(id), stream.slice(2), envelope))
    },
    // it comes back with its lease
    onError: () => {}
  })
}

const around = (queue: string, id: string, priority: string, body: Buffer): Envelope.Envelope => ({
  version: noVersion,
  id,
  queue,
  task: "",
  key: undefined,
  contentType: "application/octet-stream",
  headers: {},
  enqueuedAt: 0,
  expiresAt: undefined,
  maxAttempts: undefined,
  replyTo: undefined,
  body,
  revision: 0,
  priority,
  due: undefined,
  attempt: 1,
  deliveries: 0,
  writtenAt: 0,
  unknownSince: undefined,
  lastError: undefined,
  signature: undefined
})
