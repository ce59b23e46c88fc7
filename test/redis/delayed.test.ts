/**
 * Delayed jobs: very many at the same moment, one while nothing else happens,
 * and hosts whose clocks are wrong.
 */
import * as Client from "@troupe/core/Client"
import * as JobQueue from "@troupe/core/JobQueue"
import * as Task from "@troupe/core/Task"
import type { Transport } from "@troupe/core/Transport"
import * as Worker from "@troupe/core/Worker"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { Redis } from "ioredis"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"

let server: RedisServer
let redis: Redis
beforeEach(async () => {
  server = await startRedis()
  redis = new Redis(server.url)
})
afterEach(async () => {
  redis.disconnect()
  await server.stop()
})

const queue = "delayed"
const key = (name: string) => `troupe:1:q:{${queue}}:${name}`

/** A host whose clock is wrong by so many ms. */
const clockOff = (ms: number): Layer.Layer<never> =>
  Layer.effect(
    Clock.Clock,
    Effect.map(Clock.Clock, (right): Clock.Clock => ({
      currentTimeMillisUnsafe: () => right.currentTimeMillisUnsafe() + ms,
      currentTimeMillis: Effect.sync(() => right.currentTimeMillisUnsafe() + ms),
      currentTimeNanosUnsafe: () => right.currentTimeNanosUnsafe() + BigInt(ms) * 1_000_000n,
      currentTimeNanos: Effect.sync(() => right.currentTimeNanosUnsafe() + BigInt(ms) * 1_000_000n),
      monotonicTimeNanosUnsafe: () => right.monotonicTimeNanosUnsafe(),
      monotonicTimeNanos: right.monotonicTimeNanos,
      sleep: (duration) => right.sleep(duration)
    }))
  )

const transport = () => Layer.fresh(RedisTransport.layer({ url: server.url }))

const run = <A>(
  body: Effect.Effect<A, unknown, Client.Client | Transport | Scope>,
  host: Layer.Layer<never> = Layer.empty
) =>
  Effect.runPromise(
    Effect.scoped(body).pipe(
      Effect.provide(Layer.provideMerge(Client.layer, transport())),
      Effect.provide(host),
      Effect.provideService(References.MinimumLogLevel, "Error")
    )
  )

/** Bytes of data: what connections hold comes and goes. */
const dataSize = async () => Number(/^used_memory_dataset:(\d+)/m.exec(await redis.info("memory"))?.[1])

const removeRecords = async () => {
  let cursor = "0"
  do {
    const [next, found] = await redis.scan(cursor, "MATCH", key("t:*"), "COUNT", 5_000)
    if (found.length > 0) await redis.unlink(...found)
    cursor = next
  } while (cursor !== "0")
}

/** Brings the moment of all scheduled jobs forward to `at`. */
const bringForward = `
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for x = 1, #found, 2 do
  redis.call('ZADD', KEYS[1], string.format('%.17g', tonumber(ARGV[1]) + found[x + 1] % 1), found[x])
end
return #found / 2
`

test("100,000 jobs due in the same millisecond all run once, none early, promoted in bounded batches", async () => {
  const jobs = 100_000
  class Work extends Task.make("Work", { payload: Schema.Number, queue, resultTimeToLive: 0 }) {}
  const starts = new Uint8Array(jobs)
  let [at, started, early] = [0, 0, 0]
  const WorkerLive = Worker.layer({ tasks: [Work], concurrency: 128 }).pipe(
    Layer.provide(Work.toLayer((n) =>
      Effect.sync(() => {
        if (Date.now() < at) early++
        starts[n]!++
        started++
      })
    )),
    Layer.provide(transport())
  )
  await run(Effect.gen(function*() {
    const baseline = yield* Effect.promise(dataSize)
    const chunks = Array.from(
      { length: jobs / 1_000 },
      (_, chunk) =>
        Array.from({ length: 1_000 }, (_, n) => ({ payload: chunk * 1_000 + n, options: { delay: "1 hour" } } as const))
    )
    yield* Effect.forEach(chunks, (chunk) => Work.enqueueMany(chunk), { concurrency: 4, discard: true })
    const full = yield* Effect.promise(dataSize)
    expect((yield* JobQueue.stats(queue)).scheduled).toBe(jobs)
    at = Date.now() + 6_000
    expect(yield* Effect.promise(() => redis.eval(bringForward, 1, key("d"), at))).toBe(jobs)
    expect(Date.now()).toBeLessThan(at)
    yield* Effect.promise(() => expect.poll(() => Date.now(), { timeout: 20_000 }).toBeGreaterThan(at))
    // one script of any kind takes a bounded part of them
    const first = yield* JobQueue.stats(queue)
    expect(first.queued).toBeGreaterThan(0)
    expect(first.queued).toBeLessThanOrEqual(500)
    expect(first.scheduled).toBe(jobs - first.queued)
    yield* Effect.scoped(Effect.gen(function*() {
      yield* Layer.build(WorkerLive)
      yield* Effect.promise(() => expect.poll(() => started, { timeout: 100_000, interval: 100 }).toBe(jobs))
    }))
    expect(early).toBe(0)
    expect(starts.every((count) => count === 1)).toBe(true)
    expect(yield* JobQueue.stats(queue)).toMatchObject({ scheduled: 0, queued: 0, running: 0, dead: 0 })
    yield* Effect.promise(removeRecords)
    const left = (yield* Effect.promise(dataSize)) - baseline
    // the jobs took much more than what is left of them
    expect(full - baseline).toBeGreaterThan(jobs * 200)
    expect(left).toBeLessThan(2_000_000)
  }))
}, 180_000)

test("a delayed job starts when it is due although nothing else happens", async () => {
  class Work extends Task.make("Work", { success: Schema.Number, queue }) {}
  const WorkerLive = Worker.layer({ tasks: [Work] }).pipe(
    Layer.provide(Work.toLayer(() => Effect.sync(() => Date.now()))),
    Layer.provide(transport())
  )
  await run(Effect.gen(function*() {
    yield* Layer.build(WorkerLive)
    const before = Date.now()
    const first = yield* Work.enqueue(undefined, { delay: 1_700 })
    const after = Date.now()
    // comes later and is due earlier
    const second = yield* Work.enqueue(undefined, { delay: 900 })
    const [one, two] = yield* Effect.all([first.await, second.await], { concurrency: "unbounded" })
    expect(one - before).toBeGreaterThanOrEqual(1_700)
    expect(two - after).toBeGreaterThanOrEqual(900)
    // ten seconds for a busy machine
    expect(one - after).toBeLessThan(11_700)
    expect(two - after).toBeLessThan(10_900)
  }))
}, 30_000)

const hour = 3_600_000

for (const [host, worker] of [[hour, 0], [-hour, 0], [0, hour], [0, -hour], [-hour, hour]] as const) {
  test(
    `due times, expiry and time stamps hold with a producer ${host / hour} h and a worker ${worker / hour} h off`,
    async () => {
      class Work extends Task.make("Work", {
        payload: Schema.String,
        success: Schema.Struct({ startedAt: Schema.Number, enqueuedAt: Schema.Number }),
        maxAttempts: 2,
        retry: Schedule.spaced("400 millis"),
        queue
      }) {}
      const starts: Array<readonly [name: string, at: number]> = []
      const WorkerLive = Worker.layer({ tasks: [Work], idleTimeout: "2 seconds" }).pipe(
        Layer.provide(Work.toLayer((name, { attempt, enqueuedAt }) => {
          const startedAt = Date.now()
          starts.push([name, startedAt])
          return name === "retried" && attempt === 1
            ? Effect.die(new Error("on purpose"))
            : Effect.succeed({ startedAt, enqueuedAt })
        })),
        Layer.provide(transport()),
        Layer.provide(clockOff(worker))
      )
      await run(
        Effect.gen(function*() {
          const before = Date.now()
          const at = before + 900
          const jobs = yield* Effect.all({
            now: Work.enqueue("now"),
            delayed: Work.enqueue("delayed", { delay: 800 }),
            at: Work.enqueue("at", { at }),
            retried: Work.enqueue("retried"),
            fresh: Work.enqueue("fresh", { expiresIn: "10 minutes", delay: 300 })
          })
          const stale = yield* Work.enqueue("stale", { expiresIn: 100, delay: 400 })
          const after = Date.now()
          yield* Layer.build(WorkerLive)
          const ends = yield* Effect.all({
            now: jobs.now.await,
            delayed: jobs.delayed.await,
            at: jobs.at.await,
            retried: jobs.retried.await,
            fresh: jobs.fresh.await
          }, { concurrency: "unbounded" })
          expect(ends.delayed.startedAt).toBeGreaterThanOrEqual(before + 800)
          expect(ends.at.startedAt).toBeGreaterThanOrEqual(at)
          const [first, second] = starts.filter(([name]) => name === "retried").map(([, at]) => at)
          expect(second! - first!).toBeGreaterThanOrEqual(400)
          for (const { enqueuedAt, startedAt } of Object.values(ends)) {
            // 10 s for a busy machine, an hour would show
            expect(startedAt).toBeLessThan(before + 10_000)
            expect(enqueuedAt).toBeGreaterThan(before - 1_000)
            expect(enqueuedAt).toBeLessThan(after + 1_000)
          }
          const expired = yield* stale.awaitRecord
          expect(expired.state).toBe("expired")
          expect(Math.abs(expired.finishedAt - Date.now())).toBeLessThan(10_000)
          expect(starts.some(([name]) => name === "stale")).toBe(false)
        }),
        clockOff(host)
      )
    },
    30_000
  )
}
