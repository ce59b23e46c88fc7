/**
 * Actors together: money stays exact while the workers of a bank die.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Client from "../../Client.ts"
import * as Bank from "./bank.ts"
import { type Case, define, lease, type Process } from "./kit.ts"

export const cases: ReadonlyArray<Case> = [
  define(
    "a bank whose workers crash and fall silent loses no money, doubles none, and answers every ask",
    (kit) =>
      Effect.gen(function*() {
        const bank = Bank.define(kit.queue)
        const keys = Array.from({ length: 30 }, (_, i) => `account ${i}`)
        const all = Bank.orders(keys, 90, 7)
        const notes = 8
        const start = () =>
          kit.launch((id) =>
            // a worker that is cut off takes jobs and loses them again and again: that is no poison
            Bank.worker(bank, { id, idleTimeout: lease, concurrency: 8, maxDeliveries: 100 }, Effect.sleep(20)).pipe(
              Layer.provide(Client.layer)
            )
          )
        let workers = [yield* start(), yield* start(), yield* start()]
        const account = yield* bank.Account.client
        yield* kit.within(
          10_000,
          Effect.forEach(keys, (key) => account(key).Open({ balance: 100 }), { concurrency: 16 }),
          "the opening of the accounts"
        )
        for (let n = 0; n < notes; n++) {
          for (const key of keys.slice(0, 10)) yield* account(key).Note({ n }, { discard: true })
        }
        const running = yield* Effect.forkChild(
          Effect.forEach(all, (order) =>
            Effect.gen(function*() {
              const job = yield* bank.Transfer.enqueue(order)
              return { ...order, answer: yield* job.await }
            }), { concurrency: 24 }),
          { startImmediately: true }
        )
        let silent: Process | undefined
        for (let round = 0; round < 4; round++) {
          yield* kit.elapse(lease / 2)
          Bank.checkSnapshot(yield* Bank.snapshot(bank, keys))
          const [victim, ...others] = workers
          if (round % 2 === 0) yield* victim!.crash
          // it loses its leases and goes on: its writes come late, or never
          else yield* victim!.faults.stall((call) => call.operation === "put" || call.operation === "extend")
          if (silent !== undefined) yield* silent.faults.heal
          silent = victim
          workers = [...others, yield* start()]
        }
        const answered = yield* kit.within(60_000, Fiber.join(running), "the end of all transfers")
        yield* kit.within(10_000, account(keys[0]!).Note({ n: notes }), "the last note")
        const found = yield* Bank.snapshot(bank, keys)
        const { open } = Bank.checkSnapshot(found)
        if (open.size > 0) throw new Error(`transfers that are over left money under way: ${[...open].join(", ")}`)
        yield* Bank.checkAnswers(bank, found, answered)
      })
  )
]
