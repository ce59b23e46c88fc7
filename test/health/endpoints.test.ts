/** What a worker process answers while its broker comes and goes, and while it drains. */
import { NodeHttpServer } from "@effect/platform-node"
import * as WorkerHttp from "@troupe/core/WorkerHttp"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Tracer from "effect/Tracer"
import { type ChildProcess, fork } from "node:child_process"
import { createServer } from "node:http"
import { join } from "node:path"
import { afterAll, describe, expect, it } from "vitest"
import { freePort } from "../servers/process.ts"
import { startRedis, until } from "../servers/redis.ts"

const children = new Set<ChildProcess>()
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
})

interface Answer {
  readonly status: number
  readonly body: { readonly status: string; readonly reasons?: ReadonlyArray<string>; readonly workers: unknown }
}

const start = async (url?: string) => {
  const port = await freePort()
  const args = url === undefined ? [String(port)] : [String(port), url]
  const child = fork(join(import.meta.dirname, "program.ts"), args, { silent: true })
  children.add(child)
  const told: Array<string> = []
  child.on("message", (message) => told.push(String(message)))
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve))
  const get = (path: string) => fetch(`http://127.0.0.1:${port}${path}`)
  const ready = async (): Promise<Answer> => {
    const response = await get("/ready")
    return { status: response.status, body: await response.json() as Answer["body"] }
  }
  return {
    child,
    told,
    ended,
    get,
    ready,
    whenReady: () => until("it is ready", async () => (await ready()).status === 200),
    /** Waits until it is not ready, for this reason. */
    whenNot: (reason: RegExp) =>
      until(`it is not ready: ${reason}`, async () => {
        const { body, status } = await ready()
        return status === 503 && body.reasons?.some((one) => reason.test(one)) === true
      })
  }
}

describe("the server of the endpoints", () => {
  it("neither logs nor traces what a prober asks", async () => {
    const port = await freePort()
    const seen: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        seen.push(options.name)
        return new Tracer.NativeSpan(options)
      }
    })
    const logger = Logger.make<unknown, void>(({ message }) => void seen.push(String(message)))
    const server = WorkerHttp.layer().pipe(
      Layer.provide(NodeHttpServer.layer(createServer, { port, host: "127.0.0.1" })),
      Layer.provide(Layer.mergeAll(Layer.succeed(Tracer.Tracer, tracer), Logger.layer([logger])))
    )
    const asked = Effect.promise(() =>
      Promise.all(
        ["/live", "/ready", "/metrics"].map(async (path) => (await fetch(`http://127.0.0.1:${port}${path}`)).status)
      )
    )
    expect(await Effect.runPromise(Effect.provide(asked, server))).toEqual([200, 503, 200])
    expect(seen).toEqual([`Listening on http://127.0.0.1:${port}`])
  })
})

describe.concurrent("a worker process", { timeout: 60_000 }, () => {
  it("answers to the end of its drain, and is not ready from the signal on", async () => {
    const { child, ended, get, ready, told, whenReady } = await start()
    await whenReady()
    await until("a job runs", async () => told.includes("started"))
    const { body, status } = await ready()
    expect(status).toBe(200)
    const since = expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/)
    expect(body).toEqual({
      status: "ready",
      workers: [{ id: "worker", queues: [{ queue: "long", state: "pulling", since }] }],
      clients: [{ id: expect.any(String), state: "connected", since }]
    })
    const live = await get("/live")
    expect([live.status, await live.json(), live.headers.get("cache-control")])
      .toEqual([200, { status: "live" }, "no-store"])
    const metrics = await get("/metrics")
    expect([metrics.status, metrics.headers.get("content-type")])
      .toEqual([200, "text/plain; version=0.0.4; charset=utf-8"])
    expect((await get("/")).status).toBe(404)

    child.kill("SIGTERM")
    // open connections of a scraper do not hold it up
    expect(await ended).toBe(0)
    expect(told.toSorted()).toEqual(["before the drain: ready 503", "ready 503, live 200", "started"])
  })

  it("waits for its broker, and says when it is away", async () => {
    const server = await startRedis()
    try {
      await server.kill()
      const { get, ready, told, whenNot, whenReady } = await start(server.url)
      await whenNot(/^the process is starting$/)
      await server.restart()
      await whenReady()

      server.signal("SIGSTOP")
      await whenNot(/^queue "long" is disconnected: the broker has not answered for \d+ ms$/)
      expect((await get("/live")).status).toBe(200)
      expect((await ready()).body.workers).toMatchObject([{ queues: [{ state: "disconnected" }] }])
      server.signal("SIGCONT")
      await whenReady()

      await server.kill()
      await whenNot(/^queue "long" is disconnected/)
      expect((await get("/live")).status).toBe(200)
      await server.restart()
      await whenReady()
      expect(told).toContain("started")
    } finally {
      await server.stop()
    }
  })
})
