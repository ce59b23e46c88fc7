/**
 * Actors: a message changes the state at most once, in its turn, whoever dies
 * when, and its answer says what it did.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { Client } from "../../Client.ts"
import * as DeadLetter from "../../DeadLetter.ts"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Case, define, lease, reclaim } from "./kit.ts"
import * as Ledger from "./ledger.ts"

const again = lease + reclaim + 1_000

export const cases: ReadonlyArray<Case> = [
  define(
    "messages of one key run one at a time, in order, on two workers, and each sees what the one before left",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        yield* Ledger.work(kit, ledger, () => Effect.sleep(10))
        yield* Ledger.work(kit, ledger, () => Effect.sleep(10))
        const client = yield* ledger.client
        const names = Array.from({ length: 10 }, (_, i) => `${i}`)
        for (const name of names) {
          for (const key of ["a", "b"]) yield* client(key).Add(`${key}${name}`, { discard: true })
        }
        const [a, b] = yield* kit.within(
          5_000,
          Effect.all([client("a").Read(), client("b").Read()], { concurrency: "unbounded" }),
          "the answers"
        )
        Check.equal(a, names.map((name) => `a${name}`), "the entries of key a")
        Check.equal(b, names.map((name) => `b${name}`), "the entries of key b")
        Check.equal(yield* Ledger.entries(ledger, "a"), a, "the stored entries")
      })
  ),

  define("a slow key holds only itself", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      yield* Ledger.work(kit, ledger, (run) => run.job === "slow" ? Effect.never : Effect.void)
      const client = yield* ledger.client
      yield* client("a").Add("slow", { discard: true })
      yield* kit.started("slow")
      yield* client("a").Add("behind", { discard: true })
      Check.equal(yield* kit.within(1_000, client("b").Add("other"), "the answer"), 1, "the answer of the other key")
      Check.equal(kit.journal.starts, ["slow", "other"], "the runs")
    })),

  define(
    "a typed error is the answer: it changes nothing, is not tried again and leaves no dead letter",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        yield* Ledger.work(
          kit,
          ledger,
          (run, state) => run.job === "bad" ? Effect.andThen(state.set(["lost"]), Effect.fail("no")) : Effect.void
        )
        const client = yield* ledger.client
        yield* kit.within(1_000, client("a").Add("one"), "the first answer")
        Check.equal(yield* kit.within(1_000, Effect.flip(client("a").Add("bad")), "the error"), "no", "the error")
        Check.equal(yield* kit.within(1_000, client("a").Add("two"), "the last answer"), 2, "the last answer")
        Check.equal(yield* Ledger.entries(ledger, "a"), ["one", "two"], "the entries")
        Check.equal(kit.journal.of("bad").length, 1, "runs of the message that failed")
        Check.equal((yield* DeadLetter.list(kit.queue)).items.length, 0, "dead letters")
      })
  ),

  define(
    "a message whose worker crashes before the write runs again and is applied once",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        const victim = yield* Ledger.work(kit, ledger, Ledger.never)
        const client = yield* ledger.client
        const asked = yield* Effect.forkChild(client("a").Add("one"), { startImmediately: true })
        yield* client("a").Add("two", { discard: true })
        yield* kit.started("one")
        yield* victim.crash
        yield* Ledger.work(kit, ledger, Ledger.done)
        Check.equal(yield* kit.within(again, Fiber.join(asked), "the answer"), 1, "the answer")
        Check.equal(yield* kit.within(1_000, client("a").Read(), "the entries"), ["one", "two"], "the entries")
      })
  ),

  define(
    "a message whose worker crashes after the write is answered from what is stored, and does not run again",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        const victim = yield* Ledger.work(kit, ledger, Ledger.done)
        yield* victim.faults.stall((call) => call.operation === "settle")
        const client = yield* ledger.client
        const asked = yield* Effect.forkChild(client("a").Add("one"), { startImmediately: true })
        yield* client("a").Add("two", { discard: true })
        yield* kit.eventually(Ledger.entries(ledger, "a"), ({ length }) => length === 1, "the write before the crash")
        yield* victim.crash
        yield* Ledger.work(kit, ledger, Ledger.done)
        Check.equal(yield* kit.within(again, Fiber.join(asked), "the answer"), 1, "the answer")
        Check.equal(yield* kit.within(1_000, client("a").Read(), "the entries"), ["one", "two"], "the entries")
        Check.equal(kit.journal.starts, ["one", "two"], "the runs")
      })
  ),

  define(
    "a write that arrives after the message and the one behind it were applied elsewhere changes nothing",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        const gate = yield* Deferred.make<void>()
        const late = Ledger.lateWrite(gate)
        const victim = yield* Ledger.work(kit, ledger, Ledger.done, { store: late.store })
        const client = yield* ledger.client
        yield* client("a").Add("one", { discard: true })
        yield* kit.until(late.sent, "the write of the first worker")
        yield* victim.crash
        yield* Ledger.work(kit, ledger, Ledger.done)
        Check.equal(yield* kit.within(again, client("a").Add("two"), "the answer"), 2, "the answer")
        yield* Deferred.succeed(gate, undefined)
        yield* kit.elapse(200)
        Check.equal(yield* Ledger.entries(ledger, "a"), ["one", "two"], "the entries")
      })
  ),

  define(
    "a write that arrives while the message runs elsewhere decides, and the other run repeats its answer",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        const gate = yield* Deferred.make<void>()
        const late = Ledger.lateWrite(gate)
        const victim = yield* Ledger.work(kit, ledger, Ledger.done, { store: late.store })
        const client = yield* ledger.client
        const asked = yield* Effect.forkChild(client("a").Add("one"), { startImmediately: true })
        yield* kit.until(late.sent, "the write of the first worker")
        yield* victim.crash
        const open = yield* Deferred.make<void>()
        yield* Ledger.work(kit, ledger, () => Deferred.await(open))
        yield* kit.started("one", 2, again)
        yield* Deferred.succeed(gate, undefined)
        yield* kit.eventually(Ledger.entries(ledger, "a"), ({ length }) => length === 1, "the late write")
        yield* Deferred.succeed(open, undefined)
        Check.equal(yield* kit.within(1_000, Fiber.join(asked), "the answer"), 1, "the answer")
        Check.equal(yield* kit.within(1_000, client("a").Read(), "the entries"), ["one"], "the entries")
      })
  ),

  define("a late write of a message that failed elsewhere changes nothing", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const gate = yield* Deferred.make<void>()
      const late = Ledger.lateWrite(gate)
      const victim = yield* Ledger.work(kit, ledger, Ledger.done, { store: late.store })
      const client = yield* ledger.client
      const asked = yield* Effect.forkChild(Effect.flip(client("a").Add("one")), { startImmediately: true })
      yield* kit.until(late.sent, "the write of the first worker")
      yield* victim.crash
      yield* Ledger.work(kit, ledger, (run) => run.job === "one" ? Effect.fail("no") : Effect.void)
      Check.equal(yield* kit.within(again, Fiber.join(asked), "the answer"), "no", "the answer")
      yield* Deferred.succeed(gate, undefined)
      yield* kit.elapse(200)
      Check.equal(yield* kit.within(1_000, client("a").Read(), "the entries"), [], "the entries")
    })),

  define("a message that was applied is never called poison", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const client = yield* ledger.client
      const victim = yield* Ledger.work(kit, ledger, Ledger.done, { maxDeliveries: 1 })
      yield* victim.faults.stall((call) => call.operation === "settle")
      const asked = yield* Effect.forkChild(client("a").Add("one"), { startImmediately: true })
      yield* kit.started("one", 1, again)
      yield* kit.eventually(Ledger.entries(ledger, "a"), ({ length }) => length === 1, "the write before the crash")
      yield* victim.crash
      yield* Ledger.work(kit, ledger, Ledger.done, { maxDeliveries: 1 })
      Check.equal(yield* kit.within(again, Fiber.join(asked), "the answer"), 1, "the answer")
      Check.equal((yield* DeadLetter.list(kit.queue)).items.length, 0, "dead letters")
    })),

  define("a late write of a message that was called poison changes nothing", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const client = yield* ledger.client
      const gate = yield* Deferred.make<void>()
      const late = Ledger.lateWrite(gate)
      const victim = yield* Ledger.work(kit, ledger, Ledger.done, { store: late.store, maxDeliveries: 1 })
      const asked = yield* Effect.forkChild(Effect.flip(client("a").Add("one")), { startImmediately: true })
      yield* kit.until(late.sent, "the write of the first worker")
      yield* victim.crash
      yield* Ledger.work(kit, ledger, Ledger.done, { maxDeliveries: 1 })
      const error = yield* kit.within(again, Fiber.join(asked), "the answer")
      Check.equal(
        typeof error === "object" && error._tag === "JobFailed" ? error.reason : error,
        "Poison",
        "the answer"
      )
      yield* Deferred.succeed(gate, undefined)
      yield* kit.elapse(200)
      Check.equal(yield* kit.within(1_000, client("a").Add("two"), "the answer"), 1, "the answer of the next message")
    })),

  define("a retry, a snooze and a shutdown keep the turn, and apply the message once", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const busy = (times: number, job: string) => kit.journal.of(job).length <= times
      const body: Ledger.Body = (run) =>
        run.job === "dies" && busy(1, run.job)
          ? Effect.die(new Error("defect"))
          : run.job === "snoozes" && busy(1, run.job)
          ? new Task.Snooze({ delay: Duration.millis(300) })
          : run.job === "hangs" && busy(1, run.job)
          ? Effect.never
          : Effect.void
      const first = yield* Ledger.work(kit, ledger, body, { gracePeriod: 0 })
      const client = yield* ledger.client
      const names = ["dies", "snoozes", "hangs", "last"]
      for (const name of names) yield* client("a").Add(name, { discard: true })
      yield* kit.started("hangs", 1, 3_000)
      yield* Ledger.work(kit, ledger, body)
      yield* kit.within(1_000, first.shutdown, "the end of the worker")
      Check.equal(yield* kit.within(2_000, client("a").Read(), "the entries"), names, "the entries")
      Check.equal(kit.journal.starts, names.flatMap((name) => name === "last" ? [name] : [name, name]), "the runs")
    })),

  define("a message that waits and is cancelled is never applied", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      yield* Ledger.work(kit, ledger, (run) => run.job === "one" ? Effect.sleep(300) : Effect.void)
      const client = yield* ledger.client
      yield* client("a").Add("one", { discard: true })
      yield* client("a").Add("two", { discard: true, id: "second" })
      yield* kit.started("one")
      yield* Client.use((client) => client.job(kit.queue, "second").cancel)
      Check.equal(yield* kit.within(2_000, client("a").Add("three"), "the answer"), 2, "the answer")
      Check.equal(yield* Ledger.entries(ledger, "a"), ["one", "three"], "the entries")
    })),

  define("the same id asked twice is one message with one answer", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const client = yield* ledger.client
      const early = yield* Effect.forkChild(client("a").Add("one", { id: "m" }), { startImmediately: true })
      yield* kit.breathe
      yield* Ledger.work(kit, ledger, Ledger.done)
      Check.equal(yield* kit.within(1_000, Fiber.join(early), "the answer"), 1, "the answer")
      yield* kit.within(1_000, client("a").Add("two"), "the answer")
      Check.equal(yield* kit.within(1_000, client("a").Add("one", { id: "m" }), "the answer"), 1, "the answer again")
      Check.equal(yield* Ledger.entries(ledger, "a"), ["one", "two"], "the entries")
    }))
]
