/**
 * The texts of schedules: what they mean, told by who made them, and what is no
 * schedule at all.
 */
import * as Cron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import { assert, test } from "vitest"
import * as CronJob from "../../src/CronJob.ts"
import * as Schedule from "../../src/internal/cron/schedule.ts"
import { combine, field, kinds, schedule, seeded } from "./random.ts"

const start = Date.parse("2026-01-01")

const ticks = (next: Schedule.Next, count: number) => {
  const found: Array<number | undefined> = []
  for (let at: number | undefined = start; found.length < count && at !== undefined;) {
    at = next(at)
    found.push(at)
  }
  return found
}

const of = (...expressions: ReadonlyArray<string | Cron.Cron>) => {
  const [first, ...others] = expressions.map((one) => Schedule.expression(one, "UTC", undefined))
  return Schedule.compile({ _tag: "Cron", expressions: [first!, ...others] })
}

const star = { text: "*", values: new Set<number>(), star: true }

test("each field allows what its text says, in any spelling", () => {
  const random = seeded(1)
  for (let count = 0; count < 3_000; count++) {
    const [name, kind] = Object.entries(kinds)[count % 6]!
    const { text, values } = field(random, kind)
    const position = Object.keys(kinds).indexOf(name)
    const expression = ["*", "*", "*", "*", "*", "*"].with(position, text).join(random() < 0.5 ? " " : "  \t")
    const cron = Cron.parseUnsafe(random() < 0.2 ? ` ${expression}\n` : expression)
    const parsed = [cron.seconds, cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays][position]!
    // a field that allows everything says nothing
    const everything = kind.most - kind.least + 1
    assert.deepStrictEqual(
      [...parsed],
      parsed.size === 0 && values.size === everything ? [] : [...values].sort((a, b) => a - b),
      text
    )
  }
})

test("what is written into the broker means the same as what was read", () => {
  const random = seeded(2)
  for (let count = 0; count < 100; count++) {
    const { text } = schedule(random)
    const direct = ticks(of(text), 5)
    const cron = Cron.parseUnsafe(text, "UTC")
    assert.deepStrictEqual(ticks(of(cron), 5), direct, text)
    const written = JSON.parse(JSON.stringify(Schedule.expression(cron, "UTC", undefined)))
    assert.deepStrictEqual(ticks(Schedule.compile({ _tag: "Cron", expressions: [written] }), 5), direct, text)
  }
})

test("two days: one is enough, unless a star says that both must match", () => {
  const day = (text: string, ...values: ReadonlyArray<number>) => ({
    text,
    values: new Set(values),
    star: text.startsWith("*")
  })
  const midnight = [day("0", 0), day("0", 0)] as const
  const either = combine(...midnight, day("13", 13), star, day("fri", 5))
  assert.isFalse(either.fields.both)
  assert.deepStrictEqual(
    ticks(of(either.text), 4).map((at) => new Date(at!).getUTCDate()),
    [2, 9, 13, 16]
  )
  assert.deepStrictEqual(
    ticks(of("0 0 */13 * fri"), 3).map((at) => new Date(at!).toISOString().slice(0, 10)),
    ["2026-02-27", "2026-03-27", "2026-05-01"]
  )
})

test("names stand for schedules, and several expressions are one", () => {
  const same = [
    ["@hourly", "0 * * * *"],
    ["@Daily", "0 0 * * *"],
    ["@weekly", "0 0 * * sun"],
    ["@monthly", "0 0 1 * *"],
    [
      "@yearly",
      "0 0 1 jan *"
    ],
    ["@midnight", "0 0 0 * * *"],
    ["@minutely", "* * * * *"]
  ] as const
  for (const [name, text] of same) assert.deepStrictEqual(ticks(of(name), 3), ticks(of(text), 3), name)
  const both = ticks(of("0 9 * * *", "30 17 * * *", "0 9 * * *"), 4)
  assert.deepStrictEqual(both.map((at) => new Date(at!).toISOString().slice(11, 16)), [
    "09:00",
    "17:30",
    "09:00",
    "17:30"
  ])
})

test("sub-daily schedules go on by the hour when the clock is set back, daily ones do not repeat", () => {
  const policy = (text: string) => Schedule.expression(text, "Europe/Berlin", undefined).onDstOverlap
  assert.deepStrictEqual(["30 2 * * *", "*/5 2 * * *", "@daily"].map(policy), ["earlier", "earlier", "earlier"])
  assert.deepStrictEqual(["*/5 * * * *", "0 */2 * * *", "@hourly"].map(policy), ["both", "both", "both"])
  const own = Cron.parseUnsafe("0 * * * *", "Europe/Berlin", { onDstOverlap: "later" })
  assert.deepInclude(Schedule.expression(own, "UTC", undefined), { timezone: "Europe/Berlin", onDstOverlap: "later" })
  const offset = Cron.parseUnsafe("0 * * * *", DateTime.zoneMakeOffset(3_600_000))
  assert.strictEqual(Schedule.expression(offset, "UTC", undefined).timezone, "+01:00")
})

const task = undefined as never

test.each(
  [
    [{ cron: "60 * * * *" }, `"60 * * * *" ("60"): Expected a value between 0 and 59`],
    [{ cron: "* * * *" }, "Invalid number of segments"],
    [{ cron: "* * * * * * *" }, "Invalid number of segments"],
    [{ cron: "" }, "Invalid number of segments"],
    [{ cron: "*/0 * * * *" }, "greater than 0"],
    [{ cron: "5-1 * * * *" }, "Invalid value range"],
    [{ cron: "1.5 * * * *" }, "Expected a positive integer"],
    [{ cron: "? * * * *" }, "Expected a positive integer"],
    [{ cron: "@never" }, `"@never" is not known: use @yearly`],
    [{ cron: "0 0 30 2 *" }, "never comes"],
    [{ cron: "@yearly", startAt: 0, endAt: -1 }, "never comes"],
    [{ cron: "@hourly", timezone: "Mars/Olympus" }, `time zone "Mars/Olympus" is not known`],
    [{ cron: [] as never }, "must not be an empty list"],
    [{ cron: 5 as never }, "cron must be a text or a Cron"],
    [{ cron: "@hourly", every: "1 hour" } as never, "give one of cron and every"],
    [{} as never, "give one of cron and every"],
    [{ every: 99 }, "every must be a finite duration of at least 100 ms"],
    [{ every: "Infinity" }, "every must be a finite duration"],
    [{ cron: "@hourly", lockTtl: 1 }, "lockTtl must be a finite duration of at least 100 ms"],
    [{ cron: "@hourly", jitter: -1 }, "jitter must be"],
    [{ cron: "@hourly", limit: 0 }, "limit must be a whole number from 1"],
    [{ cron: "@hourly", history: { count: 1_001 } }, "history.count must be a whole number from 1 to 1000"],
    [{ cron: "@hourly", overlap: "never" as never }, "overlap must be one of skip, allow, queue"],
    [{ cron: "@hourly", missed: "some" as never }, "missed must be one of skip, latest, all"],
    [{ cron: "@hourly", startAt: Number.NaN }, "startAt must be a valid time"]
  ] satisfies ReadonlyArray<readonly [CronJob.CronOptions, string]>
)("%o is no job", (options, message) => {
  assert.throws(() => CronJob.make("name", { ...options, task, payload: undefined } as never), message)
})

test("a name is a text that brokers can keep", () => {
  for (const name of ["", "x".repeat(257), "\ud800"]) {
    assert.throws(() => CronJob.make(name, { cron: "@hourly", execute: task }), CronJob.InvalidCronJob)
  }
})
