/** What goes wrong around handlers, and goes on: outages, crashed loops, standstills, stuck handlers. */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import type { Envelope } from "../src/Envelope.ts"
import type { Subscription } from "../src/JobLog.ts"
import * as JobQueue from "../src/JobQueue.ts"
import * as Task from "../src/Task.ts"
import * as Faults from "../src/testing/Faults.ts"
import { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { gate, program, run, settle } from "./fixtures/kit.ts"
import { Logs } from "./fixtures/logs.ts"
import * as Spy from "./fixtures/spy.ts"
import { bareEnvelope } from "./samples.ts"

const Work = Task.make("Work", {
  payload: Schema.String,
  success: Schema.String,
  queue: "q",
  retry: Schedule.spaced("1 second")
})

const worker = (
  handler: (payload: string, execution: Task.Execution) => Effect.Effect<string>,
  options: Partial<Parameters<typeof Worker.layer>[0]> = {}
) => Worker.layer({ id: "w", ...options, tasks: [Work] }).pipe(Layer.provide(Work.toLayer(handler)))

const fork = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

/** A job of `Work` as the broker hands it out after two crashes. */
const suspect = (id: string): Envelope => ({
  ...bareEnvelope,
  id,
  queue: "q",
  task: "Work",
  priority: "normal",
  body: new TextEncoder().encode(JSON.stringify(id)),
  deliveries: 2
})

/** A worker whose own connection breaks; everybody else's does not. */
const broken = Effect.gen(function*() {
  const spy = Spy.make(yield* Transport)
  const faults = Faults.make(spy.transport)
  return { spy, faults, through: Effect.provideService(Transport, faults.transport) }
})

/** Replaces parts of every subscription. */
const withSubscription = (
  transport: Transport["Service"],
  change: (subscription: Subscription) => Partial<Subscription>
): Transport["Service"] => ({
  ...transport,
  log: {
    ...transport.log,
    subscribe: (options) => Effect.map(transport.log.subscribe(options), (one) => ({ ...one, ...change(one) }))
  }
})

describe("an outage of the broker", () => {
  it.effect("pauses pulling; handlers go on; their settlements arrive when it is back", () =>
    program(Effect.gen(function*() {
      const { faults, through } = yield* broken
      const { arrived, open, pass } = yield* gate
      const { worker: self } = yield* through(run(worker((name) => Effect.as(pass, name), { idleTimeout: "1 minute" })))
      const jobs = [yield* Work.enqueue("one"), yield* Work.enqueue("two")] as const
      yield* settle
      assert.strictEqual(arrived(), 2)
      yield* faults.loseRequests(true)
      // the pull under way still answers, the next one does not
      const late = yield* Work.enqueue("late")
      yield* settle
      const later = yield* Work.enqueue("later")
      yield* TestClock.adjust("10 seconds")
      // the handlers were not touched
      assert.deepStrictEqual([yield* self.running, arrived()], [3, 3])
      yield* open
      yield* settle
      assert.deepStrictEqual([yield* self.running, yield* self.held, yield* self.finished], [0, 3, 0])
      assert.deepStrictEqual([yield* jobs[0].status, yield* later.status], ["running", "queued"])
      yield* faults.heal
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(
        yield* Effect.all([jobs[0].await, jobs[1].await, late.await, later.await]),
        ["one", "two", "late", "later"]
      )
      assert.deepStrictEqual([yield* self.finished, arrived()], [4, 4])
    })))

  it.effect("is logged once when it begins and once when it ends, however long it is", () =>
    program(Effect.gen(function*() {
      const { faults, through } = yield* broken
      const { matching } = yield* Logs
      yield* through(run(worker(Effect.succeed)))
      yield* Effect.flatMap(Work.enqueue("one"), (job) => job.await)
      yield* faults.loseRequests(({ operation }) => operation === "pull")
      // the pull under way still answers
      yield* Effect.flatMap(Work.enqueue("two"), (job) => job.await)
      yield* TestClock.adjust("1 hour")
      const [line, ...others] = matching("Pulling from queue \"q\" failed, trying again. Running jobs go on.")
      assert.strictEqual(line!.level, "Warn")
      assert.deepStrictEqual(others, [])
      yield* faults.heal
      yield* Effect.flatMap(Work.enqueue("three"), (job) => Effect.andThen(TestClock.adjust("10 seconds"), job.await))
      assert.strictEqual(matching("Pulling from queue \"q\" again").length, 1)
    })))

  it.effect("tries again with growing pauses of at most 5 seconds", () =>
    program(Effect.gen(function*() {
      const { faults, spy, through } = yield* broken
      const pulls: Array<number> = []
      yield* faults.loseRequests((call) => {
        if (call.operation === "pull") pulls.push(now())
        return call.operation === "pull"
      })
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()
      yield* through(run(worker(Effect.succeed)))
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(
        pulls.slice(1).map((at, i) => at - pulls[i]!),
        [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000].slice(0, pulls.length - 1)
      )
      assert.isAbove(pulls.length, 8)
      assert.deepStrictEqual(spy.of("subscription.pull"), [])
    })))

  it.effect("does not fail the start of a fencing token, nor progress", () =>
    program(Effect.gen(function*() {
      const { faults, through } = yield* broken
      const { open, pass } = yield* gate
      yield* through(run(worker((_, execution) =>
        Effect.gen(function*() {
          yield* pass
          yield* execution.progress(1)
          return `token ${yield* execution.fencingToken}`
        })
      )))
      const job = yield* Work.enqueue("one")
      yield* settle
      yield* faults.loseRequests(({ operation }) => operation === "put" || operation === "publish")
      yield* open
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* job.status, "running")
      yield* faults.heal
      yield* TestClock.adjust("2 seconds")
      assert.match(yield* job.await, /^token \d+$/)
    })))
})

describe("a defect", () => {
  it.effect("of the pull loop restarts it; running jobs go on", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      let defects = 0
      let calls = 0
      const flaky = withSubscription(transport, (subscription) => ({
        pull: (max) =>
          Effect.suspend(() => {
            if (++calls % 2 === 0) {
              defects++
              return Effect.die(new Error("the pull loop crashed"))
            }
            return subscription.pull(max)
          })
      }))
      const { open, pass } = yield* gate
      const { worker: self } = yield* Effect.provideService(
        run(worker((name) => name === "slow" ? Effect.as(pass, name) : Effect.succeed(name))),
        Transport,
        flaky
      )
      const slow = yield* Work.enqueue("slow")
      for (let i = 0; i < 5; i++) {
        const job = yield* Work.enqueue(`${i}`)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* job.await, `${i}`)
      }
      assert.isAbove(defects, 3)
      assert.strictEqual(yield* self.running, 1)
      yield* open
      assert.strictEqual(yield* slow.await, "slow")
      const { matching } = yield* Logs
      assert.isAbove(matching("Pulling from queue \"q\" failed").length, 0)
    })))

  it.effect("of a settlement is repeated, and the settlements of others go on", () =>
    program(Effect.gen(function*() {
      let broken = true
      const flaky = withSubscription(yield* Transport, (subscription) => ({
        settle: (settlements) => Effect.suspend(() => broken ? Effect.die("no") : subscription.settle(settlements))
      }))
      yield* Effect.provideService(run(worker(Effect.succeed)), Transport, flaky)
      const job = yield* Work.enqueue("one")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* job.status, "running")
      broken = false
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* job.await, "one")
      const { matching } = yield* Logs
      // one line when it begins and one when it is over, however often it was repeated
      assert.strictEqual(matching("Settlements of queue \"q\" are not answered").length, 1)
      assert.strictEqual(matching("Settlements of queue \"q\" are answered again").length, 1)
    })))

  it.effect("of a look for records is repeated: the jobs that wait for it run", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      let broken = true
      const flaky: Transport["Service"] = {
        ...transport,
        store: {
          ...transport.store,
          get: (collection, keys) =>
            Effect.suspend(() =>
              broken && collection.name === "records" ? Effect.die("no") : transport.store.get(collection, keys)
            )
        }
      }
      yield* Effect.provideService(run(worker(Effect.succeed)), Transport, flaky)
      // a delayed job is looked up before it runs
      const job = yield* Work.enqueue("one", { delay: 10 })
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* job.status, "running")
      broken = false
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* job.await, "one")
    })))

  it.effect("of the heartbeat restarts it: leases are kept", () =>
    program(Effect.gen(function*() {
      let calls = 0
      let runs = 0
      const flaky = withSubscription(yield* Transport, (subscription) => ({
        extend: (deliveries) =>
          Effect.suspend(() => ++calls % 2 === 0 ? Effect.die("no heartbeat") : subscription.extend(deliveries))
      }))
      const slow = worker((name) => {
        runs++
        return Effect.delay(Effect.succeed(name), "30 seconds")
      }, { idleTimeout: "3 seconds" })
      yield* Effect.provideService(run(slow), Transport, flaky)
      const job = yield* Work.enqueue("one")
      yield* settle
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* job.await, "one")
      assert.strictEqual(runs, 1)
    })))

  it.effect("of a handler fails its own attempt, and no other job notices", () =>
    program(Effect.gen(function*() {
      yield* run(worker((name) => {
        if (name === "throws") throw new Error("thrown before any effect")
        return name === "dies" ? Effect.die("died") : name === "none" ? undefined as never : Effect.succeed(name)
      }))
      const bad = yield* Effect.forEach(["throws", "dies", "none"], (name) => Work.enqueue(name))
      const good = yield* Work.enqueue("good")
      assert.strictEqual(yield* good.await, "good")
      yield* settle
      yield* TestClock.adjust("10 seconds")
      for (const job of bad) {
        const error = yield* Effect.flip(job.await)
        assert.strictEqual(error._tag === "JobFailed" && error.reason, "Defect")
      }
    })))
})

describe("a standstill of the process", () => {
  it.effect("longer than the lease is logged, with the numbers", () =>
    program(Effect.gen(function*() {
      const clock = yield* Clock.Clock
      let stood = 0
      // a clock of the worker's own, that jumps as a blocked event loop makes it jump
      const jumping: Clock.Clock = Object.assign(Object.create(clock) as Clock.Clock, {
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + stood,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + BigInt(stood) * 1_000_000n
      })
      yield* Effect.provideService(
        run(worker(() => Effect.never, { idleTimeout: "3 seconds" })),
        Clock.Clock,
        jumping
      )
      yield* Work.enqueue("one")
      yield* settle
      yield* TestClock.adjust("10 seconds")
      const { matching } = yield* Logs
      assert.strictEqual(matching("stood still").length, 0)
      stood += 7_000
      yield* TestClock.adjust("1 second")
      const [line] = matching("This process stood still for ", "longer than the lease of 3000 ms of queue \"q\"")
      assert.strictEqual(line!.level, "Warn")
      const milliseconds = Number(/still for (\d+) ms/.exec(line!.text)![1])
      assert.isAtLeast(milliseconds, 6_000)
      assert.isAtMost(milliseconds, 7_000)
    })))
})

describe("the end", () => {
  it.effect("of the grace period is logged, and the released jobs run elsewhere with nothing counted", () =>
    program(Effect.gen(function*() {
      const { matching } = yield* Logs
      const { stop } = yield* run(worker(() => Effect.never, { gracePeriod: "5 seconds" }))
      const job = yield* Work.enqueue("one")
      yield* settle
      const stopping = yield* fork(stop)
      yield* TestClock.adjust(4_999)
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(stopping)
      assert.strictEqual(matching("Worker \"w\" drains 1 jobs in hand").length, 1)
      assert.strictEqual(matching("Grace period of queue \"q\" is over: releasing 1 running jobs").length, 1)
      const info = yield* job.info
      assert.deepStrictEqual([info.state, info.attempts, info.lastError], ["queued", 0, undefined])
      yield* run(
        worker((name, { attempt, deliveries }) => Effect.succeed(`${name} ${attempt} ${deliveries}`), { id: "v" })
      )
      assert.strictEqual(yield* job.await, "one 1 1")
    })))

  it.effect("leaves handlers that do not end behind after 10 seconds, and says which", () =>
    program(Effect.gen(function*() {
      const { matching } = yield* Logs
      const { open, pass } = yield* gate
      const { stop } = yield* run(worker((name) => Effect.uninterruptible(Effect.as(pass, name)), { gracePeriod: 0 }))
      yield* Work.enqueue("one")
      yield* settle
      const stopping = yield* fork(stop)
      yield* TestClock.adjust(9_999)
      assert.isUndefined(stopping.pollUnsafe())
      yield* TestClock.adjust(1)
      yield* Fiber.join(stopping)
      assert.strictEqual(matching("Handlers do not end after 10000 ms of interruption: Work.").length, 1)
      yield* open
    })))

  it.effect("does not wait longer than a lease for a broker that is away", () =>
    program(Effect.gen(function*() {
      const { faults, through } = yield* broken
      const { matching } = yield* Logs
      const { stop } = yield* through(run(worker(Effect.succeed, { idleTimeout: "3 seconds" })))
      yield* faults.loseRequests(({ operation }) => operation === "settle")
      yield* Work.enqueue("one")
      yield* settle
      const stopping = yield* fork(stop)
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(stopping)
      assert.strictEqual(
        matching("The broker did not answer 1 settlements of queue \"q\" in time: those jobs run again.").length,
        1
      )
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual((yield* JobQueue.stats("q")).queued, 1)
    })))
})

describe("a suspect", () => {
  it.effect("starts only when the suspects beside it are back at the broker", () =>
    program(Effect.gen(function*() {
      const transport = yield* Transport
      const { arrived, open, pass } = yield* gate
      const slow = withSubscription(transport, (subscription) => ({
        settle: (settlements) => Effect.andThen(pass, subscription.settle(settlements))
      }))
      yield* transport.log.send([suspect("one"), suspect("two")])
      const started: Array<string> = []
      const handler = (name: string) => Effect.as(Effect.sync(() => started.push(name)), name)
      yield* Effect.provideService(run(worker(handler)), Transport, slow)
      yield* settle
      assert.strictEqual(arrived(), 1)
      assert.deepStrictEqual(started, [])
      yield* open
      yield* settle
      assert.deepStrictEqual(started, ["one"])
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(started, ["one", "two"])
    })))
})
