/**
 * Ticks against an oracle that knows nothing of the implementation: years of
 * them, minute by minute, in zones with all kinds of changes of the offset.
 */
import * as Cron from "effect/Cron"
import { assert, test } from "vitest"
import * as Schedule from "../../src/internal/cron/schedule.ts"
import { between } from "../../src/internal/cron/ticks.ts"
import { dueMoments, minutesOf } from "./oracle.ts"
import { schedule, seeded } from "./random.ts"

type Policy = "earlier" | "later" | "both"

const policies: ReadonlyArray<Policy> = ["earlier", "later", "both"]

const nextOf = (text: string, timezone: string, policy?: Policy) =>
  Schedule.compile({ _tag: "Cron", expressions: [Schedule.expression(text, timezone, policy)] })

const iso = (moments: ReadonlyArray<number>) => moments.map((at) => new Date(at).toISOString())

const day = 86_400_000

/** A time in each zone with one change or two, days away from both ends. */
const windows: ReadonlyArray<readonly [timezone: string, from: string, days: number]> = [
  // an hour, on Sundays at night
  ["Europe/Berlin", "2026-03-26", 6],
  ["Europe/Berlin", "2026-10-22", 6],
  ["America/New_York", "2026-03-05", 6],
  ["America/New_York", "2026-10-29", 6],
  // at midnight: a day without its first hour, and one that begins twice
  ["America/Havana", "2026-03-05", 6],
  ["America/Havana", "2026-10-29", 6],
  // half an hour
  ["Australia/Lord_Howe", "2026-04-02", 6],
  ["Australia/Lord_Howe", "2026-10-01", 6],
  // two hours
  ["Antarctica/Troll", "2026-03-26", 6],
  ["Antarctica/Troll", "2026-10-22", 6],
  // offsets that are no whole hours
  ["Asia/Kathmandu", "2026-01-10", 4],
  ["Pacific/Chatham", "2026-04-02", 6],
  ["Pacific/Chatham", "2026-09-24", 6],
  // for Ramadan, a month apart
  ["Africa/Casablanca", "2026-02-12", 6],
  ["Africa/Casablanca", "2026-03-19", 6],
  // three hours for good, and a day that was left out
  ["Antarctica/Casey", "2023-03-06", 6],
  ["Pacific/Apia", "2011-12-27", 6],
  ["UTC", "2028-02-26", 6]
]

test.each(windows)(
  "%s from %s: random schedules come as the oracle says",
  { timeout: 60_000 },
  (timezone, start, days) => {
    const random = seeded(start.length * 7_919 + timezone.length * 104_729 + days)
    const from = Date.parse(start)
    const to = from + days * day
    const minutes = minutesOf(timezone, from, to)
    for (let count = 0; count < 30; count++) {
      const { fields, text } = schedule(random)
      for (const policy of policies) {
        const expected = dueMoments(minutes, fields, policy)
        const actual = between(nextOf(text, timezone, policy), from - 1, to - 1, 100_000)
        // as texts only when they differ: there are very many
        if (String(actual) === String(expected)) continue
        assert.deepStrictEqual(iso(actual), iso(expected), `${text} in ${timezone}, ${policy}`)
      }
    }
  }
)

/** What schedules look like in practice. */
const usual = [
  ["*/15 * * * *", [0, 15, 30, 45], undefined],
  ["30 2 * * *", [30], [2]],
  ["0 0 * * *", [0], [0]],
  ["45 1,3 * * *", [45], [1, 3]]
] as const

const everything = (count: number, from = 0) => new Set(Array.from({ length: count }, (_, index) => from + index))

test.each(["Europe/Berlin", "Australia/Lord_Howe", "Africa/Casablanca"])(
  "three years of ticks in %s",
  (timezone) => {
    const from = Date.parse("2024-12-20")
    const to = Date.parse("2027-12-20")
    // all changes since 1970 are on a quarter of an hour
    const minutes = minutesOf(timezone, from, to, 15)
    for (const [text, minute, hours] of usual) {
      const fields = {
        minutes: new Set<number>(minute),
        hours: hours === undefined ? everything(24) : new Set<number>(hours),
        days: everything(31, 1),
        months: everything(12, 1),
        weekdays: everything(7),
        both: true
      }
      // the default: a schedule with several hours a day goes on by the hour
      const policy = hours?.length === 1 ? "earlier" : "both"
      const actual = between(nextOf(text, timezone), from - 1, to - 1, 1_000_000)
      assert.deepStrictEqual(actual, dueMoments(minutes, fields, policy, 15), `${text} in ${timezone}`)
    }
  },
  60_000
)

test("seconds: six fields come as the five of their minutes, second by second", () => {
  const random = seeded(5)
  for (let count = 0; count < 30; count++) {
    const { text } = schedule(random)
    const from = Date.parse("2026-10-24T20:00:00Z")
    const minutes = between(nextOf(text, "Europe/Berlin", "both"), from - 1, from + day / 4, 2_000)
    const seconds = between(nextOf(`7,*/20 ${text}`, "Europe/Berlin", "both"), from - 1, from + day / 4, 8_000)
    const expected = minutes.flatMap((at) => [0, 7, 20, 40].map((second) => at + second * 1_000))
    assert.deepStrictEqual(iso(seconds), iso(expected.filter((at) => at <= from + day / 4)), text)
  }
})

test("a tick does not depend on where the search begins", () => {
  const random = seeded(11)
  for (const timezone of ["Australia/Lord_Howe", "Europe/Berlin", "America/Havana"]) {
    for (let count = 0; count < 20; count++) {
      const next = nextOf(schedule(random).text, timezone, policies[count % 3])
      for (let at = next(Date.parse("2026-09-25")), steps = 0; at !== undefined && steps < 30; steps++) {
        const following: number | undefined = next(at)
        if (following === undefined) break
        const between = at + Math.floor(random() * (following - at))
        assert.strictEqual(next(between), following)
        assert.strictEqual(next(following - 1), following)
        at = following
      }
    }
  }
})

test("effect's own search misses a tick behind a gap of half an hour, ours does not", () => {
  const from = "2026-10-03T00:00:00Z"
  const text = "15,35 2 * * *"
  const timezone = "Australia/Lord_Howe"
  const effect = Cron.next(Cron.parseUnsafe(text, timezone), from)
  // the reason why there is a search of our own: it can go when this line fails
  assert.strictEqual(effect.toISOString(), "2026-10-03T15:45:00.000Z")
  assert.strictEqual(iso([nextOf(text, timezone)(Date.parse(from))!])[0], "2026-10-03T15:35:00.000Z")
})

test("rare days come, impossible ones never", () => {
  const start = Date.parse("2026-01-01")
  const first = (text: string) => {
    const at = nextOf(text, "UTC")(start)
    return at === undefined ? undefined : iso([at])[0]
  }
  assert.strictEqual(first("0 0 29 2 *"), "2028-02-29T00:00:00.000Z")
  // both days, because of the star: a leap day that is a Sunday
  assert.strictEqual(first("0 0 29 2 */7"), "2032-02-29T00:00:00.000Z")
  assert.strictEqual(first("0 0 31 4,6,9,11 *"), undefined)
  assert.strictEqual(first("0 0 30 2 *"), undefined)
  // across a century without a leap day
  const next = nextOf("0 0 29 2 *", "UTC")(Date.parse("2096-03-01"))!
  assert.strictEqual(iso([next])[0], "2104-02-29T00:00:00.000Z")
})
