/**
 * Every query of the dashboard and every alert, run by a real Prometheus that scraped real workers. The workers do the same
 * on each transport.
 */
import { type ChildProcess, fork } from "node:child_process"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest"
import { startNats } from "../servers/nats.ts"
import { freePort } from "../servers/process.ts"
import { type Prometheus, type Sample, startPrometheus } from "../servers/prometheus.ts"
import { startRedis, until } from "../servers/redis.ts"
import { counts } from "./counts.ts"
import { dashboard, filledIn, folder, panels } from "./dashboard.ts"

const transports = ["memory", "redis", "nats"] as const

/** Longer than these tests take. */
const interval = "2m"

const children = new Map<string, ChildProcess>()
const said = new Map<string, string>()
const stops: Array<() => Promise<unknown>> = []
let prometheus: Prometheus

const startWorker = async (transport: typeof transports[number]) => {
  const port = await freePort()
  const server = transport === "redis" ? await startRedis() : transport === "nats" ? await startNats() : undefined
  if (server !== undefined) stops.push(server.stop)
  const args = [String(port), transport, ...(server === undefined ? [] : [server.url])]
  const child = fork(join(import.meta.dirname, "program.ts"), args, { silent: true })
  children.set(transport, child)
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => said.set(transport, (said.get(transport) ?? "") + text))
  }
  return { port, service: `app-${transport}` }
}

const letters = counts.broken + counts.forged + counts.unreadable

const total = (samples: ReadonlyArray<Sample>) => samples.reduce((sum, { value }) => sum + value, 0)

const sum = async (series: string) => total(await prometheus.query(`sum(${series})`))

type Wanted = ReadonlyArray<readonly [what: string, isThere: boolean]>

const of = (transport: string, labels = "") => `{troupe_transport="${transport}"${labels}}`

const ended = (transport: string, task: string) =>
  sum(`messaging_process_duration_seconds_count${of(transport, `, job_task="${task}"`)}`)

/** What so many rounds of a process come to. */
const rounds = (count: number) => async (transport: string): Promise<Wanted> => {
  const share = count / 2
  const dead = (task: string) => sum(`job_dead_lettered_total${of(transport, `, job_task="${task}"`)}`)
  return [
    ["Flaky", await ended(transport, "Flaky") >= 3 * counts.flaky * share],
    ["Broken", await dead("Broken") >= counts.broken * share],
    ["forged", await dead("_OTHER") >= counts.forged * share],
    ["unreadable", await dead("Send") >= counts.unreadable * share],
    ["Send", await ended(transport, "Send") >= counts.sent * share],
    ["Later", await ended(transport, "Later") >= 1]
  ]
}

/** All is over but for those that never end. */
const all = async (transport: string): Promise<Wanted> => [
  ["a lost lease", await sum(`job_lease_lost_total${of(transport, `, job_task="Block"`)}`) >= 1],
  ["a reclaimed job", await sum(`job_reclaimed_total${of(transport, `, job_task="Block"`)}`) >= 1],
  ["Block", await ended(transport, "Block") >= 2],
  ["Tick", await ended(transport, "Tick") >= 3],
  ["Hold", await sum(`job_active${of(transport, `, job_task="Hold"`)}`) === 1]
]

/** Has every process do its next part, and waits until what is wanted of it was scraped. */
const doNext = async (part: string, wanted: (transport: string) => Promise<Wanted>) => {
  for (const child of children.values()) child.send("go")
  for (const transport of transports) {
    const missing = async () => (await wanted(transport)).filter(([, isThere]) => !isThere).map(([what]) => what)
    await until(`${part} of ${transport} is over`, async () => (await missing()).length === 0, 60).catch(
      async (error) => {
        const lacks = (await missing()).join(", ")
        throw new Error(`${transport} lacks ${lacks} and said:\n${said.get(transport)}`, { cause: error })
      }
    )
  }
}

beforeAll(async () => {
  const targets = await Promise.all(transports.map(startWorker))
  prometheus = await startPrometheus({ targets, rules: join(folder, "alerts.yml") })
  stops.push(prometheus.stop)
  // a counter that was not seen before it rose does not rise
  await until("all are scraped and ready", async () => await sum("job_worker_ready") === 2 * transports.length)
  await doNext("the first round", rounds(1))
  await doNext("the second round", rounds(2))
  await doNext("the rest", all)
}, 300_000)

afterAll(async () => {
  for (const child of children.values()) child.kill("SIGKILL")
  await Promise.all(stops.map((stop) => stop()))
})

type Answers = ReadonlyArray<ReadonlyArray<Sample>>

const between = (samples: ReadonlyArray<Sample> | undefined, least: number, most: number) => {
  expect(samples?.length).toBeGreaterThan(0)
  for (const { value } of samples ?? []) {
    expect(value).toBeGreaterThanOrEqual(least)
    expect(value).toBeLessThanOrEqual(most)
  }
}

/** The value of the series with this label. */
const at = (samples: ReadonlyArray<Sample> | undefined, label: string, value: string) =>
  samples?.find(({ labels }) => labels[label] === value)?.value

/** Seconds that grow with the share of the jobs. */
const quantiles = (most: number) => (answers: Answers) => {
  const values = answers.map((samples) => total(samples))
  between(answers.flat(), 1e-6, most)
  expect(values).toEqual(values.toSorted((a, b) => a - b))
}

const tasksOf = (samples: ReadonlyArray<Sample> | undefined) =>
  samples?.map(({ labels }) => labels["job_task"]).toSorted()

/** An increase is extrapolated to the times between the samples. */
const about = (value: number | undefined, count: number) => {
  expect(value).toBeGreaterThan(count * 0.9)
  expect(value).toBeLessThan(count * 1.7)
}

const everyTask = ["Block", "Broken", "Flaky", "Hold", "Later", "Parked", "Send", "Tick"]

/** What each panel has to show, by title. */
const plausible: Readonly<Record<string, (answers: Answers) => void>> = {
  "Jobs per second": ([rate]) => between(rate, 0.1, 30),
  "Wait, p95": ([wait]) => between(wait, 1e-6, 10),
  "Failed attempts": ([share]) => between(share, 0.05, 0.6),
  "Oldest waiting job": ([age]) => between(age, 1, 120),
  "Dead letters kept": ([kept]) => between(kept, letters, letters),
  "Workers ready": ([ready]) => between(ready, 2, 2),
  "Sent and run": ([sent, ended]) => {
    between(sent, 0.1, 30)
    between(ended, 0.1, 30)
  },
  "Attempts by task": ([rates]) => expect(tasksOf(rates)).toEqual(expect.arrayContaining(everyTask)),
  "Attempts by outcome": ([rates]) => {
    for (const outcome of ["succeeded", "failed", "retried", "lease_lost"]) {
      expect(at(rates, "job_outcome", outcome), outcome).toBeDefined()
    }
    expect(at(rates, "job_outcome", "succeeded")).toBeGreaterThan(0.1)
  },
  "Wait time": quantiles(10),
  "Wait time by task, p95": ([waits]) => between(waits?.filter(({ value }) => !Number.isNaN(value)), 1e-6, 10),
  "Run time": quantiles(10),
  "Run time by task, p95": ([times]) => {
    between(times?.filter(({ value }) => !Number.isNaN(value)), 1e-6, 10)
    // it sleeps 30 ms
    expect(at(times, "job_task", "Send")).toBeGreaterThan(0.025)
  },
  "Failed attempts by task and error": ([rates]) => {
    const errors = rates?.map(({ labels }) => `${labels["job_task"]} ${labels["error_type"]}`).toSorted()
    expect(errors).toEqual(["Broken Refused", "Flaky Refused", "Send decode"])
  },
  "Retries by task": ([rates]) => {
    expect(at(rates, "job_task", "Flaky")).toBeGreaterThan(0)
    expect(at(rates, "job_task", "Send")).toBe(0)
  },
  "New dead letters by task": ([letters]) => {
    about(at(letters, "job_task", "Broken"), counts.broken)
    about(at(letters, "job_task", "Send"), counts.unreadable)
    about(at(letters, "job_task", "_OTHER"), counts.forged)
    expect(at(letters, "job_task", "Flaky")).toBe(0)
  },
  "Lost leases and reclaimed jobs": (answers) => {
    for (const samples of answers) {
      expect(at(samples, "messaging_destination_name", "mail")).toBeGreaterThan(0.9)
      expect(at(samples, "messaging_destination_name", "parked")).toBe(0)
    }
  },
  "Rejected signatures": ([rejected]) => {
    about(at(rejected, "messaging_destination_name", "mail"), counts.forged)
    expect(at(rejected, "messaging_destination_name", "parked")).toBe(0)
  },
  "Unreadable payloads": ([unreadable]) => {
    about(at(unreadable, "job_task", "Send"), counts.unreadable)
    expect(at(unreadable, "job_task", "Flaky")).toBe(0)
  },
  "Depth by state": ([depths]) => {
    const shown = new Map(
      depths?.map(({ labels, value }) => [
        `${labels["messaging_destination_name"]} ${labels["job_state"]}`,
        value
      ])
    )
    expect(shown.get("mail running")).toBeGreaterThanOrEqual(1)
    expect(shown.get("mail scheduled")).toBeGreaterThanOrEqual(1)
    expect(shown.get("mail dead")).toBe(letters)
    expect(shown.get("parked queued")).toBe(1)
    expect(shown.size).toBe(8)
  },
  "Oldest waiting job by queue": ([ages]) => {
    expect(at(ages, "messaging_destination_name", "parked")).toBeGreaterThan(1)
    expect(at(ages, "messaging_destination_name", "mail")).toBeLessThan(5)
  },
  "Handlers and slots": ([running, slots]) => {
    expect(at(running, "messaging_destination_name", "mail")).toBeGreaterThanOrEqual(1)
    between(slots, 16, 16)
  },
  "Workers by queue": ([workers, ready]) => {
    between(workers, 1, 1)
    between(ready, 1, 1)
  },
  "Cron lateness": quantiles(5),
  "Calls of the broker, p95": ([calls]) => {
    between(calls, 1e-6, 5)
    expect(calls?.map(({ labels }) => labels["messaging_operation_name"]).toSorted()).toEqual(["cancel", "send"])
  }
}

/** A process that stands still is not scraped, and what it runs is handed out once more. */
const soon = (check: () => Promise<void>) => vi.waitFor(check, { timeout: 20_000, interval: 200 })

describe("the dashboard", () => {
  const any = { service: ".*", queue: ".*", task: ".*", __rate_interval: interval }

  it("has no panel that is not looked at here", () => {
    expect(panels.map(({ title }) => title).toSorted()).toEqual(Object.keys(plausible).toSorted())
  })

  for (const transport of transports) {
    for (const { targets = [], title } of panels) {
      it(`shows “${title}” of ${transport}`, async () => {
        await soon(async () => {
          const answers: Array<ReadonlyArray<Sample>> = []
          for (const { expr } of targets) {
            const query = filledIn(expr, { ...any, transport })
            expect(query).not.toContain("$")
            const samples = await prometheus.query(query)
            expect(samples.length, query).toBeGreaterThan(0)
            answers.push(samples)
          }
          plausible[title]!(answers)
        })
      }, 30_000)
    }
  }

  it("filters and groups by labels that there are: others match whatever is shown", async () => {
    const samples = await prometheus.query(`{__name__=~"job_.*|messaging_.*"}`)
    const known = new Set(samples.flatMap(({ labels }) => Object.keys(labels)))
    for (const { expr } of panels.flatMap(({ targets = [] }) => targets)) {
      const filters = [...expr.matchAll(/(\w+)(?:=|!=|=~|!~)"/g)].map(([, name]) => name!)
      const groups = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, names]) => names!.split(/,\s*/))
      expect(filters.length, expr).toBeGreaterThan(0)
      expect([...filters, ...groups].filter((name) => !known.has(name)), expr).toEqual([])
    }
  })

  it("offers the services, transports, queues and tasks that there are", async () => {
    const offered: Record<string, ReadonlyArray<string>> = {}
    for (const { definition, name, type } of dashboard.templating.list) {
      if (type !== "query") continue
      const [, metric, label] = /^label_values\((.*), (\w+)\)$/.exec(definition ?? "")!
      offered[name] = await prometheus.labelValues(label!, filledIn(metric!, { ...any, transport: ".*" }))
    }
    expect(offered).toEqual({
      service: ["app-memory", "app-nats", "app-redis"],
      transport: ["memory", "nats", "redis"],
      queue: ["mail", "parked"],
      task: expect.arrayContaining(everyTask)
    })
  })

  it("shows one task, one queue and one service alone", async () => {
    const one = { ...any, transport: ".*", service: "app-redis", queue: "mail", task: "Send" }
    const expr = panels.find(({ title }) => title === "Attempts by task")!.targets![0]!.expr
    await soon(async () => expect(tasksOf(await prometheus.query(filledIn(expr, one)))).toEqual(["Send"]))
  })
})

describe("the metrics", () => {
  it("have labels that do not grow with the jobs", async () => {
    const samples = await prometheus.query(`{__name__=~"job_.*|messaging_.*"}`)
    const labels = new Set(samples.flatMap(({ labels }) => Object.keys(labels)))
    expect([...labels].toSorted()).toEqual([
      "__name__",
      "error_type",
      "instance",
      "job",
      "job_outcome",
      "job_state",
      "job_task",
      "le",
      "messaging_destination_name",
      "messaging_operation_name",
      "messaging_system",
      "troupe_transport"
    ])
  })
})

describe("the alerts", () => {
  it("are evaluated, and fire for what the workers did", async () => {
    const firing = async () =>
      (await prometheus.rules()).filter(({ state }) => state === "firing").map(({ name }) => name).toSorted()
    const expected = ["TroupeDeadLetters", "TroupeLeasesLost", "TroupeSignatureRejected", "TroupeUnreadablePayloads"]
    await until("they fire", async () => (await firing()).length >= expected.length)
    expect(await firing()).toEqual(expected)
    expect((await prometheus.rules()).filter(({ health }) => health !== "ok")).toEqual([])
  })

  it("notice that the last worker of a queue was killed", async () => {
    children.get("redis")!.kill("SIGKILL")
    await until(
      "it is pending",
      async () =>
        (await prometheus.rules()).some(({ name, state }) => name === "TroupeNoWorkers" && state === "pending")
    )
  })
})
