/**
 * Workers in processes of their own that really die: `kill -9`, SIGSTOP. The
 * invariant checker judges what all of them did.
 */
import * as Client from "@troupe/core/Client"
import type * as Job from "@troupe/core/Job"
import * as Task from "@troupe/core/Task"
import { Invariants } from "@troupe/core/testing"
import type { Transport } from "@troupe/core/Transport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { Redis } from "ioredis"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, beforeAll, expect, test } from "vitest"
import { type RedisServer, startRedis } from "../servers/redis.ts"
import type { Told } from "./fixtures/worker.ts"

type Start = Extract<Told, { readonly started: number }>
type Run = { -readonly [K in keyof Invariants.Run]: Invariants.Run[K] }

let server: RedisServer
let admin: Redis
let count = 0
beforeAll(async () => {
  server = await startRedis()
  admin = new Redis(server.url)
})
afterAll(async () => {
  admin.disconnect()
  await server.stop()
})

class WorkerProcess {
  readonly starts: Array<Start> = []
  readonly child: ChildProcess
  readonly ready: Promise<void>
  private readonly open = new Map<string, Run>()
  /** It is dead, and all that it told is heard: messages may come after the exit. */
  private readonly silent: Promise<unknown>

  constructor(history: Invariants.Draft, queue: string, id: string, lease: number) {
    const path = fileURLToPath(new URL("fixtures/worker.ts", import.meta.url))
    this.child = fork(path, [server.url, queue, id, String(lease)], { execArgv: [] })
    const once = (event: string) => new Promise<void>((resolve) => this.child.once(event, () => resolve()))
    this.silent = Promise.all([once("exit"), once("disconnect")])
    this.ready = new Promise((resolve, reject) => {
      this.child.once("exit", (code) => reject(new Error(`the worker ended with ${code}`)))
      this.child.on("message", (told: Told) => {
        if ("ready" in told) return resolve()
        const { at, attempt, deliveries } = told
        if ("ended" in told) {
          const name = `${told.ended} ${attempt} ${deliveries}`
          const run = this.open.get(name)
          if (run !== undefined) Object.assign(run, { endedAt: at, outcome: told.outcome })
          this.open.delete(name)
          return
        }
        this.starts.push(told)
        const { worker } = told
        const run: Run = {
          queue,
          id: told.id,
          worker,
          attempt,
          deliveries,
          startedAt: at,
          endedAt: undefined,
          outcome: undefined
        }
        history.runs.push(run)
        this.open.set(`${told.started} ${attempt} ${deliveries}`, run)
      })
    })
    // who does not wait for it is not interested
    this.ready.catch(() => {})
  }

  /** Waits until it is dead: nothing of it has an effect any more. How its last runs ended, nobody knows. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL")
    await this.silent
    for (const run of this.open.values()) run.endedAt = Date.now()
    this.open.clear()
  }

  /** From now on it cannot renew its leases. */
  stop(): void {
    this.child.kill("SIGSTOP")
    for (const run of this.open.values()) run.leaseLostAt = Date.now()
  }

  goOn(): void {
    this.child.kill("SIGCONT")
  }

  /** Ends its run of a job that has no end of its own. */
  finish(n: number): void {
    this.child.send(n)
  }

  /** Jobs that it has started, by their payload. */
  get started(): ReadonlyArray<number> {
    return this.starts.map(({ started }) => started)
  }
}

const define = (queue: string) =>
  class Work extends Task.make("Work", {
    payload: { n: Schema.Number, ms: Schema.NullOr(Schema.Number) },
    success: Schema.String,
    queue
  }) {}

/** Of the workers, ms: much longer than a busy machine lets a process wait that is not stopped. */
const lease = 3_000

class Stage {
  readonly history = Invariants.empty()
  readonly queue: string
  private readonly work: ReturnType<typeof define>

  constructor(queue: string) {
    this.queue = queue
    this.work = define(queue)
  }

  /** `ms`: how long it runs; `null`: until its worker is told to end it. */
  enqueue(n: number, ms: number | null) {
    return Effect.gen({ self: this }, function*() {
      const acceptedAt = Date.now()
      const job = yield* this.work.enqueue({ n, ms })
      const acceptedBy = Date.now()
      this.history.sent.push({
        queue: this.queue,
        id: job.id,
        task: "Work",
        key: undefined,
        acceptedAt,
        acceptedBy,
        dueAt: acceptedAt,
        dueBy: acceptedBy,
        order: n,
        maxAttempts: 3,
        expiresAt: undefined
      })
      return job
    })
  }

  /** A worker that takes jobs; killed with the scope. */
  worker(id: string, ms = lease) {
    return Effect.acquireRelease(
      Effect.promise(async () => {
        const worker = new WorkerProcess(this.history, this.queue, id, ms)
        await worker.ready
        return worker
      }),
      (worker) => Effect.promise(() => worker.kill())
    )
  }
}

const run = (body: (stage: Stage) => Effect.Effect<void, unknown, Client.Client | Transport | Scope>) => {
  const stage = new Stage(`processes-${++count}`)
  return Effect.runPromise(
    Effect.scoped(body(stage)).pipe(
      Effect.andThen(Invariants.verify(stage.history, { finished: true, tolerance: 50 })),
      Effect.provide(Layer.provideMerge(Client.layer, RedisTransport.layer({ url: server.url }))),
      Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
    )
  )
}

/** When the worker last showed that it holds its jobs, ms since the epoch. */
const lastRenewal = async (stage: Stage, worker: string) => {
  const [seconds = 0, micros = 0] = await admin.time()
  const stream = `troupe:1:q:{${stage.queue}}:s:normal`
  const held = await admin.xpending(stream, "g", "-", "+", 10, worker) as Array<[string, string, number]>
  expect(held.length).toBe(3)
  // idle times are read later than the clock
  return Math.min(...held.map(([, , idle]) => Math.floor(seconds * 1_000 + micros / 1_000) - idle))
}

const poll = <A>(look: () => A | Promise<A>, timeout = 60_000) => expect.poll(look, { timeout, interval: 20 })

test(
  "kill -9 while handlers run: their jobs start elsewhere within the lease and a second",
  () =>
    run((stage) =>
      Effect.gen(function*() {
        const first = yield* stage.worker("first")
        const jobs = yield* Effect.forEach([1, 2, 3], (n) => stage.enqueue(n, null))
        yield* Effect.promise(() => poll(() => first.starts.length).toBe(3))
        const second = yield* stage.worker("second")
        const killedAt = Date.now()
        yield* Effect.promise(() => first.kill())
        const renewedAt = yield* Effect.promise(() => lastRenewal(stage, "first"))
        yield* Effect.promise(() => poll(() => [...second.started].sort()).toEqual([1, 2, 3]))
        for (const { at, deliveries } of second.starts) {
          expect(deliveries).toBe(2)
          expect(at).toBeGreaterThanOrEqual(renewedAt + lease)
          // the lease and a second, and ten for a machine that is busy
          expect(at - killedAt).toBeLessThan(lease + 11_000)
        }
        expect(yield* Effect.forEach(jobs, (job) => job.cancel)).toEqual(["cancelled", "cancelled", "cancelled"])
      })
    ),
  150_000
)

test("workers die again and again under load: nothing is lost", () =>
  run((stage) =>
    Effect.gen(function*() {
      const jobs: Array<Job.Job<string, never>> = []
      for (const [turn, id] of ["a", "b", "c"].entries()) {
        const worker = yield* stage.worker(id)
        // for each its own: a worker may have run all that there is before we look
        const numbers = Array.from({ length: 100 }, (_, n) => 100 * turn + n)
        jobs.push(...yield* Effect.forEach(numbers, (n) => stage.enqueue(n, 10), { concurrency: 32 }))
        yield* Effect.promise(() => poll(() => worker.starts.length).toBeGreaterThan(20))
        yield* Effect.promise(() => worker.kill())
      }
      yield* stage.worker("last")
      const results = yield* Effect.forEach(jobs, (job) => job.await, { concurrency: "unbounded" })
      expect(results.length).toBe(300)
      // of each dead worker: what it ran, and what was over and not yet settled
      const repeated = stage.history.runs.length - 300
      expect(repeated).toBeLessThanOrEqual(3 * 12)
    })
  ), 240_000)

test(
  "a worker that is stopped for longer than its lease loses its job, and does not take it back",
  () =>
    run((stage) =>
      Effect.gen(function*() {
        const first = yield* stage.worker("first")
        const job = yield* stage.enqueue(1, null)
        yield* Effect.promise(() => poll(() => first.starts.length).toBe(1))
        first.stop()
        const second = yield* stage.worker("second")
        yield* Effect.promise(() => poll(() => second.starts.length).toBe(1))
        first.goOn()
        // it noticed
        const outcome = () => stage.history.runs.find(({ worker }) => worker === "first")?.outcome
        yield* Effect.promise(() => poll(outcome).toBe("interrupted"))
        second.finish(1)
        expect(yield* job.await).toBe("1 by second")
        expect([first.started, second.started]).toEqual([[1], [1]])
        // and works on
        yield* Effect.promise(() => second.kill())
        const after = yield* stage.enqueue(2, 0)
        expect(yield* after.await).toBe("2 by first")
      })
    ),
  150_000
)

/** The id of the connection on which the worker waits for jobs, and whether it waits there now. */
const waits = async (stage: Stage, worker: string) => {
  const entry = await admin.hget(`troupe:1:q:{${stage.queue}}:c`, worker)
  const connection = entry?.split(" ")[2]
  if (connection === undefined || !/^[1-9]/.test(connection)) return { connection: undefined, isBlocked: false }
  const client = String(await admin.call("CLIENT", "LIST", "ID", connection))
  return { connection, isBlocked: /\bflags=\w*b/.test(client) }
}

test(
  "a worker that is stopped while it waits does not start what it was given meanwhile",
  () =>
    run((stage) =>
      Effect.gen(function*() {
        const first = yield* stage.worker("first")
        yield* Effect.promise(() => poll(async () => (await waits(stage, "first")).isBlocked).toBe(true))
        first.stop()
        // nobody else is there: it is handed to the stopped one
        const job = yield* stage.enqueue(1, null)
        const second = yield* stage.worker("second")
        yield* Effect.promise(() => poll(() => second.starts.length).toBe(1))
        expect(second.starts[0]!.deliveries).toBe(2)
        first.goOn()
        // it is awake
        yield* Effect.promise(() => poll(async () => (await waits(stage, "first")).isBlocked).toBe(true))
        second.finish(1)
        expect(yield* job.await).toBe("1 by second")
        yield* Effect.promise(() => second.kill())
        // it wakes up with that job in its socket: it must not start it, and must work on
        const after = yield* stage.enqueue(2, 0)
        expect(yield* after.await).toBe("2 by first")
        yield* Effect.promise(() => poll(() => first.started).toEqual([2]))
      })
    ),
  150_000
)

test(
  "a read of a silent worker is ended before it can take jobs to nowhere",
  () =>
    run((stage) =>
      Effect.gen(function*() {
        // a read waits for longer than their lease
        const first = yield* stage.worker("first", 1_000)
        const second = yield* stage.worker("second", 1_000)
        // both wait; a job is handed to the one that has waited for longer
        let n = 100
        while (first.starts.length === 0) yield* Effect.flatMap(stage.enqueue(n++, 0), (job) => job.await)
        const warm = second.starts.length
        // its read is a new one: it would wait for five seconds
        yield* Effect.promise(() => poll(async () => (await waits(stage, "first")).isBlocked).toBe(true))
        const { connection } = yield* Effect.promise(() => waits(stage, "first"))
        first.stop()
        const stoppedAt = Date.now()
        let blockedAt = stoppedAt
        const isBlocked = async () => {
          const client = String(await admin.call("CLIENT", "LIST", "ID", connection!))
          const blocked = /\bflags=\w*b/.test(client)
          if (blocked) blockedAt = Date.now()
          return blocked
        }
        yield* Effect.promise(() => poll(isBlocked).toBe(false))
        // when it was last seen to wait: we may look late
        expect(blockedAt - stoppedAt).toBeLessThan(4_000)
        const jobs = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => stage.enqueue(n, 0))
        yield* Effect.forEach(jobs, (job) => job.await)
        // what it tells may come after the result
        yield* Effect.promise(() => poll(() => second.starts.length - warm).toBe(5))
        expect(second.starts.slice(warm).map(({ deliveries, started }) => [started, deliveries])).toEqual(
          [1, 2, 3, 4, 5].map((n) => [n, 1])
        )
        first.goOn()
      })
    ),
  150_000
)
