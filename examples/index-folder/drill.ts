/**
 * Kills a worker half-way and gives an account of what that did: nothing here
 * is assumed, every number is counted.
 */
import * as Client from "@troupe/core/Client"
import type { Job } from "@troupe/core/Job"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { collect } from "./collect.ts"
import type { Crew, WorkerProcess } from "./crew.ts"
import * as Format from "./format.ts"
import * as Journal from "./journal.ts"
import { Ledger } from "./ledger.ts"
import { Output } from "./output.ts"
import { type Listing, queue, type Report, type Unreadable } from "./tasks.ts"
import { Totals } from "./totals.ts"

/** What was enqueued here; everything else follows from the root. */
export interface Jobs {
  readonly root: Job<Listing, Unreadable>
  readonly report: Job<Report, never>
}

interface Crash {
  readonly victim: WorkerProcess
  /** ms since the epoch. */
  readonly killedAt: number
}

/** ms between two looks at the queue. */
const glance = 10

/** So many jobs wait only while folders are being listed. */
const crowd = 1_500

/** Starts of the victim to look at: it runs no more at once. */
const recent = 64

/** Whether the victim, which stands still, runs a job. */
const isBusy = Effect.fnUntraced(function*({ name }: WorkerProcess, directory: string) {
  const client = yield* Client.Client
  const isRunning = (id: string) =>
    client.job(queue, id).status.pipe(
      Effect.map((state) => state === "running"),
      Effect.catchTag("JobNotFound", () => Effect.succeed(false))
    )
  const starts = (yield* Journal.read(directory)).filter(({ worker }) => worker === name).slice(-recent)
  const running = yield* Effect.filter(starts, ({ id }) => isRunning(id), { concurrency: "unbounded" })
  // once more: what it had sent before it stood still may have come after the first look
  return (yield* Effect.forEach(running, ({ id }) => isRunning(id))).includes(true)
})

/**
 * Waits until half of the jobs are over, and kills the worker while it runs one.
 * `undefined`: all were over before.
 */
const strike = Effect.fnUntraced(function*(crew: Crew, ledger: Ledger, directory: string) {
  const { redraw, write } = yield* Output
  const victim = crew.workers[0]!
  let peak = 0
  while (true) {
    const { total } = ledger
    const { queued, running, scheduled } = yield* JobQueue.stats(queue)
    const left = queued + running + scheduled
    peak = Math.max(peak, left)
    if (left === 0 && total !== undefined) return undefined
    // the ledger may know of all folders too late; a queue that once was long says so, too
    const half = total ?? (peak > crowd ? peak : 0)
    if (left > 0 && left <= half / 2) {
      // from here on it does nothing any more, if it is to die
      const now = yield* Clock.currentTimeMillis
      const killedAt = yield* victim.whileStopped(Effect.gen(function*() {
        if (!(yield* isBusy(victim, directory))) return undefined
        yield* victim.kill
        return now
      }))
      if (killedAt !== undefined) {
        yield* redraw("")
        yield* write(
          `kill -9 ${victim.pid}: ${victim.name} of ${crew.workers.length} is dead, ` +
            `${Format.count(left)} of ${Format.count(half)} jobs were left\n`
        )
        const crash: Crash = { victim, killedAt }
        return crash
      }
    }
    yield* Effect.sleep(glance)
  }
})

/** What the journals say of a crash. */
const recovery = ({ killedAt, victim }: Crash, starts: ReadonlyArray<Journal.Start>) => {
  const runs = new Map<string, number>()
  const back = new Map<string, number>()
  const held = new Set<string>()
  for (const { attempt, id, worker } of starts) {
    const run = `${id} ${attempt}`
    runs.set(run, (runs.get(run) ?? 0) + 1)
    if (worker === victim.name) held.add(run)
  }
  for (const { at, attempt, deliveries, id, worker } of starts) {
    // run by the dead worker, or only fetched: the broker has handed it out before
    const wasHeld = deliveries > 1 || held.has(`${id} ${attempt}`)
    if (worker !== victim.name && wasHeld && at >= killedAt) back.set(id, Math.min(back.get(id) ?? at, at))
  }
  return {
    /** Jobs that had more than one start of the same attempt. */
    repeated: [...runs.values()].filter((count) => count > 1).length,
    /** Jobs that the dead worker held and another one started. */
    recovered: back.size,
    /** ms from the kill to the last of these starts. */
    time: Math.max(killedAt, ...back.values()) - killedAt
  }
}

export interface Account {
  readonly lost: number
  /** One line. */
  readonly text: string
}

const render = (ledger: Ledger, crash: Crash, starts: ReadonlyArray<Journal.Start>): string => {
  const { accepted, finished, lost } = ledger.counts
  const { recovered, repeated, time } = recovery(crash, starts)
  return [
    `accepted ${Format.count(accepted)}`,
    `finished ${Format.count(finished)}`,
    `repeated ${Format.count(repeated)}`,
    `lost ${Format.count(lost)}`,
    `recovery time ${Format.seconds(time)} ` +
    `until the last of ${Format.count(recovered)} jobs of ${crash.victim.name} had started elsewhere`
  ].join(", ")
}

/** Follows all jobs from here, kills a worker half-way, and waits for the end of every job. */
export const run = Effect.fnUntraced(function*(crew: Crew, { report, root }: Jobs, directory: string) {
  const ledger = new Ledger([root.id, report.id])
  const striking = yield* Effect.forkScoped(strike(crew, ledger, directory))
  const reported = report.awaitRecord.pipe(
    Effect.map(() => ledger.finished(report.id)),
    Effect.catchTag("JobNotFound", () => Effect.sync(() => ledger.lost(report.id)))
  )
  yield* Effect.all([collect(root.id, new Totals((path) => path), ledger), reported], { concurrency: "unbounded" })
  const crash = yield* Fiber.join(striking)
  const { accepted, finished, lost } = ledger.counts
  const account: Account = {
    lost,
    text: crash === undefined
      ? `accepted ${Format.count(accepted)}, finished ${Format.count(finished)}, lost ${Format.count(lost)}: ` +
        `all was over before a worker could be killed`
      : render(ledger, crash, yield* Journal.read(directory))
  }
  return account
})
