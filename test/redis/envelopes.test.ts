/**
 * Bytes in the streams that no release wrote: each harms only itself, is
 * dead-lettered with what it holds, and never holds up the group.
 */
import * as Client from "@troupe/core/Client"
import * as DeadLetter from "@troupe/core/DeadLetter"
import * as Envelope from "@troupe/core/Envelope"
import type * as Job from "@troupe/core/Job"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
let redis: Redis
beforeAll(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
})
afterAll(async () => {
  redis.disconnect()
  await server.stop()
})

const awkward = "||| \n\t\r\n\0 {}% *3 $-1 \u{1F3AD}"

type Field = string | Buffer

const envelope = (changes: Partial<Envelope.Envelope>): Envelope.Envelope => ({
  ...Envelope.unreadable({ id: "valid", queue: "q", priority: "normal", key: undefined }, Buffer.from("\"x\"")),
  version: Envelope.version,
  task: "Work",
  contentType: "application/json",
  ...changes
})
const bytes = (changes: Partial<Envelope.Envelope> = {}) => Buffer.from(Envelope.toBytes(envelope(changes)))

/** The frame of an envelope with any text for a header. */
const framed = (header: string | Buffer, length = Buffer.byteLength(header)) => {
  const head = Buffer.alloc(5)
  head[0] = 0xe1
  head.writeUInt32BE(length, 1)
  return Buffer.concat([head, Buffer.from(header)])
}

/** The name of the field of an entry with a head. */
const named = (head: string, id: string) => `${Buffer.byteLength(head)}h${head}:${id}`

/** Entries by what is wrong with them: fields as for XADD. */
const entries: Readonly<Record<string, ReadonlyArray<Field>>> = {
  "another envelope": [":garbage", "not an envelope"],
  "no bytes": [":empty", ""],
  "a single field": ["hello", "world"],
  "a single field that holds an envelope": ["e", bytes()],
  "fields of other releases": ["i", "other", "h", "", "e", bytes()],
  "an envelope among others": [":more", bytes(), "more", "fields"],
  "other fields": ["id", "x", "head", "", "data", "y", "more", awkward],
  "empty names": ["", "", "", "", "", ""],
  "an envelope cut off in the header": [":cut", bytes().subarray(0, 20)],
  "a header longer than the rest": [":long", framed("{}", 0xffffffff)],
  "a header that is no JSON": [":json", framed("{\"v\":1,")],
  "a header that is a list": [":list", framed("[1]")],
  "a header without fields": [":bare", framed("{\"v\":1}")],
  "a header of bytes that are no text": [":binary", framed(Buffer.from([0xff, 0xfe, 0, 0x80]))],
  "delimiters in its id": [`:${awkward}`, awkward],
  "delimiters in its head": [named(awkward, awkward), awkward],
  "an id that is no text": [Buffer.from([0x3a, 0xff, 0xfe, 0]), Buffer.alloc(3)],
  "an empty id": [":", "x"],
  "the head of a key": [named("0  kk", "keyed"), "x"],
  "counts that are none": [named("99999999999999999999 99999999999999999999 ", "counts"), "x"],
  "a head longer than its name": ["99h0  kk:long", "x"],
  "a head without an end": ["5h0  kk", "x"],
  "a length that is none": ["0123456789h0  :x", "x"],
  "10 MB of zeros": [":zeros", Buffer.alloc(10_000_000)]
}

let count = 0

/** A queue with a worker and a producer. Leases are short, so that what holds up the group shows. */
const setUp = () => {
  const queue = `envelopes-${++count}`
  class Work extends Task.make("Work", { payload: Schema.String, success: Schema.String, queue }) {}
  const transport = () => Layer.fresh(RedisTransport.layer({ url: server.url }))
  const worker = Worker.layer({ tasks: [Work], concurrency: 4, idleTimeout: "1 second", gracePeriod: 0 }).pipe(
    Layer.provide(Work.toLayer((payload) => Effect.succeed(`did ${payload.slice(0, 20)}`))),
    Layer.provide(transport())
  )
  const run = <A>(body: Effect.Effect<A, unknown, Client.Client | Transport>) =>
    Effect.runPromise(body.pipe(
      Effect.provide(Client.layer.pipe(
        Layer.provide(Layer.succeed(Client.PayloadLimit, 20_000_000)),
        Layer.provideMerge(transport())
      )),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
    ))
  const key = (name: string) => `troupe:1:q:{${queue}}:${name}`
  const add = (fields: ReadonlyArray<Field>, stream = "s:normal") => redis.xadd(key(stream), "*", ...fields)
  return { queue, Work, worker, run, key, add }
}

/** Waits until the queue holds nothing but dead letters. */
const settled = (queue: string) =>
  Effect.gen(function*() {
    for (let looks = 0; looks < 300; looks++) {
      const stats = yield* JobQueue.stats(queue)
      if (stats.queued + stats.running + stats.scheduled === 0) return stats
      yield* Effect.sleep(50)
    }
    return yield* JobQueue.stats(queue)
  })

test("every kind of garbage is dead-lettered with its bytes, and jobs before, between and behind it run", async () => {
  const { add, key, queue, run, Work, worker } = setUp()
  await run(Effect.gen(function*() {
    const jobs: Array<Job.Job<string, never>> = []
    for (const fields of Object.values(entries)) {
      jobs.push(yield* Work.enqueue("job"))
      yield* Effect.promise(() => add(fields))
      // and into the stream of what comes back, which is read first
      yield* Effect.promise(() => add(fields, "r:normal"))
    }
    jobs.push(yield* Work.enqueue("last"))
    // nobody has looked at it yet, and it can be looked at
    const { items } = yield* JobQueue.list(queue, "queued", { limit: 200 })
    expect(items.length).toBe(3 * Object.keys(entries).length + 1)
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(worker)
      expect(yield* Effect.forEach(jobs, (job) => job.await)).toEqual([
        ...Object.keys(entries).map(() => "did job"),
        "did last"
      ])
      expect((yield* settled(queue)).dead).toBe(2 * Object.keys(entries).length)
    }))
    const letters = (yield* DeadLetter.list(queue, { limit: 200 })).items
    expect(new Set(letters.map(({ message, reason }) => `${reason}: ${message}`))).toEqual(
      new Set(["Undecodable: its bytes are no envelope of a job"])
    )
    const bodies = letters.map((letter) => Buffer.from(letter.envelope.body).toString("latin1"))
    for (const [what, fields] of Object.entries(entries)) {
      const last = Buffer.from(fields.at(-1)!).toString("latin1")
      expect(bodies.filter((body) => body.endsWith(last)).length, what).toBeGreaterThanOrEqual(2)
    }
    const ids = letters.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
    // they are shown, refused for a replay, and can be dropped
    expect(new Set(yield* DeadLetter.replay(queue, ids))).toEqual(new Set(["refused"]))
    expect(new Set(yield* DeadLetter.drop(queue, ids))).toEqual(new Set(["done"]))
  }))
  for (const stream of ["s:normal", "r:normal"]) {
    expect(await redis.xlen(key(stream))).toBe(0)
    expect((await redis.xpending(key(stream), "g") as [number])[0]).toBe(0)
  }
}, 60_000)

test("a worker that waits on an empty queue gets garbage and goes on", async () => {
  const { add, queue, run, Work, worker } = setUp()
  await run(Effect.scoped(Effect.gen(function*() {
    yield* Layer.build(worker)
    for (const [what, fields] of Object.entries(entries)) {
      yield* Effect.promise(() => add(fields))
      expect(yield* Effect.flatMap(Work.enqueue(what), (job) => job.await)).toBe(`did ${what.slice(0, 20)}`)
    }
    expect((yield* settled(queue)).dead).toBe(Object.keys(entries).length)
  })))
}, 60_000)

test("garbage in the hands of a dead consumer is taken away from it together with its jobs", async () => {
  const { add, key, queue, run, Work, worker } = setUp()
  await run(Effect.gen(function*() {
    const jobs: Array<Job.Job<string, never>> = []
    for (const fields of Object.values(entries)) {
      jobs.push(yield* Work.enqueue("job"))
      yield* Effect.promise(() => add(fields))
    }
    yield* Effect.promise(async () => {
      await redis.xgroup("CREATE", key("s:normal"), "g", "0").catch(() => {})
      await redis.hset(key("c"), "dead", "1000 1 0")
      await redis.xreadgroup("GROUP", "g", "dead", "COUNT", 1_000, "STREAMS", key("s:normal"), ">")
    })
    const running = yield* JobQueue.list(queue, "running", { limit: 200 })
    expect(running.items.length).toBe(2 * Object.keys(entries).length)
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(worker)
      const ends = yield* Effect.forEach(jobs, (job) => job.awaitWithin("20 seconds"))
      expect(new Set(ends)).toEqual(new Set(["did job"]))
      expect((yield* settled(queue)).dead).toBe(Object.keys(entries).length)
    }))
  }))
}, 60_000)

test("garbage with the id of a job does not touch that job", async () => {
  const { add, queue, run, Work, worker } = setUp()
  await run(Effect.gen(function*() {
    const later = yield* Work.enqueue("later", { id: "later", delay: 1_500 })
    const queued = yield* Work.enqueue("queued", { id: "queued", key: "k" })
    const behind = yield* Work.enqueue("behind", { id: "behind", key: "k" })
    for (const id of ["later", "queued", "behind"]) {
      yield* Effect.promise(() => add([named("0  kk", id), "garbage"]))
      yield* Effect.promise(() => add([id, id, id, id]))
    }
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(worker)
      expect(yield* Effect.forEach([queued, behind, later], (job) => job.await)).toEqual([
        "did queued",
        "did behind",
        "did later"
      ])
      expect((yield* settled(queue)).dead).toBe(6)
    }))
  }))
}, 60_000)

test("a job of a key whose bytes are damaged lets the key go on", async () => {
  const { key, queue, run, Work, worker } = setUp()
  await run(Effect.gen(function*() {
    const head = yield* Work.enqueue("head", { id: "head", key: "k" })
    const next = yield* Work.enqueue("next", { id: "next", key: "k" })
    yield* Effect.promise(async () => {
      const stream = key("s:normal")
      const [[entry]] = await redis.xrange(stream, "-", "+") as [[string, Array<string>]]
      await redis.xdel(stream, entry)
      const damaged = await redis.xadd(stream, "*", "5h0  kk:head", "damaged")
      await redis.set(key("t:head"), `q${damaged} s:normal`)
    })
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(worker)
      expect(yield* next.await).toBe("did next")
      // and whoever waits for the damaged one is told
      const error = yield* Effect.flip(head.await)
      expect(error.message).toContain("Undecodable: its bytes are no envelope of a job")
      const letters = yield* DeadLetter.list(queue)
      expect(letters.items.map(({ id }) => id)).toEqual(["head"])
    }))
  }))
}, 60_000)

test("payloads of no bytes, of 10 MB, and of delimiters arrive as they are", async () => {
  const { add, queue, run, Work, worker } = setUp()
  await run(Effect.scoped(Effect.gen(function*() {
    yield* Layer.build(worker)
    const large = yield* Work.enqueue("x".repeat(10_000_000))
    const delimiters = yield* Work.enqueue(awkward, { id: awkward, headers: { [awkward]: awkward }, key: awkward })
    const empty = yield* Work.enqueue("")
    expect(yield* Effect.forEach([large, delimiters, empty], (job) => job.await)).toEqual([
      `did ${"x".repeat(20)}`,
      `did ${awkward.slice(0, 20)}`,
      "did "
    ])
    // a whole envelope of a body that is no JSON: the job is known, and its record says what is wrong
    yield* Effect.promise(() => add([":bodyless", bytes({ id: "bodyless", queue, body: Buffer.alloc(0) })]))
    const client = yield* Client.Client
    yield* settled(queue)
    const record = yield* client.job(queue, "bodyless").awaitRecord
    expect([record.state, record.reason]).toEqual(["failed", "Undecodable"])
  })))
}, 60_000)
