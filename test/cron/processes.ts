/**
 * Schedulers, workers and holders of locks in processes of their own that really
 * die and really stand still, on any broker.
 */
import * as CronJob from "@troupe/core/CronJob"
import * as JobQueue from "@troupe/core/JobQueue"
import type { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as References from "effect/References"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import type { Report, Settings } from "./fixtures/settings.ts"
import { transports } from "./fixtures/transports.ts"

export interface Broker {
  readonly url: string
  readonly stop: () => Promise<void>
}

const program = fileURLToPath(new URL("fixtures/process.ts", import.meta.url))

class Process {
  readonly reports: Array<Report> = []
  readonly ready: Promise<void>
  private readonly child: ChildProcess

  constructor(settings: Settings, onReport: (report: Report) => void) {
    this.child = fork(program, [JSON.stringify(settings)], { execArgv: [] })
    this.ready = new Promise((resolve, reject) => {
      this.child.once("exit", (code) => reject(new Error(`process ${settings.id} ended with ${code}`)))
      this.child.on("message", (report: Report) => {
        if (report._tag === "Ready") return resolve()
        this.reports.push(report)
        onReport(report)
      })
    })
    // who does not wait for it is not interested
    this.ready.catch(() => {})
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal)
  }

  has(tag: Report["_tag"]): boolean {
    return this.reports.some(({ _tag }) => _tag === tag)
  }
}

/** What a lock guards: it refuses writes of a holder before the newest. */
class Resource {
  newest = 0
  /** The tokens of the writes that it took. */
  readonly accepted: Array<number> = []

  readonly write = (report: Report): void => {
    if (report._tag !== "Write" || report.token < this.newest) return
    this.newest = report.token
    this.accepted.push(report.token)
  }
}

const wait = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds))

/** ms of real time; a busy machine is slow. */
const patience = 60_000

const until = (isDone: () => boolean, what: string) =>
  expect.poll(isDone, { timeout: patience, interval: 20, message: what }).toBe(true)

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))]!

/** Declares the tests for one transport. */
export const suite = (transport: string, startBroker: () => Promise<Broker>): void => {
  let broker: Broker
  let count = 0
  let alive: Array<Process> = []

  beforeAll(async () => {
    broker = await startBroker()
  })
  afterEach(() => {
    for (const process of alive) process.signal("SIGKILL")
    alive = []
  })
  afterAll(() => broker.stop())

  const family = (settings: Pick<Settings, "every" | "duration" | "lockTtl" | "idleTimeout">) => {
    const name = `${transport}-${++count}`
    const resource = new Resource()
    let number = 0
    return {
      name,
      resource,
      start: (role: Settings["role"]): Process => {
        const id = `${role}-${++number}`
        const process = new Process({ ...settings, role, transport, url: broker.url, id, name }, resource.write)
        alive.push(process)
        return process
      }
    }
  }

  const ask = <A>(effect: Effect.Effect<A, unknown, Transport>): Promise<A> =>
    Effect.runPromise(
      Effect.scoped(effect).pipe(
        Effect.provide(transports[transport]!(broker.url)),
        Effect.provideService(References.MinimumLogLevel, "Error")
      )
    )

  const history = (name: string) => ask(Effect.map(CronJob.history(name, { limit: 1_000 }), ({ items }) => items))

  const startsOf = (workers: ReadonlyArray<Process>) =>
    workers.flatMap(({ reports }) => reports.filter((report) => report._tag === "Started"))

  test(
    "ten schedulers, some killed, some stopped, some late: each tick runs once, and the history is complete",
    async () => {
      const every = 500
      const { name, start } = family({ every, duration: 0, lockTtl: 10_000, idleTimeout: 15_000 })
      const workers = [start("worker"), start("worker")]
      const first = Array.from({ length: 7 }, () => start("scheduler"))
      await Promise.all([...workers, ...first].map(({ ready }) => ready))
      await until(() => startsOf(workers).length >= 4, "the first ticks")
      for (const process of first.slice(0, 2)) process.signal("SIGKILL")
      for (const process of first.slice(2, 5)) process.signal("SIGSTOP")
      await until(() => startsOf(workers).length >= 8, "ticks of those that are left")
      const late = Array.from({ length: 3 }, () => start("scheduler"))
      await Promise.all(late.map(({ ready }) => ready))
      // those that were stopped have missed many ticks
      await until(() => startsOf(workers).length >= 14, "ticks with the late ones")
      for (const process of first.slice(2, 5)) process.signal("SIGCONT")
      await until(() => startsOf(workers).length >= 24, "ticks of all")
      // nobody but the ones that stood still
      for (const process of [...first.slice(5), ...late]) process.signal("SIGKILL")
      await until(() => startsOf(workers).length >= 30, "ticks of those that stood still")
      for (const process of first) process.signal("SIGKILL")
      // what they had sent runs, and is told
      const inHand = Effect.map(JobQueue.stats(name), ({ queued, running, scheduled }) => queued + running + scheduled)
      await expect.poll(() => ask(inHand), { timeout: patience }).toBe(0)
      const completedNow = async () => (await history(name)).filter(({ status }) => status === "COMPLETED").length
      await expect.poll(async () => startsOf(workers).length - await completedNow(), { timeout: patience }).toBe(0)

      const runs = await history(name)
      const ticks = runs.map(({ tick }) => tick).toSorted((a, b) => a - b)
      const gaps = ticks.slice(1).map((tick, index) => tick - ticks[index]!)
      expect(new Set(gaps), "ms between the ticks of the history").toEqual(new Set([every]))
      const startedTicks = startsOf(workers).map(({ tick }) => tick)
      expect(new Set(startedTicks).size, "ticks that ran more than once").toBe(startedTicks.length)
      const completed = runs.filter(({ status }) => status === "COMPLETED")
      expect(completed.map(({ tick }) => tick).toSorted(), "what ran, and what the history says").toEqual(
        startedTicks.toSorted()
      )
      // ticks that came late may find the one before at work, on a busy machine
      expect(runs.filter(({ reason, status }) => status !== "COMPLETED" && reason !== "Overlap")).toEqual([])
      const lateness = startsOf(workers).map(({ at, tick }) => at - tick)
      expect(Math.min(...lateness), "ms by which a tick was early").toBeGreaterThan(-20)
      console.log(
        `${transport}: ${startedTicks.length} ticks, late by ${percentile(lateness, 0.5)} ms (half of them), ` +
          `${percentile(lateness, 0.9)} ms (90 %), at most ${Math.max(...lateness)} ms`
      )
    },
    300_000
  )

  test(
    "a worker that is stopped in its run for longer than its lock cannot take it back, and its write is refused",
    async () => {
      // a tick of the stop finds the lock held, and another the one of the repeat: both come before the lock is free
      const lockTtl = 5_000
      const { name, resource, start } = family({ every: 2_000, duration: 4_000, lockTtl, idleTimeout: 3_000 })
      const victim = start("worker")
      const scheduler = start("scheduler")
      await Promise.all([victim.ready, scheduler.ready])
      await until(() => victim.has("Write"), "the first run")
      victim.signal("SIGSTOP")
      const stopped = wait(lockTtl + 100)
      const other = start("worker")
      await until(() => other.has("Write"), "the repeat")
      await stopped
      victim.signal("SIGCONT")
      const [stale] = startsOf([victim])
      const [repeat] = startsOf([other])
      expect(repeat!.tick).toBe(stale!.tick)
      expect(repeat!.token).toBeGreaterThan(stale!.token)
      await until(() => startsOf([victim, other]).some(({ tick }) => tick !== stale!.tick), "the next run")
      scheduler.signal("SIGKILL")
      await expect.poll(async () => (await history(name)).every(({ status }) => status !== "RUNNING"), {
        timeout: patience
      }).toBe(true)
      // interrupted before it wrote again, or refused: never accepted
      expect(resource.accepted.filter((token) => token === stale!.token).length).toBe(1)
      const runs = await history(name)
      const ofTick = runs.filter(({ tick }) => tick === stale!.tick).map(({ reason, status }) => reason ?? status)
      expect([ofTick[0], ofTick.at(-1)]).toEqual(["COMPLETED", "WorkerLost"])
      // a machine that stands still for as long as a lease takes the repeat away, too: every start is told
      const starts = startsOf([victim, other]).filter(({ tick }) => tick === stale!.tick)
      expect(ofTick.length).toBeGreaterThanOrEqual(starts.length)
      // the one that woke up has not released the lock of the other: the next run waited for its end
      const ends = runs.filter(({ status, tick }) => status === "COMPLETED" && tick === stale!.tick)
      const next = runs.filter(({ tick, worker }) => tick !== stale!.tick && worker !== undefined)
      expect(next.length).toBeGreaterThan(0)
      for (const { startedAt } of next) expect(startedAt! + 50).toBeGreaterThan(ends[0]!.completedAt!)
    },
    180_000
  )

  test(
    "a holder that is stopped for longer than its ttl loses its lock: it can neither write, nor renew, nor release",
    async () => {
      // long enough for a busy machine: a holder that cannot renew it in time gives it up
      const { resource, start } = family({ every: 1_000, duration: 0, lockTtl: 3_000, idleTimeout: 3_000 })
      const stale = start("holder")
      await stale.ready
      await until(() => stale.has("Write"), "the first holder")
      const holder = start("holder")
      await holder.ready
      const token = resource.newest
      stale.signal("SIGSTOP")
      await until(() => holder.has("Write"), "the take-over")
      expect(resource.newest).toBeGreaterThan(token)
      const accepted = resource.newest
      stale.signal("SIGCONT")
      await until(() => stale.has("LockLost"), "the loss of the first holder")
      expect(resource.newest, "the token of the newest write").toBe(accepted)
      const third = start("holder")
      await third.ready
      // three renewals: none fails
      await wait(3_000)
      expect(third.has("Write"), "the stale holder released the lock of another").toBe(false)
      expect(holder.has("LockLost"), "the holder lost its lock to a stale one").toBe(false)
      holder.signal("SIGKILL")
      await until(() => third.has("Write"), "the third holder")
    },
    180_000
  )
}
