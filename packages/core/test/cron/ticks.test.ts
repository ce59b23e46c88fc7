/** Which ticks are due, and which were missed. */
import { assert, test } from "vitest"
import * as Schedule from "../../src/internal/cron/schedule.ts"
import * as Ticks from "../../src/internal/cron/ticks.ts"

const minute = 60_000
const hour = 60 * minute
const every = (ms: number) => Schedule.compile({ _tag: "Every", every: ms, anchor: 0 })
const minutely = every(minute)

const due = (missed: Ticks.Missed, cursor: number, now: number, window = hour, next = minutely) =>
  Ticks.due(next, { missed, window }, cursor, now)

test("nothing is due before the next tick", () => {
  assert.isUndefined(due("all", 0, minute - 1))
})

test("a tick on time runs, whatever the policy", () => {
  for (const missed of ["skip", "latest", "all"] as const) {
    assert.deepStrictEqual(due(missed, 0, minute), { run: [minute], missed: undefined, cursor: minute })
    assert.deepStrictEqual(due(missed, 30, minute + 59_999)?.run, [minute])
  }
})

test("after a downtime: none that is late, the last, or each", () => {
  const now = 5 * hour + 90_000
  const all = [1, 2, 3, 4, 5].map((n) => n * hour)
  const of = (missed: Ticks.Missed, window: number) => due(missed, 0, now, window, every(hour))
  assert.deepStrictEqual(of("skip", 24 * hour), {
    run: [],
    missed: { count: 5, first: hour, last: 5 * hour },
    cursor: 5 * hour
  })
  assert.deepStrictEqual(of("latest", 24 * hour), {
    run: [5 * hour],
    missed: { count: 4, first: hour, last: 4 * hour },
    cursor: 5 * hour
  })
  assert.deepStrictEqual(of("all", 24 * hour), { run: all, missed: undefined, cursor: 5 * hour })
  assert.deepStrictEqual(of("all", 2 * hour), {
    run: all.slice(3),
    missed: { count: 3, first: hour, last: 3 * hour },
    cursor: 5 * hour
  })
  assert.deepStrictEqual(of("all", minute)?.run, [])
  assert.deepStrictEqual(of("latest", minute), {
    run: [],
    missed: { count: 5, first: hour, last: 5 * hour },
    cursor: 5 * hour
  })
})

test("who skips what was missed still runs a tick that is less than a minute late", () => {
  assert.deepStrictEqual(due("skip", 0, hour + Ticks.onTime, 24 * hour, every(hour))?.run, [hour])
  assert.deepStrictEqual(due("skip", 0, 3 * hour + Ticks.onTime, 24 * hour, every(hour))?.run, [3 * hour])
  assert.deepStrictEqual(due("skip", 0, hour + Ticks.onTime + 1, 24 * hour, every(hour))?.run, [])
})

test("very many missed ticks come in batches, without a gap", () => {
  const next = every(1_000)
  const now = 2.5 * Ticks.batch * 1_000
  const run: Array<number> = []
  for (let cursor = 0;;) {
    const found = due("all", cursor, now, 24 * hour, next)
    if (found === undefined) break
    assert.isAtMost(found.run.length, Ticks.batch)
    run.push(...found.run)
    cursor = found.cursor
  }
  assert.deepStrictEqual(run, Array.from({ length: 2.5 * Ticks.batch }, (_, index) => (index + 1) * 1_000))
})

test("the last of very many ticks is found at once", () => {
  const next = every(100)
  let asked = 0
  const counted = (after: number) => {
    asked++
    return next(after)
  }
  assert.strictEqual(Ticks.last(counted, 0, 365 * 24 * hour), 365 * 24 * hour)
  assert.isBelow(asked, 700)
  assert.strictEqual(Ticks.last(every(400 * 24 * hour), 0, 401 * 24 * hour), 400 * 24 * hour)
  assert.isUndefined(Ticks.last(every(400 * 24 * hour), 0, 399 * 24 * hour))
})

test("a schedule keeps within its start and its end", () => {
  const next = Ticks.within(minutely, { startAt: 3 * minute, endAt: 5 * minute })
  assert.deepStrictEqual(Ticks.between(next, 0, hour, 10), [3, 4, 5].map((n) => n * minute))
})

test("the jitter of a tick is the same everywhere, and spread evenly", () => {
  const values = Array.from({ length: 10_000 }, (_, index) => Ticks.jitter("name", index * minute, 1_000))
  assert.deepStrictEqual(values, values.map((_, index) => Ticks.jitter("name", index * minute, 1_000)))
  const buckets = Array.from(
    { length: 10 },
    (_, bucket) => values.filter((one) => Math.floor(one / 100) === bucket).length
  )
  for (const count of buckets) assert.isTrue(count > 800 && count < 1_200, `values by tenths: ${buckets.join(", ")}`)
  assert.notStrictEqual(Ticks.jitter("name", 0, 1e9), Ticks.jitter("other", 0, 1e9))
  assert.strictEqual(Ticks.jitter("name", 5, 0), 0)
})
