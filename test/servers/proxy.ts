/**
 * A TCP proxy that breaks connections on purpose.
 */
import { connect, createServer, type Server, type Socket } from "node:net"

export interface Proxy {
  readonly port: number
  /** Cuts every connection that is open now. */
  readonly cut: () => void
  /** Requests pass, replies do not: the next `count` chunks of replies are swallowed, then the connection is cut. */
  readonly loseReplies: (count: number) => void
  /** Silent peers: nothing passes in either direction, nothing is closed. New connections are silent, too. */
  readonly freeze: () => void
  /** New connections pass again. Frozen ones stay silent. */
  readonly thaw: () => void
  readonly connections: () => number
  readonly close: () => Promise<void>
}

interface Pair {
  readonly client: Socket
  readonly server: Socket
  frozen: boolean
}

/** `edit` changes replies on their way. */
export const startProxy = async (
  target: number,
  edit: (reply: Buffer) => Buffer = (reply) => reply
): Promise<Proxy> => {
  const pairs = new Set<Pair>()
  let frozen = false
  let toLose = 0
  const end = (pair: Pair) => {
    pairs.delete(pair)
    pair.client.destroy()
    pair.server.destroy()
  }
  const listener: Server = createServer((client) => {
    const pair: Pair = { client, server: connect(target, "127.0.0.1"), frozen }
    pairs.add(pair)
    client.setNoDelay(true)
    pair.server.setNoDelay(true)
    client.on("data", (data) => {
      if (!pair.frozen) pair.server.write(data)
    })
    pair.server.on("data", (data) => {
      if (pair.frozen) return
      if (toLose > 0) {
        toLose--
        return end(pair)
      }
      client.write(edit(Buffer.from(data)))
    })
    for (const socket of [client, pair.server]) {
      socket.on("error", () => end(pair))
      socket.on("close", () => end(pair))
    }
  })
  await new Promise<void>((resolve) => listener.listen(0, "127.0.0.1", resolve))
  const address = listener.address()
  if (typeof address !== "object" || address === null) throw new Error("the proxy has no port")
  return {
    port: address.port,
    cut: () => pairs.forEach(end),
    loseReplies: (count) => void (toLose = count),
    freeze: () => {
      frozen = true
      for (const pair of pairs) pair.frozen = true
    },
    thaw: () => void (frozen = false),
    connections: () => pairs.size,
    close: () =>
      new Promise((resolve) => {
        pairs.forEach(end)
        listener.close(() => resolve())
      })
  }
}
