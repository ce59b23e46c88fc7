/**
 * examples/app as three processes on a broker: the answers are those of one
 * process on memory, and signals and crashes lose nothing.
 */
import { CronJobNotFound } from "@troupe/core/CronError"
import * as Signing from "@troupe/core/Signing"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as wait } from "node:timers/promises"
import { afterEach, beforeEach, expect, onTestFinished, test } from "vitest"
import { CheckFailed, Gone, NotOver, PageNotFound } from "../../examples/app/errors.ts"
import { EmptyPage, UnclosedFence } from "../../examples/app/tasks.ts"
import { freePort } from "../servers/process.ts"
import { pathsTo, startBackend } from "./backend.ts"
import { type Client, clientOf, pageOf, pages, until } from "./client.ts"
import { type Process, Processes } from "./processes.ts"
import { type Answers, script } from "./script.ts"

interface Broker {
  readonly url: string
  readonly stop: () => Promise<void>
  readonly kill: () => Promise<void>
  readonly restart: () => Promise<void>
}

const generateKeys = () => Effect.runSync(Effect.map(Signing.generateKey, (key) => `test:${Redacted.value(key)}`))

const keys = generateKeys()

const started = "started on transport"

/** One process on memory, asked everything. */
const inMemory = async (processes: Processes): Promise<Answers> => {
  const port = await freePort()
  const all = processes.start("all", { PORT: String(port), PROOF_PACE: "5 millis" })
  await all.logs("Listening")
  return Effect.runPromise(Effect.flatMap(clientOf(`http://127.0.0.1:${port}`), script))
}

/** All but the reports. */
const answersOnMemory = {
  refusals: {
    empty: new EmptyPage({ name: "refused" }),
    unclosed: new UnclosedFence({ name: "refused", line: 3 }),
    tooLarge: "PageTooLarge",
    unknown: new PageNotFound({ id: "unknown" }),
    unknownReport: new PageNotFound({ id: "unknown" }),
    unknownCancel: new PageNotFound({ id: "unknown" }),
    unknownSchedule: new CronJobNotFound({ name: "unknown" })
  },
  twice: [false, true, true].map((duplicate) => ({ id: "key-1", duplicate })),
  cancelled: {
    early: new NotOver({ id: "long", state: "running" }),
    answer: { id: "long", state: "cancelled" },
    afterwards: new Gone({ id: "long", state: "cancelled" }),
    again: { id: "long", state: "cancelled" }
  },
  followed: {
    first: "Now",
    progress: ["_tag", "queue", "task", "id", "at", "attempt", "value"],
    last: "cancelled"
  },
  listened: {
    first: "Listening",
    lines: [
      "Enqueued",
      "Progress {\"read\":1,\"of\":3}",
      "Progress {\"read\":2,\"of\":3}",
      "Progress {\"read\":3,\"of\":3}",
      "Started",
      "Succeeded"
    ]
  },
  audited: {
    schedule: "0 3 * * * UTC",
    hasNext: true,
    location: "/schedules/audit/runs",
    run: {
      name: "audit",
      trigger: "manual",
      status: "COMPLETED",
      execution: 1,
      attempt: 1,
      value: { pages: pages.length, words: expect.any(Number), problems: expect.any(Number), refused: 0 }
    },
    last: true
  },
  queues: {
    // the two pages that cannot be proofread
    pages: { scheduled: 0, queued: 0, running: 0, dead: 2, paused: false },
    audits: { scheduled: 0, queued: 0, running: 0, dead: 0, paused: false }
  }
}

export const suite = (transport: "redis" | "nats", startBroker: () => Promise<Broker>): void => {
  let broker: Broker
  let processes: Processes

  // the service has its own names for queues: one of two tests must not find the jobs of the other
  beforeEach(async () => {
    broker = await startBroker()
    processes = new Processes()
  })
  afterEach(async () => {
    await processes.stop()
    await broker.stop()
  })

  /** The service, its processes to be started one by one. */
  const service = async (env: Readonly<Record<string, string>> = {}) => {
    const port = await freePort()
    const all = {
      TROUPE_TRANSPORT: transport,
      [`TROUPE_${transport.toUpperCase()}_URL`]: broker.url,
      TROUPE_SIGNING_KEYS: keys,
      ...env
    }
    return {
      client: Effect.runSync(clientOf(`http://127.0.0.1:${port}`)),
      api: () => processes.start("api", { ...all, PORT: String(port) }),
      worker: async (more: Readonly<Record<string, string>> = {}) =>
        processes.start("worker", { ...all, ...more, PORT: String(await freePort()) }),
      scheduler: async () => processes.start("scheduler", { ...all, PORT: String(await freePort()) })
    }
  }

  const submit = async (client: Client, page: { readonly name: string; readonly text: string }) =>
    (await Effect.runPromise(client.pages.submit({ payload: page, headers: {} }))).body.id
  const status = (client: Client, id: string) => Effect.runPromise(client.pages.status({ params: { id } }))
  const stateIs = (client: Client, id: string, state: string) =>
    Effect.runPromise(until(client.pages.status({ params: { id } }), (status) => status.state === state))

  test("three processes answer like one on memory", { timeout: 120_000 }, async () => {
    const backend = await startBackend()
    onTestFinished(backend.stop)
    const betweenThree = async () => {
      const { api, client, scheduler, worker } = await service({
        PROOF_PACE: "5 millis",
        OTEL_EXPORTER_OTLP_ENDPOINT: backend.url
      })
      const all = [api(), await worker(), await scheduler()]
      await Promise.all(all.map((one) => one.logs("Listening")))
      return Effect.runPromise(script(client))
    }
    const [expected, answers] = await Promise.all([inMemory(processes), betweenThree()])
    const { proofread, ...others } = expected
    expect(proofread).toMatchObject({ located: true, status: { attempts: 1, state: "succeeded" } })
    expect(proofread.reports.map(({ name }) => name)).toEqual(pages.map(({ name }) => name))
    expect(others).toEqual(answersOnMemory)
    expect(answers).toEqual(expected)

    // a page is one trace, whatever it passes through; so is an audit
    const traces = [
      ["the client", "proofread-api: POST", "proofread-api: send pages", "proofread-worker: process pages"],
      ["proofread-worker: process audits", "proofread-worker: send pages", "proofread-worker: process pages"]
    ]
    const patience = { timeout: 30_000 }
    for (const trace of traces) {
      await expect.poll(() => pathsTo(backend, "process pages"), patience).toContainEqual(trace)
    }
  })

  test("a worker that is told to stop in the middle of its work loses nothing", { timeout: 120_000 }, async () => {
    const { api, client, worker } = await service()
    // it would be at it for some eight seconds
    const first = await worker({ PROOF_PACE: "100 millis", TROUPE_CONCURRENCY: "3" })
    await Promise.all([api().logs("Listening"), first.logs(started)])
    const ids = await Promise.all(
      Array.from({ length: 30 }, (_, n) => submit(client, pageOf(`page ${n}`, 5 + n % 7)))
    )
    await first.logs("Proofread", 4)
    first.signal("SIGTERM")
    await first.logs("jobs in hand")
    // taken in while nobody works
    ids.push(await submit(client, pageOf("page 30", 5)))
    expect(await first.ended).toBe(0)
    const readByFirst = first.linesWith("Proofread").length
    const states = (await Promise.all(ids.map((id) => status(client, id)))).map(({ state }) => state)
    expect(states.filter((state) => state === "succeeded")).toHaveLength(readByFirst)
    expect(states.filter((state) => state === "queued")).toHaveLength(ids.length - readByFirst)
    expect(readByFirst).toBeLessThan(ids.length)
    const [, drained] = first.logged.split("jobs in hand")
    expect(drained, "what had begun").toContain("Proofread")
    // acquired once, for the worker; released by it
    for (const thread of [1, 2]) {
      expect(first.linesWith(`Reading thread ${thread}`).map((line) => line.replace(/.*thread \d /, ""))).toEqual([
        "started",
        expect.stringMatching(/^ended after \d+ sections$/)
      ])
    }

    const second = await worker()
    const reports = await Effect.runPromise(
      Effect.forEach(ids, (id) => client.pages.report({ params: { id }, query: { wait: 30 } }), {
        concurrency: "unbounded"
      })
    )
    expect(reports.map(({ name, problems }) => [name, problems.length])).toEqual(
      ids.map((_, n) => [`page ${n}`, n === 30 ? 5 : 5 + n % 7])
    )
    // what had begun was finished, and what had not was handed on: nothing was done twice
    await second.logs("Proofread", ids.length - readByFirst)
    const lines = [first, second].flatMap((one) => one.linesWith("Proofread")).map((line) =>
      /Proofread "(.*?)"/.exec(line)?.[1]
    )
    expect(lines.toSorted()).toEqual(ids.map((_, n) => `page ${n}`).toSorted())
    expect((await Promise.all(ids.map((id) => status(client, id)))).every(({ attempts }) => attempts === 1)).toBe(true)
  })

  test("whoever is cut off from the broker is not ready until it is back", { timeout: 120_000 }, async () => {
    const { api, scheduler, worker } = await service()
    const all = [api(), await worker(), await scheduler()]
    const answers = (path: string) => Promise.all(all.map((one) => one.get(path)))
    const statuses = async (path: string) => (await answers(path)).map(({ status }) => status)
    // what docker and the compose file ask
    const health = () => Promise.all(all.map(({ env }) => Processes.healthcheck(env)))
    await Promise.all(all.map((one) => one.isReady()))
    expect(await health()).toEqual([0, 0, 0])

    await broker.kill()
    await expect.poll(() => statuses("/ready"), { timeout: 30_000 }).toEqual([503, 503, 503])
    for (const { text } of await answers("/ready")) {
      expect(JSON.parse(text).reasons).toContainEqual(expect.stringMatching(/^(client|queue) "\S+" is disconnected: ./))
    }
    expect(await health()).toEqual([1, 1, 1])
    // nobody restarts them for that
    expect(await statuses("/live")).toEqual([200, 200, 200])

    await broker.restart()
    await Promise.all(all.map((one) => one.isReady()))
  })

  test("a worker with other keys runs nothing", { timeout: 60_000 }, async () => {
    const { api, client, worker } = await service()
    const stranger = await worker({ TROUPE_SIGNING_KEYS: generateKeys() })
    await Promise.all([api().logs("Listening"), stranger.logs(started)])
    const id = await submit(client, pageOf("signed", 1))
    await stranger.logs(`Job "${id}" of queue "pages" (task "CheckPage") is dead-lettered: The envelope of job`)
    expect(stranger.linesWith("Proofread")).toEqual([])
    // nor is what it says of the job believed
    const report = client.pages.report({ params: { id }, query: { wait: 10 } })
    expect(await Effect.runPromise(Effect.flip(report))).toBeInstanceOf(CheckFailed)
  })

  test("a second signal does not wait for running jobs, and they go on elsewhere", { timeout: 120_000 }, async () => {
    const { api, client, worker } = await service({ TROUPE_GRACE_PERIOD: "1 hour" })
    const first = await worker({ PROOF_PACE: "1 hour" })
    await Promise.all([api().logs("Listening"), first.logs(started)])
    const id = await submit(client, pageOf("long", 2))
    await stateIs(client, id, "running")
    first.signal("SIGTERM")
    await first.logs("drains 1 jobs in hand")
    // signals less than 200 ms apart are one
    await wait(300)
    first.signal("SIGTERM")
    expect(await first.ended).toBe(143)
    expect(first.linesWith("Reading thread 1 ended")).toHaveLength(1)
    expect(await status(client, id)).toMatchObject({ state: "queued", attempts: 0 })
    await worker()
    await stateIs(client, id, "succeeded")
  })

  test("schedulers that are killed and started again run no tick twice", { timeout: 120_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "troupe-app-"))
    writeFileSync(join(folder, "page.md"), "# Page\n")
    try {
      const { api, client, scheduler, worker } = await service({
        PROOF_AUDIT_CRON: "* * * * * *",
        PROOF_FOLDER: folder
      })
      const working = await worker()
      await Promise.all([api().logs("Listening"), working.logs(started)])
      const first = await scheduler()
      await working.logs("begins", 2)
      first.signal("SIGKILL")
      await first.ended
      const others: ReadonlyArray<Process> = [await scheduler(), await scheduler()]
      await Promise.all(others.map((one) => one.isReady()))
      const before = working.linesWith("begins").length
      await working.logs("begins", before + 2)
      for (const one of others) one.signal("SIGTERM")
      expect(await Promise.all(others.map(({ ended }) => ended))).toEqual([0, 0])

      const begun = working.linesWith("begins").map((line) => line.replace(/.*Audit (\S+) begins.*/, "$1"))
      expect(new Set(begun).size).toBe(begun.length)
      const runs = client.schedules.runs({ params: { name: "audit" }, query: { limit: 100 } })
      const { items } = await Effect.runPromise(
        until(runs, ({ items }) => items.every(({ status }) => status !== "RUNNING" && status !== "QUEUED"))
      )
      const ticks = items.map(({ tick }) => tick)
      expect(new Set(ticks).size).toBe(ticks.length)
      expect(ticks).toEqual(ticks.toSorted((a, b) => b - a))
      const completed = items.filter(({ status }) => status === "COMPLETED")
      expect(completed.map(({ id }) => id).toSorted()).toEqual(begun.toSorted())
      expect(items.every(({ execution }) => execution <= 1)).toBe(true)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
}
