/**
 * Ends the blocking read of a connection.
 *
 * Redis 7.0 crashes when a client is unblocked whose command waits for the end
 * of a `CLIENT PAUSE`, as in a failover by hand. A write that goes ahead waits
 * for that end, and on one connection everything behind it waits as well.
 */
import type { TransportError } from "@troupe/core/TransportError"
import type { Request } from "./wire.ts"

export const unblock = (options: {
  readonly link: { readonly request: (request: Request) => void }
  /** What all keys of the queue begin with. */
  readonly base: string
  readonly queue: string
  /** Its id at Redis. */
  readonly connection: string
  /** Whether a read was under way. */
  readonly onReply: (ended: boolean) => void
  readonly onError: (error: TransportError) => void
}): void => {
  const { base, connection, link, onError, onReply, queue } = options
  const common = { operation: "CLIENT UNBLOCK", queue, repeatable: true }
  const ignore = () => {}
  link.request({ ...common, command: "del", args: [`${base}-`], onReply: ignore, onError: ignore })
  const args = ["UNBLOCK", connection]
  link.request({ ...common, command: "client", args, onReply: (reply) => onReply(reply === 1), onError })
}
