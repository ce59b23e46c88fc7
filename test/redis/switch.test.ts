/**
 * A Sentinel that names another master while the old one lives on and answers.
 */
import { Kit } from "@troupe/core/testing/conformance/kit"
import { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Redis } from "ioredis"
import { createServer, type Socket } from "node:net"
import { expect, test } from "vitest"
import { startRedis } from "../servers/redis.ts"

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

const array = (...items: ReadonlyArray<string>) => `*${items.length}\r\n${items.join("")}`

/** Says where the master is, and tells whoever listens that it is another one. */
const startSentinel = async (first: number) => {
  let master = first
  const listeners = new Set<Socket>()
  const answer = (socket: Socket, [command = "", ...args]: ReadonlyArray<string>): string => {
    switch (command.toLowerCase()) {
      case "sentinel":
        return args[0] === "get-master-addr-by-name" ? array(bulk("127.0.0.1"), bulk(String(master))) : array()
      case "subscribe":
        listeners.add(socket)
        return array(bulk("subscribe"), bulk(args[0] ?? ""), ":1\r\n")
      default:
        return "+OK\r\n"
    }
  }
  const server = createServer((socket) => {
    let text = ""
    socket.on("error", () => {})
    socket.on("close", () => listeners.delete(socket))
    socket.on("data", (data) => {
      text += data
      // arrays of bulk strings, in ASCII
      for (;;) {
        const lines = text.split("\r\n")
        const count = 2 * Number(lines[0]?.slice(1))
        if (lines.length < count + 2) return
        text = lines.slice(count + 1).join("\r\n")
        socket.write(answer(socket, lines.slice(1, count + 1).filter((_, i) => i % 2 === 1)))
      }
    })
  })
  const port = await new Promise<number>((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })
  return {
    port,
    listeners,
    name: (next: number) => {
      const old = master
      master = next
      const said = `mymaster 127.0.0.1 ${old} 127.0.0.1 ${next}`
      for (const socket of listeners) socket.write(array(bulk("message"), bulk("+switch-master"), bulk(said)))
    },
    stop: () => {
      for (const socket of listeners) socket.destroy()
      server.close()
    }
  }
}

test("who hears of another master leaves the old one at once, though it answers", async () => {
  const [old, next] = await Promise.all([startRedis(), startRedis()])
  const sentinel = await startSentinel(old.port)
  const probe = new Redis(next.url)
  try {
    await Effect.runPromise(
      Effect.gen(function*() {
        const kit = new Kit(yield* Transport, { elapse: Effect.sleep, wait: Effect.sleep, slack: 2_000 }, "switch")
        let sent = 0
        const enqueue = Effect.suspend(() => kit.log.send([kit.envelope({ id: `job-${++sent}` })]))
        yield* enqueue
        yield* Effect.promise(() => expect.poll(() => sentinel.listeners.size, { timeout: 20_000 }).toBeGreaterThan(0))
        expect(yield* Effect.promise(() => probe.dbsize())).toBe(0)
        sentinel.name(next.port)
        yield* Effect.promise(() =>
          expect.poll(async () => {
            await Effect.runPromise(enqueue)
            return await probe.dbsize()
          }, { timeout: 20_000 }).toBeGreaterThan(0)
        )
      }).pipe(
        Effect.provide(RedisTransport.layer({ sentinels: [`127.0.0.1:${sentinel.port}`], name: "mymaster" })),
        Effect.provide(Layer.succeed(References.MinimumLogLevel, "None"))
      )
    )
  } finally {
    probe.disconnect()
    sentinel.stop()
    await Promise.all([old.stop(), next.stop()])
  }
}, 60_000)
