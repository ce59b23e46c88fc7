/** examples/app in one process, and what its processes refuse to start with. */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import { afterEach, beforeEach, expect, test } from "vitest"
import { freePort } from "../servers/process.ts"
import { pathsTo, startBackend } from "./backend.ts"
import { clientOf, pageOf } from "./client.ts"
import { Processes } from "./processes.ts"

let processes: Processes

beforeEach(() => {
  processes = new Processes()
})
afterEach(() => processes.stop())

const start = async (env: Readonly<Record<string, string>> = {}) => {
  const port = String(await freePort())
  const all = processes.start("all", { PORT: port, ...env })
  await all.isReady()
  return { all, client: Effect.runSync(clientOf(`http://127.0.0.1:${port}`)) }
}

test("a signal ends the streams of events, and not the work", { timeout: 60_000 }, async () => {
  const { all, client } = await start({ PROOF_PACE: "1 second" })
  await Effect.runPromise(client.pages.submit({ payload: pageOf("slow", 3), headers: {} }))
  const events = await Effect.runPromise(client.pages.events())
  const seen: Array<string> = []
  // a server that gives up on a stream breaks its connection, and this fails
  await Effect.runPromise(Stream.runForEach(events, ({ _tag }) =>
    Effect.sync(() => {
      if (seen.push(_tag) === 1) all.signal("SIGTERM")
    })))
  expect(seen[0]).toBe("Listening")
  expect(await all.ended).toBe(0)
  expect(all.linesWith("Proofread \"slow\"")).toHaveLength(1)
})

test("its OpenAPI document describes what it serves", { timeout: 60_000 }, async () => {
  const { all } = await start()
  const { paths } = JSON.parse((await all.get("/openapi.json")).text)
  expect(Object.keys(paths)).toEqual([
    "/pages",
    "/pages/{id}",
    "/pages/{id}/report",
    "/pages/{id}/events",
    "/events",
    "/schedules",
    "/schedules/{name}/runs",
    "/queues/{queue}"
  ])
  expect(Object.keys(paths["/pages"].post.responses).toSorted()).toEqual(["202", "413", "503"])
  expect(paths["/pages"].post.responses["202"].headers).toHaveProperty("location")
  const statuses = Object.keys(paths["/pages/{id}/report"].get.responses).toSorted()
  expect(statuses).toEqual(["200", "404", "409", "410", "422", "500", "503"])
})

test("a page is one trace, from the request to the handler", { timeout: 60_000 }, async () => {
  const backend = await startBackend()
  try {
    const { all, client } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: backend.url })
    const { body } = await Effect.runPromise(client.pages.submit({ payload: pageOf("traced", 1), headers: {} }))
    await Effect.runPromise(client.pages.report({ params: body, query: { wait: 30 } }))
    all.signal("SIGTERM")
    // what is left is exported at the end
    expect(await all.ended).toBe(0)
    expect(await pathsTo(backend, "process pages")).toEqual([
      ["the client", "proofread: POST", "proofread: send pages", "proofread: process pages"]
    ])
  } finally {
    await backend.stop()
  }
})

test("a process that cannot do its work says so in one line", { timeout: 60_000 }, async () => {
  const refused = async (name: "api" | "worker" | "scheduler", env: Readonly<Record<string, string>>) => {
    const one = processes.start(name, { PORT: String(await freePort()), ...env })
    expect(await one.ended).toBe(1)
    return one.linesWith("ERROR").map((line) => line.replace(/.*ERROR \([^)]*\): /, "")).join("\n")
  }
  const answers = await Promise.all([
    refused("worker", {}),
    refused("api", { TROUPE_TRANSPORT: "redis" }),
    refused("scheduler", { TROUPE_TRANSPORT: "nats", TROUPE_SIGNING_KEYS: "one:secret" }),
    refused("worker", { TROUPE_TRANSPORT: "kafka" })
  ])
  expect(answers[0]).toBe(
    "Failed to start: TROUPE_TRANSPORT is memory, which lives in one process: start all.ts, or choose redis or nats"
  )
  expect(answers[1]).toContain("TROUPE_SIGNING_KEYS")
  expect(answers[2]).toContain("Signing key number 1: ")
  expect(answers[3]).toContain("TROUPE_TRANSPORT")
})
