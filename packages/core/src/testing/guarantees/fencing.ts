/**
 * Guarantee 14: a fencing token is greater than any taken before for its job.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Task from "../../Task.ts"
import * as Check from "../Check.ts"
import { type Body, type Case, define, lease, reclaim } from "./kit.ts"

const insistOnGrowth = (tokens: ReadonlyArray<number>, count: number) => {
  Check.equal(tokens.length, count, "tokens taken")
  for (let i = 1; i < tokens.length; i++) {
    Check.isTrue(tokens[i]! > tokens[i - 1]!, `the tokens ${tokens.join(", ")} do not grow`)
  }
}

export const cases: ReadonlyArray<Case> = [
  define("tokens grow with every attempt, snooze and hand-out after a crash", (kit) =>
    Effect.gen(function*() {
      const tokens: Array<number> = []
      const body: Body = (run, execution) =>
        Effect.flatMap(execution.fencingToken, (token): ReturnType<Body> => {
          tokens.push(token)
          switch (tokens.length) {
            case 1:
              return Effect.fail("again")
            case 2:
              return Effect.fail(new Task.Snooze({ delay: Duration.millis(200) }))
            case 3:
              return Effect.never
            default:
              return Effect.succeed(run.job)
          }
        })
      const work = kit.work()
      const victim = yield* kit.worker(work, body)
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.until(() => tokens.length === 3, "the third run", 2_000)
      yield* victim.crash
      yield* kit.worker(work, body)
      Check.equal(yield* kit.outcome(job!, lease + reclaim), "succeeded: one", "the end of the job")
      insistOnGrowth(tokens, 4)
    })),

  define("one attempt has one token, however often it asks", (kit) =>
    Effect.gen(function*() {
      const tokens: Array<number> = []
      const work = kit.work()
      yield* kit.worker(work, (run, execution) =>
        Effect.gen(function*() {
          tokens.push(yield* execution.fencingToken)
          yield* Effect.sleep(2 * lease)
          tokens.push(yield* execution.fencingToken)
          return run.job
        }), { idleTimeout: 3 * lease })
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.outcome(job!, 3 * lease)
      Check.equal(tokens.length, 2, "tokens taken")
      Check.equal(tokens[0], tokens[1], "the two tokens")
    })),

  define("tokens of a job with a used id are greater than those of its predecessor", (kit) =>
    Effect.gen(function*() {
      const tokens: Array<number> = []
      const work = kit.work({ resultTimeToLive: 0 })
      yield* kit.worker(work, (run, execution) =>
        Effect.map(execution.fencingToken, (token) => {
          tokens.push(token)
          return run.job
        }))
      yield* kit.outcome(yield* work.enqueue("one", { id: "the-one" }))
      yield* kit.elapse(65_000)
      const again = Effect.flatMap(work.enqueue("two", { id: "the-one" }), (job) =>
        job.duplicate ? Effect.sleep(500) : Effect.void)
      yield* kit.within(
        10_000,
        Effect.repeat(again, {
          until: () =>
            tokens.length === 2
        }),
        "the second job"
      )
      insistOnGrowth(tokens, 2)
    })),

  define("a handler whose worker lost the lease gets no token and is interrupted", (kit) =>
    Effect.gen(function*() {
      const gate = yield* Latch.make()
      const tokens: Array<number> = []
      const work = kit.work()
      // heartbeats come too late to notice: the question for the token must
      const loser = yield* kit.worker(
        work,
        (run, execution) =>
          Effect.andThen(
            gate.await,
            Effect.map(execution.fencingToken, (token) => {
              tokens.push(token)
              return run.job
            })
          ),
        { idleTimeout: 30_000 }
      )
      yield* kit.enqueue(work, "one")
      const run = yield* kit.started("one")
      // not the worker's own `crash`: its handler must be seen
      yield* loser.faults.crash(loser.id)
      yield* gate.open
      yield* kit.until(() => run.outcome === "interrupted", "the interruption")
      Check.equal(tokens, [], "tokens taken")
    })),

  define("a handler waits for its token while the broker is away", (kit) =>
    Effect.gen(function*() {
      const tokens: Array<number> = []
      const gate = yield* Latch.make()
      const work = kit.work()
      const worker = yield* kit.worker(
        work,
        (run, execution) =>
          Effect.gen(function*() {
            yield* gate.await
            tokens.push(yield* execution.fencingToken)
            return run.job
          }),
        { idleTimeout: 10_000 }
      )
      const [job] = yield* kit.enqueue(work, "one")
      yield* kit.started("one")
      yield* worker.faults.loseRequests(true)
      yield* gate.open
      yield* kit.elapse(1_500)
      Check.equal(tokens, [], "tokens taken from a broker that is away")
      yield* worker.faults.heal
      Check.equal(yield* kit.outcome(job!, 3_000), "succeeded: one", "the end of the job")
      Check.equal(tokens.length, 1, "tokens taken")
    }))
]
