/**
 * What becomes of an actor whose message failed.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as ActorEvents from "../../ActorEvents.ts"
import type { Directive } from "../../ActorSupervision.ts"
import * as DeadLetter from "../../DeadLetter.ts"
import { Transport } from "../../Transport.ts"
import * as Check from "../Check.ts"
import { type Case, define, type Kit, lease, reclaim } from "./kit.ts"
import * as Ledger from "./ledger.ts"

/** `dies` is a defect, `fails` a typed error; the second part of the text says how often. */
const failing = (kit: Kit): Ledger.Body => (run) => {
  const [how, times = "1"] = run.job.split(" ")
  if (kit.journal.of(run.job).length > Number(times)) return Effect.void
  return how === "dies" ? Effect.die(new Error("broken")) : how === "fails" ? Effect.fail("no") : Effect.void
}

const always = (directive: Directive) => ({ supervision: { decide: () => directive } })

const deadLetters = (kit: Kit) => Effect.map(DeadLetter.list(kit.queue), ({ items }) => items.map((one) => one.reason))

/** The events of the case's actor, collected from now on. */
const watch = (kit: Kit) =>
  Effect.gen(function*() {
    const events: Array<ActorEvents.ActorEvent> = []
    const active = yield* Latch.make()
    const { transport } = kit
    const subscribed: Transport["Service"] = {
      ...transport,
      bus: {
        ...transport.bus,
        subscribe: (...given) => Effect.tap(transport.bus.subscribe(...given), () => active.open)
      }
    }
    yield* Effect.forkChild(
      Effect.provideService(
        Stream.runForEach(ActorEvents.stream("Ledger"), (event) => Effect.sync(() => events.push(event))),
        Transport,
        subscribed
      ),
      { startImmediately: true }
    )
    yield* kit.within(1_000, active.await, "the subscription to events")
    return (key: string) => events.filter((event) => event.key === key).map((event) => event._tag)
  })

/** Keys of this case alone: events of an actor reach every listener of its name. */
const keyOf = (kit: Kit) => kit.name("key")

export const cases: ReadonlyArray<Case> = [
  define(
    "restart: the message is tried again on the stored state, and goes to the dead letters in the end",
    (kit) =>
      Effect.gen(function*() {
        const key = keyOf(kit)
        const ledger = Ledger.make(kit)
        const events = yield* watch(kit)
        let built = 0
        yield* Ledger.work(kit, ledger, failing(kit), { perKey: () => Effect.sync(() => void built++) })
        const client = yield* ledger.client
        Check.equal(
          yield* kit.within(3_000, client(key).Add("dies 2"), "the answer"),
          1,
          "the answer after two restarts"
        )
        const hopeless = yield* Effect.forkChild(Effect.flip(client(key).Add("dies 9")), { startImmediately: true })
        Check.equal(
          yield* kit.within(3_000, client(key).Add("next"), "the answer"),
          2,
          "the answer of the next message"
        )
        const error = yield* Fiber.join(hopeless)
        Check.equal(
          typeof error === "object" && error._tag === "JobFailed" ? error.reason : error,
          "Defect",
          "the error"
        )
        Check.equal(yield* Ledger.entries(ledger, key), ["dies 2", "next"], "the entries")
        Check.equal(yield* deadLetters(kit), ["Defect"], "the dead letters")
        Check.equal(built, 6, "times that the handlers of the key were built")
        yield* kit.until(() => events(key).length === 5, "the events of five restarts")
      })
  ),

  define(
    "resume: the message goes to the dead letters at once, and the actor goes on with what it holds",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        let built = 0
        yield* Ledger.work(kit, ledger, failing(kit), {
          ...always("resume"),
          perKey: () => Effect.sync(() => void built++)
        })
        const client = yield* ledger.client
        yield* kit.within(1_000, client("a").Add("one"), "the answer")
        Check.equal(yield* kit.within(1_000, Effect.flip(client("a").Add("fails")), "the error"), "no", "the error")
        yield* kit.within(1_000, Effect.flip(client("a").Add("dies")), "the error")
        Check.equal(yield* kit.within(1_000, client("a").Add("two"), "the answer"), 2, "the last answer")
        Check.sameMembers(yield* deadLetters(kit), ["Error", "Defect"], "the dead letters")
        Check.equal(built, 1, "times that the handlers of the key were built")
      })
  ),

  define(
    "stop: the mailbox is held until it is resumed, in its order; other keys go on",
    (kit) =>
      Effect.gen(function*() {
        const key = keyOf(kit)
        const ledger = Ledger.make(kit)
        const events = yield* watch(kit)
        yield* Ledger.work(kit, ledger, failing(kit), always("stop"))
        const client = yield* ledger.client
        const stopped = yield* Effect.forkChild(client(key).Add("dies"), { startImmediately: true })
        const behind = yield* Effect.forkChild(client(key).Add("behind"), { startImmediately: true })
        yield* kit.started("dies")
        yield* kit.within(1_000, client("other").Add("free"), "the answer of another key")
        yield* kit.elapse(3_000)
        Check.equal(kit.journal.starts, ["dies", "free"], "the runs while it is stopped")
        const found = yield* ledger.state(key)
        Check.equal(
          found._tag === "Some" && found.value.stopped._tag === "Some",
          true,
          "whether it says that it is stopped"
        )
        Check.equal(yield* ledger.resume(key), true, "the answer of resume")
        Check.equal(yield* ledger.resume(key), false, "the answer of a second resume")
        Check.equal(yield* kit.within(16_000, Fiber.join(stopped), "the answer"), 1, "the answer of what stopped it")
        Check.equal(yield* kit.within(1_000, Fiber.join(behind), "the answer"), 2, "the answer of what waited")
        yield* kit.until(() => events(key).length >= 2, "the events")
        Check.equal(events(key), ["Stopped", "Resumed"], "the events")
        Check.equal(yield* deadLetters(kit), [], "the dead letters")
      })
  ),

  define(
    "too many restarts within the time stop the key, counted across workers; others are not touched",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit, { maxAttempts: 10 })
        const supervision = { intensity: { restarts: 2, within: "1 minute" } } as const
        const first = yield* Ledger.work(kit, ledger, failing(kit), { supervision })
        const client = yield* ledger.client
        yield* client("a").Add("dies 3", { discard: true })
        yield* kit.started("dies 3", 2, 2_000)
        yield* first.shutdown
        yield* Ledger.work(kit, ledger, failing(kit), { supervision })
        yield* kit.started("dies 3", 3, 2_000)
        yield* kit.elapse(2_000)
        Check.equal(kit.journal.of("dies 3").length, 3, "runs before it is stopped")
        yield* kit.within(1_000, client("b").Add("free"), "the answer of another key")
        yield* ledger.resume("a")
        Check.equal(yield* kit.within(16_000, client("a").Read(), "the entries"), ["dies 3"], "the entries")
      })
  ),

  define(
    "a reset begins anew, also for a message that runs meanwhile, and forgets no message that was applied",
    (kit) =>
      Effect.gen(function*() {
        const ledger = Ledger.make(kit)
        yield* Ledger.work(
          kit,
          ledger,
          (run) => run.job === "slow" && kit.journal.of("slow").length === 1 ? Effect.sleep(500) : Effect.void
        )
        const client = yield* ledger.client
        yield* kit.within(1_000, client("a").Add("one"), "the answer")
        const slow = yield* Effect.forkChild(client("a").Add("slow"), { startImmediately: true })
        yield* kit.started("slow")
        Check.equal(yield* ledger.reset("a"), true, "the answer of reset")
        Check.equal(yield* ledger.reset("nobody"), false, "the answer of reset for a key without a state")
        Check.equal(yield* kit.within(2_000, Fiber.join(slow), "the answer"), 1, "the answer on the new state")
        Check.equal(yield* Ledger.entries(ledger, "a"), ["slow"], "the entries")
        Check.equal((yield* ledger.list()).items.map((one) => one.key), ["a"], "the keys that are listed")
      })
  ),

  define("a reset forgets no message that was applied, whenever it comes", (kit) =>
    Effect.gen(function*() {
      const ledger = Ledger.make(kit)
      const victim = yield* Ledger.work(kit, ledger, Ledger.done)
      const client = yield* ledger.client
      yield* kit.within(1_000, client("a").Add("zero"), "the answer")
      yield* victim.faults.stall((call) => call.operation === "settle")
      // it has read the row, and writes it after the message was applied
      yield* kit.faults.stall((call) => call.operation === "put")
      const reset = yield* Effect.forkChild(ledger.reset("a"), { startImmediately: true })
      yield* kit.elapse(100)
      const asked = yield* Effect.forkChild(client("a").Add("one"), { startImmediately: true })
      yield* kit.started("one")
      yield* kit.eventually(Ledger.entries(ledger, "a"), ({ length }) => length === 2, "the write of the message")
      yield* kit.faults.heal
      Check.equal(yield* kit.within(1_000, Fiber.join(reset), "the reset"), true, "the answer of reset")
      Check.equal(yield* Ledger.entries(ledger, "a"), [], "the entries after the reset")
      yield* victim.crash
      yield* Ledger.work(kit, ledger, Ledger.done)
      const limit = lease + reclaim + 1_000
      Check.equal(yield* kit.within(limit, Fiber.join(asked), "the answer"), 2, "the answer of what was applied before")
      Check.equal(yield* Ledger.entries(ledger, "a"), [], "the entries at the end")
    }))
]
