/**
 * Ending a blocking read that has not reached Redis yet.
 */
import { Redis } from "ioredis"
import { expect, test } from "vitest"
import { BlockingReader, type Outcome } from "../../packages/transport-redis/src/internal/blocking.ts"
import { group } from "../../packages/transport-redis/src/internal/keys.ts"
import type { Link } from "../../packages/transport-redis/src/internal/link.ts"
import type { Request } from "../../packages/transport-redis/src/internal/wire.ts"
import { startRedis } from "../servers/redis.ts"

test("a read that reaches Redis after its end was asked for ends at once all the same", async () => {
  const server = await startRedis()
  const commands = new Redis(server.url)
  const blocking = new Redis(server.url)
  try {
    await commands.xgroup("CREATE", "q-w", group, "$", "MKSTREAM")
    // what the read waits for on its way
    let arrive = () => {}
    const send = blocking.sendCommand.bind(blocking)
    blocking.sendCommand = (command, stream) => {
      if (command.name !== "xreadgroup") return send(command, stream)
      arrive = () => void send(command, stream)
      return command.promise
    }
    const answers: Array<unknown> = []
    const request = ({ args, command, onError, onReply }: Request) =>
      void commands.call(command, ...args.map(String)).then((reply) => {
        if (args[0] === "UNBLOCK") {
          answers.push(reply)
          arrive()
          arrive = () => {}
        }
        onReply(reply)
      }, onError)
    const outcomes: Array<Outcome> = []
    const stopped = await new Promise<number>((resolve) => {
      const reader = new BlockingReader({
        redis: blocking,
        // all that it uses
        commands: { request, now: () => performance.now(), learn: () => {} } as unknown as Link,
        base: "q-",
        consumer: "one",
        streams: ["w"],
        onOutcome: (outcome) => outcomes.push(outcome),
        onReady: () => {
          reader.start(1, performance.now())
          const at = performance.now()
          reader.stop(() => resolve(performance.now() - at))
        }
      })
      if (blocking.status === "ready") reader.identify()
    })
    // Redis had no read to end when it was asked first, and would hold it for five seconds
    expect(answers[0]).toBe(0)
    // another connection than that of the read: its answer may come later
    await expect.poll(() => answers.at(-1)).toBe(1)
    expect(outcomes).toMatchObject([{ _tag: "Entries", entries: [] }])
    expect(stopped).toBeLessThan(4_000)
  } finally {
    blocking.disconnect()
    commands.disconnect()
    await server.stop()
  }
}, 20_000)
