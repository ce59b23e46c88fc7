/**
 * The private NATS of this process: file storage, ended with the process.
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect, type NatsConnection } from "@nats-io/transport-node"
import { type NatsServer, startNats } from "../../test/servers/nats.ts"
import type { Server } from "../brokers/system.ts"

interface Private {
  readonly server: NatsServer
  readonly probe: NatsConnection
}

let started: Promise<Private> | undefined

const start = async (): Promise<Private> => {
  const server = await startNats()
  return { server, probe: await connect({ servers: server.url }) }
}

const get = () => started ??= start()

export const server: Server = {
  name: "NATS",
  url: async () => (await get()).server.url,
  cpuSeconds: async () => (await get()).server.cpuSeconds(),
  memory: async () => (await get()).server.memory(),
  empty: async () => {
    const manager = await jetstreamManager((await get()).probe)
    for await (const name of manager.streams.names()) await manager.streams.purge(name)
  },
  // it keeps no log of what was slow
  slow: async (_least, run) => {
    await run()
    return []
  }
}
