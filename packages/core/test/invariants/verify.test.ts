import { assert, describe, it } from "@effect/vitest"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { TestClock } from "effect/testing"
import type { Envelope } from "../../src/Envelope.ts"
import * as MemoryTransport from "../../src/MemoryTransport.ts"
import * as Invariants from "../../src/testing/Invariants.ts"
import { Transport } from "../../src/Transport.ts"
import { bareEnvelope, bareRecord } from "../samples.ts"
import { queue, sent } from "./parts.ts"

describe("Invariants.verify", () => {
  const envelope = (id: string): Envelope => ({ ...bareEnvelope, id, queue, due: undefined })
  const note = (id: string, order: number) => sent({ id, order, acceptedAt: 0, dueAt: 0 })

  const enqueue = Effect.fnUntraced(function*(...ids: NonEmptyReadonlyArray<string>) {
    const { log } = yield* Transport
    const [first, ...others] = ids
    yield* log.send([envelope(first), ...others.map(envelope)])
  })

  it.effect("finds jobs in every place, and in none", () =>
    Effect.gen(function*() {
      yield* enqueue("a", "b", "c")
      const { log } = yield* Transport
      const subscription = yield* log.subscribe({
        queue,
        priorities: [bareEnvelope.priority],
        consumer: "w",
        lease: 1_000
      })
      const [a, b] = yield* subscription.pull(2)
      const record = { ...bareRecord, queue, state: "failed" as const, reason: "Discarded" as const, attempts: 1 }
      yield* subscription.settle([
        { _tag: "Bury", delivery: a, record: { ...record, id: "a" }, timeToLive: 60_000 }
      ])
      assert.strictEqual(b?.envelope.id, "b")
      const jobs = ["a", "b", "c", "d"].map((id) => ({ queue, id }))
      for (const observe of [Invariants.observe, Invariants.observeListings]) {
        const seen = yield* observe(jobs)
        assert.deepStrictEqual(
          seen.map(({ id, places, record }) => [id, places, record?.reason]),
          [["a", ["dead"], "Discarded"], ["b", ["running"], undefined], ["c", ["queued"], undefined], [
            "d",
            [],
            undefined
          ]]
        )
      }
    }).pipe(Effect.scoped, Effect.provide(MemoryTransport.layer)))

  it.effect("dies with the list of what is broken", () =>
    Effect.gen(function*() {
      yield* enqueue("a")
      const history = Invariants.empty()
      history.sent.push(note("a", 0))
      yield* Invariants.verify(history)
      assert.lengthOf(history.observations, 1)

      history.sent.push(note("lost", 1))
      const exit = yield* Effect.exit(Invariants.verify(history))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) {
        const error = Cause.squash(exit.cause)
        assert.instanceOf(error, Error)
        assert.match(String(error), /1 broken promises:\nLoss: job "lost" of queue "q"/)
      }
    }).pipe(Effect.provide(MemoryTransport.layer)))

  it.effect("takes an expired record for what it is", () =>
    Effect.gen(function*() {
      yield* enqueue("a")
      const { log } = yield* Transport
      const history = Invariants.empty()
      history.sent.push(note("a", 0))
      yield* Invariants.verify(history)
      yield* log.withdraw(queue, [{ ...bareRecord, id: "a", queue, attempts: 0, timeToLive: 60_000 }])
      yield* TestClock.adjust("59 seconds")
      yield* Invariants.verify(history, { finished: true })
      yield* TestClock.adjust("1 second")
      yield* Invariants.verify(history, { finished: true })
      assert.isUndefined(history.observations.at(-1)?.record)
    }).pipe(Effect.provide(MemoryTransport.layer)))
})
