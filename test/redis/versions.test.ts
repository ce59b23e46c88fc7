/**
 * Two releases of the package on one Redis at once: the present one, and
 * copies of it that are changed as a later release may be.
 */
import { Redis } from "ioredis"
import { readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"
import type { Answer, Spec, Started } from "./fixtures/protocol.ts"
import * as Release from "./fixtures/release.ts"

/** Every script has another text, and so another hash. */
const otherScripts: Release.Change = {
  file: "transport-redis/src/internal/lua.ts",
  from: "export const prelude = `\n",
  to: "export const prelude = `\n-- a later release\n"
}
/** Every envelope has a field that nobody knows yet. */
const addedField: ReadonlyArray<Release.Change> = [
  {
    file: "core/src/Envelope.ts",
    from: "    v: self.version,\n",
    to: "    v: self.version,\n    z: \"added\",\n"
  },
  { file: "core/src/Envelope.ts", from: "const usualVersion = 1\n", to: "const usualVersion = -1\n" }
]
/** The later release writes envelopes of version 2 and knows both. */
const nextVersion: ReadonlyArray<Release.Change> = [
  { file: "core/src/Envelope.ts", from: "export const version = 1\n", to: "export const version = 2\n" },
  { file: "core/src/Envelope.ts", from: "version === 1", to: "version === 1 || version === 2" }
]
const otherLayout: Release.Change = {
  file: "transport-redis/src/internal/keys.ts",
  from: "const layout = \"1\"",
  to: "const layout = \"2\""
}

let server: RedisServer
let redis: Redis
let minor: Release.Release
let major: Release.Release
let layout: Release.Release
beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
  minor = Release.make("minor", [otherScripts, ...addedField])
  major = Release.make("major", [otherScripts, ...addedField, ...nextVersion])
  layout = Release.make("layout", [otherScripts, otherLayout])
})
afterAll(async () => {
  redis.disconnect()
  for (const release of [minor, major, layout]) release.remove()
  await server.stop()
})

const nodes: Array<Release.Node> = []
/** Of the nodes of this test, in the order in which they came. */
let events: Array<Answer> = []
let count = 0
let queue = ""
/** The lease is longer than any machine stands still: nothing is handed out twice. */
const node = (release: Release.Release, id: string, lease = 15_000) => {
  const mine = events
  const one = new Release.Node(release, server.url, queue, id, lease, (event) => mine.push(event))
  nodes.push(one)
  return one
}
const begin = () => {
  queue = `versions-${++count}`
  events = []
}
afterEach(() => {
  for (const one of nodes.splice(0)) one.kill()
})

const key = (name: string) => `troupe:1:q:{${queue}}:${name}`
const started = () => events.filter((event): event is Started => event._tag === "Started")
const names = (specs: ReadonlyArray<Spec>) => specs.map(({ name }) => name)

/** Plain, delayed, failing, urgent and keyed jobs. */
const mixture = (prefix: string, size: number): ReadonlyArray<Spec> =>
  Array.from({ length: size }, (_, n): Spec => {
    const name = `${prefix}-${n}`
    switch (n % 5) {
      case 0:
        return { name, ms: 3 }
      case 1:
        return { name, delay: 20 + n }
      case 2:
        return { name, failures: 1 }
      case 3:
        return { name, priority: "high" }
      default:
        return { name, ms: 1, key: `key ${n % 3}` }
    }
  })

test(
  "workers and producers of both releases share one queue while scripts are flushed: each job ends once",
  async () => {
    begin()
    const [oldWorker, newWorker] = [node(Release.present, "old"), node(minor, "new")]
    const [oldProducer, newProducer] = [node(Release.present, "old producer"), node(minor, "new producer")]
    await Promise.all([oldWorker.work(), newWorker.work()])
    const specs = { old: mixture("old", 150), new: mixture("new", 150) }
    let flushing = true
    const flushes = (async () => {
      while (flushing) {
        await redis.script("FLUSH")
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    })()
    const enqueued = Promise.all([oldProducer.enqueue(...specs.old), newProducer.enqueue(...specs.new)])
    await enqueued
    // each waits for what the other one enqueued
    const awaited = Promise.all([newProducer.await(...names(specs.old)), oldProducer.await(...names(specs.new))])
    const ends = (await awaited).flat()
    flushing = false
    await flushes
    const all = [...names(specs.old), ...names(specs.new)]
    expect(ends.map((end) => end.replace(/ by .*/, ""))).toEqual(all)
    // no run is repeated, and both releases took part
    const runs = started().map(({ attempt, name }) => `${name} ${attempt}`)
    expect(new Set(runs).size).toBe(runs.length)
    expect(runs.length).toBe(all.length + 60)
    expect([...new Set(started().map(({ by }) => by))].sort()).toEqual(["new", "old"])
    // a key has one run at a time, whoever runs it
    for (const end of ["key 0", "key 1", "key 2"]) {
      const keyed = new Set([...specs.old, ...specs.new].filter((one) => one.key === end).map(({ name }) => name))
      const of = (tag: "Started" | "Ended") =>
        events.flatMap((event) => event._tag === tag && keyed.has(event.name) ? [event.at] : []).sort((x, y) => x - y)
      const [starts, stops] = [of("Started"), of("Ended")]
      expect(starts.length).toBe(keyed.size)
      starts.slice(1).forEach((at, n) => expect(at).toBeGreaterThanOrEqual(stops[n]!))
    }
    for (const one of [oldProducer, newProducer]) {
      expect(await one.stats()).toMatchObject({ scheduled: 0, queued: 0, running: 0, dead: 0 })
    }
  },
  150_000
)

test("each release takes over the jobs of a dead worker of the other, and cancels its jobs", async () => {
  for (const [first, second] of [[Release.present, minor], [minor, Release.present]] as const) {
    begin()
    const dying = node(first, "dying", 2_000)
    await dying.work()
    await dying.enqueue({ name: "a", ms: 30_000 }, { name: "b", ms: 30_000, key: "k" })
    await dying.enqueue({ name: "behind b", key: "k" }, { name: "later", delay: 60_000 })
    await expect.poll(() => started().length, { timeout: 30_000 }).toBe(2)
    const heir = node(second, "heir", 2_000)
    await heir.work()
    dying.kill()
    await expect.poll(() => heir.starts.map(({ name }) => name).sort(), { timeout: 30_000 }).toEqual(["a", "b"])
    expect(heir.starts.map(({ attempt, deliveries }) => [attempt, deliveries])).toEqual([[1, 2], [1, 2]])
    expect([await heir.cancel("b"), await heir.cancel("later")]).toEqual(["cancelled", "cancelled"])
    expect(await heir.await("behind b")).toEqual(["behind b by heir"])
    heir.kill()
  }
}, 150_000)

test("an envelope version that only the later release knows is dead-lettered by the present one, whole", async () => {
  begin()
  const old = node(Release.present, "old")
  const producer = node(major, "new producer")
  await old.work()
  await producer.enqueue({ name: "future" }, { name: "future with a key", key: "k" })
  await old.enqueue({ name: "past", key: "k" }, { name: "past, later", delay: 200, failures: 1 })
  expect(await old.await("past", "past, later")).toEqual(["past by old", "past, later by old"])
  // the waiter of the later release understands the record of the present one
  const [end] = await producer.await("future")
  expect(end).toContain("UnknownVersion: envelope version 2 is not known here: upgrade the workers")
  const letters = [["future", "UnknownVersion"], ["future with a key", "UnknownVersion"]]
  expect(await old.letters()).toEqual(letters)
  expect(await producer.letters()).toEqual(letters)
  const bytes = String(await redis.hgetBuffer(key("l:future"), "e"))
  expect(bytes).toContain("\"v\":2,\"z\":\"added\"")
  // the present release would lose what it does not know
  expect(await old.replay("future")).toEqual(["refused"])
  old.kill()
  const heir = node(major, "new")
  await heir.work()
  expect(await producer.replay("future", "future with a key")).toEqual(["done", "done"])
  expect(await producer.await("future", "future with a key")).toEqual(["future by new", "future with a key by new"])
  // it knows what the present one writes
  const late = node(Release.present, "late")
  await late.enqueue({ name: "from the past", failures: 2 })
  expect(await late.await("from the past")).toEqual(["from the past by new"])
}, 150_000)

test("a release with another layout does not touch this one's keys", async () => {
  begin()
  const [old, other] = [node(Release.present, "old"), node(layout, "other")]
  await Promise.all([old.work(), other.work()])
  // the same ids, twice
  await Promise.all([old.enqueue({ name: "a" }, { name: "b", delay: 50 }), other.enqueue({ name: "a" }, { name: "b" })])
  expect(await old.await("a", "b")).toEqual(["a by old", "b by old"])
  expect(await other.await("a", "b")).toEqual(["a by other", "b by other"])
  const layouts = new Set((await redis.keys("*")).filter((one) => one.includes(queue)).map((one) => one.slice(0, 9)))
  expect([...layouts].sort()).toEqual(["troupe:1:", "troupe:2:"])
}, 150_000)

test("every key has a row in docs/redis.md, with its type", async () => {
  const page = readFileSync(join(resolve(import.meta.dirname, "../.."), "docs/redis.md"), "utf8")
  const rows = [...page.matchAll(/^\| ((?:`[^`]+`(?:, )?)+) +\| ([a-z, ]+?) +\|/gm)].flatMap(([, patterns, types]) => {
    const listed = types!.split(", ")
    return [...patterns!.matchAll(/`([^`]+)`/g)].map(([, pattern], n) => ({
      regex: new RegExp(`^${pattern!.replaceAll(/<[a-z]+>/g, "[^]*")}$`),
      type: listed[n] ?? listed[0]!
    }))
  })
  expect(rows.length).toBeGreaterThan(15)
  const found = await redis.keys("troupe:1:*")
  expect(found.length).toBeGreaterThan(300)
  for (const one of found) {
    const rest = /^troupe:1:(?:q:\{[^}]*\}|c:\{[^}]*\}):([^]*)$/.exec(one)?.[1] ?? one
    const type = await redis.type(one)
    // a key that went away meanwhile has no type
    if (type === "none") continue
    expect(rows.filter(({ regex }) => regex.test(rest)).map((row) => row.type), one).toContain(type)
  }
})
