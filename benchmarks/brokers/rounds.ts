/**
 * The rounds of the races, for any system.
 *
 * Where a worker serves a client it runs in a process of its own. What drains a
 * queue is measured from the start of the first handler until the broker has
 * said that the last job is over.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { payload } from "../payload.ts"
import type { Entrant, Lap } from "../scenario.ts"
import type { Client, Server, Target, WorkOptions } from "./system.ts"
import { type Name, systemOf } from "./systems.ts"
import { startWorker, type WorkerProcess } from "./workerProcess.ts"

const cpu = (since?: NodeJS.CpuUsage) => {
  const { system, user } = process.cpuUsage(since)
  return user + system
}

const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
}

const once = <A>(make: () => Promise<A>) => {
  let made: Promise<A> | undefined
  return () => made ??= make()
}

let queues = 0
const target = async (server: Server): Promise<Target> => ({ url: await server.url(), queue: `bench${queues++}` })

const chunk = 1_000

const fill = async (client: Client, jobs: number, perCall = chunk) => {
  for (let sent = 0; sent < jobs; sent += perCall) await client.bulk(Math.min(perCall, jobs - sent))
}

/** A queue full of jobs, then a worker. */
export const drain = (server: Server) =>
(name: string, system: Name, options: {
  readonly concurrency: number
  readonly handler?: WorkOptions["handler"]
  /** Instead of those of the race. */
  readonly jobs?: number
}): Entrant => ({
  name,
  round: async (ofRace) => {
    const jobs = options.jobs ?? ofRace
    const where = await target(server)
    const client = await systemOf(system).client(where)
    await fill(client, jobs)
    await client.close()
    globalThis.gc?.()
    let first: { readonly at: number; readonly cpu: NodeJS.CpuUsage } | undefined
    const serverBefore = await server.cpuSeconds()
    const worker = await systemOf(system).work(where, {
      concurrency: options.concurrency,
      handler: options.handler ?? "noop",
      replies: false,
      onStart: () => {
        first ??= { at: performance.now(), cpu: process.cpuUsage() }
      }
    })
    while (worker.finished() < jobs) await sleep(1)
    const { at, cpu: cpuBefore } = first!
    const seconds = (performance.now() - at) / 1e3
    const lap: Lap = {
      "jobs/s": jobs / seconds,
      "worker µs": cpu(cpuBefore) / jobs,
      [`${server.name} µs`]: (await server.cpuSeconds() - serverBefore) * 1e6 / jobs
    }
    await worker.close()
    await server.empty()
    return lap
  }
})

const measured = async (server: Server, jobs: number, run: () => Promise<void>): Promise<Lap> => {
  const serverBefore = await server.cpuSeconds()
  const cpuBefore = process.cpuUsage()
  const start = performance.now()
  await run()
  const seconds = (performance.now() - start) / 1e3
  return {
    "jobs/s": jobs / seconds,
    "client µs": cpu(cpuBefore) / jobs,
    [`${server.name} µs`]: (await server.cpuSeconds() - serverBefore) * 1e6 / jobs
  }
}

const enqueuing = (server: Server, name: Name, run: (client: Client, jobs: number) => Promise<void>): Entrant => {
  const open = once(async () => systemOf(name).client(await target(server)))
  return {
    name,
    round: async (jobs) => {
      const client = await open()
      const lap = await measured(server, jobs, () => run(client, jobs))
      await server.empty()
      return lap
    }
  }
}

/** One job per call. */
export const enqueue = (server: Server) => (name: Name, callers: number): Entrant =>
  enqueuing(server, name, (client, jobs) => client.enqueue(jobs, callers))

/** So many jobs per call: 1,000 if it does not say. */
export const bulk = (server: Server) => (name: Name, perCall?: number): Entrant =>
  enqueuing(server, name, (client, jobs) => fill(client, jobs, perCall))

const served = (server: Server, name: Name, concurrency: number) =>
  once(async (): Promise<{ readonly client: Client; readonly worker: WorkerProcess }> => {
    const where = await target(server)
    const worker = await startWorker({ ...where, system: name, concurrency })
    return { client: await systemOf(name).client(where), worker }
  })

/** Enqueue, run in another process, result back at the caller. */
export const request = (server: Server) => (name: Name, callers: number): Entrant => {
  const open = served(server, name, 64)
  return {
    name,
    round: async (jobs) => {
      const { client, worker } = await open()
      await worker.report()
      let times: ReadonlyArray<number> = []
      const lap = await measured(server, jobs, async () => {
        times = await client.request(jobs, callers)
      })
      const { cpuMicros } = await worker.report()
      return {
        ...lap,
        "worker µs": cpuMicros / jobs,
        "p50 ms": quantile(times, 0.5),
        "p99 ms": quantile(times, 0.99)
      }
    }
  }
}

/** ms between two enqueues: the queue is idle again by then. */
const spacing = 2

/** From the call of enqueue to the start of the handler in another process. */
export const latency = (server: Server) => (name: Name): Entrant => {
  const open = served(server, name, 64)
  return {
    name,
    round: async (jobs) => {
      const { client, worker } = await open()
      await worker.report()
      for (let i = 0; i < jobs; i++) {
        await client.stamped()
        await sleep(spacing)
      }
      await sleep(100)
      const { starts } = await worker.report()
      // µs, both by the clock of the machine
      const times = starts.map(({ amount, at }) => (at - amount) / 1e3)
      return { "p50 ms": quantile(times, 0.5), "p90 ms": quantile(times, 0.9), "p99 ms": quantile(times, 0.99) }
    }
  }
}

/** ms over which jobs are due. */
const spread = 4_000

/** Due over 4 s, from 1 s on. Lateness: start of the handler in another process minus due time. */
export const lateness = (server: Server) => (name: Name): Entrant => {
  const open = served(server, name, 64)
  return {
    name,
    round: async (jobs) => {
      const { client, worker } = await open()
      await worker.report()
      const first = Date.now() + 1_000
      // a fixed shuffle: due times do not come in order
      const dues = Array.from({ length: jobs }, (_, i) => first + Math.floor(((i * 7_919) % jobs) * spread / jobs))
      for (let sent = 0; sent < jobs; sent += chunk) await client.delayed(dues.slice(sent, sent + chunk))
      const times: Array<number> = []
      // not before all are due: a report is a full collection in the worker, which would make jobs late
      await sleep(first + spread + 500 - Date.now())
      while (times.length < jobs && Date.now() < first + 30_000) {
        await sleep(500)
        for (const { amount, wallAt } of (await worker.report()).starts) times.push(wallAt - amount)
      }
      return {
        "p50 ms": quantile(times, 0.5),
        "p99 ms": quantile(times, 0.99),
        "max ms": Math.max(...times),
        early: times.filter((time) => time < 0).length,
        missing: jobs - times.length
      }
    }
  }
}

/** What a job takes in Redis while it waits, over its payload. */
export const waitingBytes = (server: Server) => (name: Name): Entrant => ({
  name,
  round: async (jobs) => {
    const client = await systemOf(name).client(await target(server))
    await server.empty()
    await client.bulk(1)
    const before = await server.memory()
    await fill(client, jobs)
    const bytes = (await server.memory() - before) / jobs
    await client.close()
    await server.empty()
    return { "B/job": bytes - JSON.stringify(payload(0)).length }
  }
})

/** ms for which the server is watched. */
const watched = 5_000

/** Jobs in the hands of one worker that does nothing: what heartbeats and the search for dead workers cost. */
export const inFlightCost = (server: Server) => (name: Name): Entrant => ({
  name,
  round: async (jobs) => {
    const where = await target(server)
    const client = await systemOf(name).client(where)
    await fill(client, jobs)
    await client.close()
    const worker = await startWorker({ ...where, system: name, concurrency: jobs, stuck: true })
    let starts = 0
    while (starts < jobs) {
      await sleep(200)
      starts += (await worker.report()).started
    }
    let seconds = 0
    const durations = await server.slow(500, async () => {
      const before = await server.cpuSeconds()
      await sleep(watched)
      seconds = await server.cpuSeconds() - before
    })
    const { cpuMicros } = await worker.report()
    worker.kill()
    await server.empty()
    return {
      [`${server.name} ms/s`]: seconds * 1e3 / (watched / 1e3),
      "longest ms": Math.max(0, ...durations) / 1e3,
      "worker ms/s": cpuMicros / watched
    }
  }
})
