/**
 * Breaks NATS and the way to it while jobs run.
 */
import { jetstreamManager } from "@nats-io/jetstream"
import { connect, type NatsConnection } from "@nats-io/transport-node"
import { afterEach, beforeEach, test } from "vitest"
import { type NatsServer, startNats } from "../servers/nats.ts"
import { startProxy } from "../servers/proxy.ts"
import { pause, survive } from "./survive.ts"

let server: NatsServer
beforeEach(async () => {
  server = await startNats()
})
afterEach(() => server.stop())

const at = (port: number) => ({ servers: `nats://127.0.0.1:${port}` })

/** A connection for one look or one blow. */
const withAdmin = async <A>(use: (connection: NatsConnection) => Promise<A>): Promise<A> => {
  const connection = await connect({ servers: server.url })
  try {
    return await use(connection)
  } finally {
    await connection.close()
  }
}

test("the server is killed under load, twice, and comes back with its files", () =>
  survive({
    worker: at(server.port),
    strike: async () => {
      for (let round = 0; round < 2; round++) {
        await server.kill()
        await pause(200)
        await server.restart()
        await pause(400)
      }
    }
  }), 90_000)

test("the server stands still for longer than a lease", () =>
  survive({
    worker: at(server.port),
    handlerTime: 20,
    strike: async () => {
      server.signal("SIGSTOP")
      await pause(3_000)
      server.signal("SIGCONT")
    }
  }), 90_000)

test("connections of the worker are cut again and again", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    worker: at(proxy.port),
    client: at(server.port),
    strike: async () => {
      for (let round = 0; round < 6; round++) {
        proxy.cut()
        await pause(100)
      }
    }
  })
  await proxy.close()
}, 90_000)

test("replies to acknowledgements are lost after the server took them", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    worker: at(proxy.port),
    client: at(server.port),
    strike: async () => {
      for (let round = 0; round < 8; round++) {
        proxy.loseReplies(1)
        await pause(100)
      }
      proxy.loseReplies(0)
    }
  })
  await proxy.close()
}, 90_000)

test("a producer whose replies are lost adds no job twice", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    worker: at(server.port),
    client: at(proxy.port),
    withoutRepeats: true,
    strike: async () => {
      for (let round = 0; round < 8; round++) {
        proxy.loseReplies(1)
        await pause(60)
      }
      proxy.loseReplies(0)
    }
  })
  await proxy.close()
}, 90_000)

test("a silent peer is noticed and replaced", async () => {
  const proxy = await startProxy(server.port)
  await survive({
    worker: at(proxy.port),
    client: at(server.port),
    strike: async () => {
      proxy.freeze()
      await pause(300)
      proxy.thaw()
    }
  })
  await proxy.close()
}, 90_000)

test("every consumer is deleted under load", () =>
  survive({
    worker: at(server.port),
    strike: () =>
      withAdmin(async (connection) => {
        const manager = await jetstreamManager(connection)
        for await (const { config } of manager.streams.list()) {
          for await (const { name } of manager.consumers.list(config.name)) {
            await manager.consumers.delete(config.name, name)
          }
        }
      })
  }), 90_000)
