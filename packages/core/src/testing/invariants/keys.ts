/**
 * Jobs of one key run one at a time, in the order in which they became due; a
 * job without a key is alone with itself.
 */
import { type Life, ownedLease, type Run, type Sent } from "./history.ts"
import { type Report, type Settings, violation } from "./violation.ts"

interface RunOf {
  readonly job: Sent
  readonly run: Run
}

export const checkKeys = (lives: ReadonlyArray<Life>, settings: Settings, report: Report): void => {
  const byKey = new Map<string, Array<Life>>()
  for (const life of lives) {
    const { id, key, queue } = life.job
    const name = JSON.stringify(key === undefined ? [queue, "id", id] : [queue, "key", key])
    const group = byKey.get(name)
    if (group === undefined) byKey.set(name, [life])
    else group.push(life)
  }
  for (const group of byKey.values()) {
    checkOverlaps(group, report)
    if (group.length > 1) checkOrder(group, settings, report)
  }
}

/** Overlaps are told apart within one worker's time or between those that share a clock: no tolerance. */
const checkOverlaps = (group: ReadonlyArray<Life>, report: Report): void => {
  const runs: Array<RunOf> = group.flatMap((life) => life.runs.map((run) => ({ job: life.job, run })))
  // a run without length came first
  runs.sort((a, b) => a.run.startedAt - b.run.startedAt || (a.run.endedAt ?? Infinity) - (b.run.endedAt ?? Infinity))
  let active: Array<RunOf> = []
  for (const later of runs) {
    const at = later.run.startedAt
    active = active.filter(({ run }) => (run.endedAt ?? -Infinity) > at)
    for (const earlier of active) {
      if (!ownedLease(earlier.run, at) || !ownedLease(later.run, at)) continue
      const own = earlier.job.id === later.job.id
      report(violation(
        own ? "JobOverlap" : "KeyOverlap",
        later.job,
        at,
        `worker "${later.run.worker}" started it while worker "${earlier.run.worker}" still ran ` +
          `${own ? "it" : `job "${earlier.job.id}" of the same key "${later.job.key}"`}, from ` +
          `${earlier.run.startedAt} to ${earlier.run.endedAt}, and both had their leases`
      ))
    }
    active.push(later)
  }
}

const dueBy = (job: Sent): number => job.dueBy ?? job.dueAt

const checkOrder = (group: ReadonlyArray<Life>, { tolerance }: Settings, report: Report): void => {
  const started = group.flatMap(({ job, runs }) => {
    const own = runs.filter((run) => ownedLease(run, run.startedAt))
    const [first] = own
    return first === undefined ? [] : [{ job, first: first.startedAt, last: own[own.length - 1]!.startedAt }]
  })
  const byEarliest = [...started].sort((a, b) => a.job.dueAt - b.job.dueAt || a.job.order - b.job.order)
  const byLatest = [...started].sort((a, b) => dueBy(a.job) - dueBy(b.job) || a.job.order - b.job.order)
  let next = 0
  let slowest: typeof started[number] | undefined
  for (const one of byEarliest) {
    // whatever surely became due before it
    while (next < byLatest.length && isBefore(byLatest[next]!.job, one.job)) {
      const other = byLatest[next++]!
      if (slowest === undefined || other.last > slowest.last) slowest = other
    }
    if (slowest === undefined || slowest.last <= one.first + tolerance) continue
    report(violation(
      "KeyOrder",
      one.job,
      one.first,
      `it started although job "${slowest.job.id}" of the same key "${one.job.key}", due before it ` +
        `(${slowest.job.dueAt} and ${one.job.dueAt}), started at ${slowest.last} only`
    ))
  }
}

/** One that was handed out a little early, by clocks that differ, is not before itself. */
const isBefore = (a: Sent, b: Sent): boolean =>
  a !== b && (dueBy(a) < b.dueAt || (dueBy(a) === b.dueAt && a.order < b.order))
