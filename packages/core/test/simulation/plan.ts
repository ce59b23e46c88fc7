/**
 * A history as it is meant to go, drawn from a seed: who takes part, what is
 * enqueued, and what goes wrong when.
 */
import type { Network } from "./link.ts"
import type { Prng } from "./prng.ts"
import { byTag, type Step, type Tag, tags } from "./tasks.ts"

export interface JobPlan {
  readonly n: number
  readonly unique: string
  readonly key: string | undefined
  readonly id: string | undefined
  /** ms. */
  readonly delay: number
  /** Due at a time by the broker's clock instead of after a delay. */
  readonly absolute: boolean
  readonly priority: "low" | "normal" | "high"
  /** ms. */
  readonly expiresIn: number | undefined
  /** One per run; the last one repeats. */
  readonly steps: ReadonlyArray<Step>
  /** The payload does not fit the schema. */
  readonly undecodable: boolean
  readonly awaited: boolean
}

export interface WorkerPlan {
  readonly id: string
  readonly concurrency: number
  readonly prefetch: number
  /** ms. */
  readonly lease: number
  readonly gracePeriod: number
  readonly skew: number
  /** The tasks of the queue `b`, too. */
  readonly bothQueues: boolean
  /** An old version does not know every task. */
  readonly old: boolean
}

export type Action =
  | { readonly _tag: "Enqueue"; readonly client: number; readonly task: Tag; readonly jobs: ReadonlyArray<JobPlan> }
  | { readonly _tag: "Cancel"; readonly client: number; readonly n: number }
  | {
    readonly _tag: "Reschedule"
    readonly client: number
    readonly n: number
    /** ms. */
    readonly delay: number
    readonly absolute: boolean
  }
  | { readonly _tag: "Unschedule"; readonly client: number; readonly n: number }
  | { readonly _tag: "Kill"; readonly worker: number; readonly noticed: "at once" | "later" | "never" }
  | { readonly _tag: "Stop"; readonly worker: number; readonly now: boolean }
  | { readonly _tag: "Freeze"; readonly worker: number; readonly milliseconds: number }
  | { readonly _tag: "CutOff"; readonly worker: number; readonly milliseconds: number }
  | { readonly _tag: "CutOffClient"; readonly client: number; readonly milliseconds: number }
  | { readonly _tag: "KillClient"; readonly client: number }
  | { readonly _tag: "Stall"; readonly milliseconds: number }
  | { readonly _tag: "Pause"; readonly queue: string; readonly milliseconds: number }
  | { readonly _tag: "Purge"; readonly queue: string }
  | { readonly _tag: "Replay"; readonly queue: string }

export interface Plan {
  /** ms until all faults end. */
  readonly duration: number
  readonly network: Network
  readonly maxDeliveries: number
  /** ms. */
  readonly unknownTaskTimeout: number
  /** Handlers at once of one task in one worker. */
  readonly limits: Readonly<Partial<Record<Tag, number>>>
  readonly signed: boolean
  readonly listener: boolean
  readonly clients: number
  readonly workers: ReadonlyArray<WorkerPlan>
  /** By time (ms). */
  readonly actions: ReadonlyArray<{ readonly at: number; readonly action: Action }>
}

const endings: Readonly<Record<Step["ends"], number>> = {
  succeeds: 10,
  fails: 5,
  dies: 2,
  retriesAfter: 2,
  snoozes: 3,
  discards: 1,
  hangs: 1,
  kills: 0.7,
  isBad: 0.3
}

type Weights = Readonly<Record<Step["ends"], number>>

const step = (random: Prng, weights: Weights, features: Features): Step => {
  const { fenced, lease } = features
  const ends = random.weighted(weights)
  const length = random.weighted({ none: 2, short: 3, medium: 5, long: 2 })
  const lasts = length === "none"
    ? 0
    : length === "short"
    ? random.int(1, 50)
    : length === "medium"
    ? random.int(50, 1_500)
    : random.int(lease, 4 * lease)
  return {
    lasts: snap(lasts, features),
    ends,
    // a snooze of nothing would spin within one instant
    delay: snap(random.pick([ends === "snoozes" ? 100 : 0, random.int(50, 300), random.int(300, 4_000)]), features),
    cleanup: random.chance(0.2) ? random.int(1, 800) : 0,
    fenced: random.chance(fenced)
  }
}

const job = (random: Prng, n: number, task: Tag, weights: Weights, features: Features): JobPlan => {
  const count = random.weighted({ one: 5, two: 3, many: 2 })
  const steps = Array.from(
    { length: count === "one" ? 1 : count === "two" ? 2 : random.int(3, 6) },
    () => step(random, weights, features)
  )
  // most scripts end well
  if (random.chance(0.7)) steps.push({ ...steps[0]!, ends: "succeeds", lasts: random.int(0, 100) })
  return {
    n,
    unique: `u${random.int(0, 3)}`,
    key: features.keys && random.chance(features.keyed) ? `k${random.int(0, features.keyCount - 1)}` : undefined,
    id: random.chance(0.1) ? `own-${random.int(0, 5)}` : undefined,
    delay: features.delays && random.chance(0.3) ? snap(random.int(1, 8_000), features) : 0,
    absolute: random.chance(0.3),
    priority: features.priorities ? random.pick(["low", "normal", "high"] as const) : "normal",
    expiresIn: features.expiries && random.chance(0.2) ? snap(random.int(1, 6_000), features) : undefined,
    steps,
    undecodable: features.badPayloads && random.chance(0.05),
    awaited: random.chance(0.5)
  }
}

/** Every history uses some features only: rare ones meet each other more often that way. */
interface Features {
  readonly lease: number
  readonly keys: boolean
  readonly keyed: number
  readonly keyCount: number
  readonly delays: boolean
  readonly priorities: boolean
  readonly expiries: boolean
  readonly late: boolean
  readonly badPayloads: boolean
  readonly fenced: number
  /** ms that all times are multiples of: on a coarse grid things happen at once. */
  readonly grid: number
}

const snap = (milliseconds: number, { grid }: Features): number => Math.ceil(milliseconds / grid) * grid

const draw = (random: Prng): Features => ({
  lease: random.pick([1_000, 1_000, 2_000, 3_000]),
  keys: random.chance(0.7),
  keyed: random.pick([0.3, 0.9]),
  keyCount: random.pick([1, 2, 4]),
  delays: random.chance(0.7),
  priorities: random.chance(0.5),
  expiries: random.chance(0.5),
  late: random.chance(0.3),
  badPayloads: random.chance(0.3),
  fenced: random.pick([0, 0.1, 1]),
  grid: random.chance(0.4) ? 100 : 1
})

const worker = (random: Prng, id: string, features: Features): WorkerPlan => ({
  id,
  concurrency: random.pick([1, 2, 4, 8]),
  prefetch: random.pick([0, 1, 4, 8]),
  lease: features.lease * (random.chance(0.15) ? 2 : 1),
  gracePeriod: random.pick([0, 500, 3_000]),
  skew: random.chance(0.3) ? random.int(-3_600_000, 3_600_000) : 0,
  bothQueues: random.chance(0.6),
  old: features.late && random.chance(0.5)
})

const network = (random: Prng): Network => {
  const bad = random.weighted({ none: 4, some: 4, many: 2 })
  const p = bad === "none" ? 0 : bad === "some" ? 0.01 : 0.05
  return {
    latency: random.pick([0, 0, 5, 40]),
    loseRequest: random.chance(0.7) ? p : 0,
    loseReply: random.chance(0.7) ? p : 0,
    repeat: random.chance(0.7) ? 2 * p : 0,
    losePush: random.chance(0.3) ? 0.5 : 0
  }
}

export const make = (random: Prng): Plan => {
  const features = draw(random.fork("features"))
  const { lease } = features
  const duration = random.int(6, 25) * 1_000
  const clients = random.int(1, 2)
  const workers = Array.from({ length: random.int(1, 4) }, (_, i) => worker(random, `w${i + 1}`, features))
  const weights: Record<Step["ends"], number> = { ...endings }
  // some histories are about one kind of ending
  for (const ending of Object.keys(weights) as Array<Step["ends"]>) {
    if (ending !== "succeeds" && random.chance(0.4)) weights[ending] = 0
  }
  const actions: Array<{ at: number; action: Action }> = []
  const add = (at: number, action: Action) => actions.push({ at: snap(Math.floor(at), features), action })

  const jobs = random.fork("jobs")
  const count = jobs.pick([5, 15, 30, 50])
  const enqueuedAt: Array<number> = []
  /** Jobs with a delay (ms). */
  const waiting: Array<readonly [n: number, delay: number]> = []
  for (let n = 0; n < count;) {
    const size = jobs.chance(0.2) ? Math.min(jobs.int(2, 6), count - n) : 1
    const task = jobs.pick(tags.filter((tag) => features.late || tag !== "Late"))
    const batch = Array.from({ length: size }, (_, i) => job(jobs, n + i, task, weights, features))
    const at = jobs.float() * duration * 0.8
    add(at, { _tag: "Enqueue", client: jobs.int(0, clients - 1), task, jobs: batch })
    for (const { delay, n } of batch) if (delay > 0) waiting.push([n, delay])
    for (; n < batch[0]!.n + size; n++) enqueuedAt.push(at)
  }

  const faults = random.fork("faults")
  const times = (most: number, chance: number, make: () => Action) => {
    if (!faults.chance(chance)) return
    for (let left = faults.int(1, most); left > 0; left--) add(faults.float() * duration, make())
  }
  const cancels = faults.chance(0.5) ? faults.int(1, 8) : 0
  for (let left = cancels; left > 0; left--) {
    const n = faults.int(0, count - 1)
    const later = faults.pick([faults.int(0, 50), faults.int(50, 2_000), faults.int(2_000, 8_000)])
    add(enqueuedAt[n]! + later, { _tag: "Cancel", client: faults.int(0, clients - 1), n })
  }
  const moves = random.fork("moves")
  for (let left = moves.chance(0.5) ? moves.int(1, 12) : 0; left > 0; left--) {
    const [n, delayed] = waiting.length > 0 && moves.chance(0.7)
      ? moves.pick(waiting)
      : [moves.int(0, count - 1), moves.int(0, 4_000)] as const
    // while it waits, and about the time at which it does no longer
    const later = moves.pick([moves.int(0, delayed), moves.int(0, 2_000), delayed + moves.int(-20, 20)])
    const at = enqueuedAt[n]! + Math.max(0, later)
    for (let callers = moves.chance(0.3) ? 2 : 1; callers > 0; callers--) {
      const client = moves.int(0, clients - 1)
      const delay = snap(moves.pick([0, moves.int(1, 50), moves.int(50, 2_000), moves.int(2_000, 9_000)]), features)
      if (moves.chance(0.2)) add(at, { _tag: "Unschedule", client, n })
      else add(at, { _tag: "Reschedule", client, n, delay, absolute: moves.chance(0.5) })
    }
  }
  const anyWorker = () => faults.int(0, workers.length - 1)
  const anyClient = () => faults.int(0, clients - 1)
  const anyQueue = () => faults.pick(["a", "b"])
  const aboutALease = () => faults.pick([faults.int(1, lease), faults.int(lease, 3 * lease)])
  times(8, 0.6, () => ({
    _tag: "Kill",
    worker: anyWorker(),
    noticed: faults.pick(["at once", "later", "never"] as const)
  }))
  times(5, 0.4, () => ({ _tag: "Stop", worker: anyWorker(), now: faults.chance(0.3) }))
  times(5, 0.35, () => ({ _tag: "Freeze", worker: anyWorker(), milliseconds: aboutALease() }))
  times(5, 0.35, () => ({ _tag: "CutOff", worker: anyWorker(), milliseconds: aboutALease() }))
  times(2, 0.2, () => ({ _tag: "CutOffClient", client: anyClient(), milliseconds: aboutALease() }))
  times(1, 0.1, () => ({ _tag: "KillClient", client: anyClient() }))
  times(2, 0.25, () => ({ _tag: "Stall", milliseconds: aboutALease() }))
  times(2, 0.2, () => ({ _tag: "Pause", queue: anyQueue(), milliseconds: faults.int(1, 5_000) }))
  times(1, 0.1, () => ({ _tag: "Purge", queue: anyQueue() }))
  times(3, 0.2, () => ({ _tag: "Replay", queue: anyQueue() }))
  return {
    duration,
    network: network(random.fork("network")),
    maxDeliveries: random.pick([3, 5]),
    unknownTaskTimeout: random.pick([5_000, 30_000]),
    limits: random.fork("limits").pick([{}, {}, { Plain: 1 }, { Slow: 1, Timed: 2 }]),
    signed: random.chance(0.2),
    listener: random.chance(0.2),
    clients,
    workers,
    actions: actions.sort((a, b) => a.at - b.at)
  }
}

/** The tasks that a version of a worker serves. */
export const tasksOf = (plan: WorkerPlan, healed: boolean): ReadonlyArray<Tag> =>
  tags.filter((tag) =>
    (healed || plan.bothQueues || byTag[tag].queue === "a") && (healed || !plan.old || tag !== "Late")
  )
