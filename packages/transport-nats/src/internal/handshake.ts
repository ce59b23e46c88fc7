/**
 * The handshake of a new connection: the client waits for its end even when the
 * connection is closed in the middle, as long as its `timeout` says.
 */
import { errors, type NatsConnection } from "@nats-io/transport-node"

/** What the client ends its wait with. The dependency is exact: a test says when it is gone. */
interface Inner {
  readonly protocol?: {
    /** There while the client waits. */
    readonly connectError?: (error: Error) => void
  }
}

/** The client connects anew, if it waits for a handshake: call it when the connection is closed. */
export const giveUp = (connection: NatsConnection): void => {
  // the erased boundary of this file: a class of the client that its types do not show
  const { protocol } = connection as unknown as Inner
  protocol?.connectError?.(new errors.ConnectionError("closed during the handshake"))
}
