/**
 * A bank of hundreds of accounts, run by processes that are killed, stopped and
 * told to end while money moves.
 */
import * as Client from "@troupe/core/Client"
import * as Bank from "@troupe/core/testing/guarantees/bank"
import * as Invariants from "@troupe/core/testing/Invariants"
import { Transport } from "@troupe/core/Transport"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"
import { type Broker, brokers } from "./brokers.ts"

const accounts = Array.from({ length: 200 }, (_, i) => `account-${i}`)
const orders = Bank.orders(accounts, 600, 11)
const noted = accounts.slice(0, 20)

/** Each kills, stops or ends a worker. Before each, a part of the money moves. */
const strikes = 6

const startWorker = async (broker: string, url: string, bank: string, id: string): Promise<ChildProcess> => {
  const path = fileURLToPath(new URL("worker.ts", import.meta.url))
  const child = fork(path, [broker, url, bank, id], { execArgv: [] })
  await new Promise<void>((resolve, reject) => {
    child.once("message", () => resolve())
    child.once("exit", (code) => reject(new Error(`the worker ended with ${code}`)))
  })
  return child
}

const whenEnded = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.once("exit", () => resolve())
  })

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds))

/** Kills one worker after the other, stops it for longer than a lease, or ends it: each time another takes its place. */
const employ = (start: (id: string) => Promise<ChildProcess>) => {
  const workers: Array<ChildProcess> = []
  let next = 0
  const add = async () => void workers.push(await start(`worker-${++next}`))
  const ways = [
    async (victim: ChildProcess) => {
      victim.kill("SIGKILL")
      await add()
    },
    async (victim: ChildProcess) => {
      victim.kill("SIGSTOP")
      await pause(1_800)
      victim.kill("SIGCONT")
      workers.push(victim)
    },
    async (victim: ChildProcess) => {
      victim.kill("SIGTERM")
      await add()
      await whenEnded(victim)
    }
  ]
  return {
    start: async () => {
      for (let i = 0; i < 3; i++) await add()
    },
    strike: (round: number) => ways[round % ways.length]!(workers.shift()!),
    end: async () => {
      for (const worker of workers) worker.kill("SIGKILL")
      await Promise.all(workers.map(whenEnded))
    }
  }
}

const run = async (name: string, broker: Broker) => {
  const server = await broker.start()
  const bank = Bank.define("bank")
  const staff = employ((id) => startWorker(name, server.url, "bank", id))
  const history = Invariants.empty()
  const program = Effect.gen(function*() {
    const { clock } = yield* Transport
    const account = yield* bank.Account.client
    yield* Effect.promise(staff.start)
    yield* Effect.forEach(accounts, (key) => account(key).Open({ balance: 150 }), { concurrency: 32 })
    const begun = yield* clock
    const transferring: Array<Fiber.Fiber<Bank.Order & { readonly answer: "done" | "refused" }, unknown>> = []
    let snapshots = 0
    for (let round = 0; round < strikes; round++) {
      for (const order of orders.slice(round * orders.length / strikes, (round + 1) * orders.length / strikes)) {
        const transfer = Effect.flatMap(bank.Transfer.enqueue(order, { id: order.id }), (job) => job.await)
        transferring.push(yield* Effect.forkChild(Effect.map(transfer, (answer) => ({ ...order, answer }))))
      }
      // one producer, one after the other: their order is what counts
      for (const key of noted) yield* account(key).Note({ n: round }, { discard: true })
      const strike = yield* Effect.forkChild(Effect.promise(() => staff.strike(round)))
      while (strike.pollUnsafe() === undefined) {
        Bank.checkSnapshot(yield* Bank.snapshot(bank, accounts))
        snapshots++
        yield* Effect.sleep(100)
      }
    }
    const answered = yield* Fiber.joinAll(transferring)
    // behind all notes of its account
    for (const key of noted) yield* account(key).Note({ n: strikes }, { timeout: "60 seconds" })

    const found = yield* Bank.snapshot(bank, accounts)
    expect([...Bank.checkSnapshot(found).open]).toEqual([])
    for (const key of noted) expect(found.get(key)?.notes.length).toBe(strikes + 1)
    yield* Bank.checkAnswers(bank, found, answered)
    const done = answered.filter(({ answer }) => answer === "done")
    expect(done.length).toBeGreaterThan(orders.length / 2)
    expect(done.length).toBeLessThan(orders.length)
    expect(snapshots).toBeGreaterThanOrEqual(strikes)

    const ended = yield* clock
    const note = (queue: string, task: string, id: string, key: string | undefined, order: number) =>
      history.sent.push({
        queue,
        id,
        task,
        key,
        acceptedAt: begun,
        acceptedBy: ended,
        dueAt: begun,
        dueBy: ended,
        order,
        maxAttempts: undefined,
        expiresAt: undefined
      })
    answered.forEach(({ answer, from, id, to }, i) => {
      note(bank.Transfer.queue, bank.Transfer._tag, id, undefined, i)
      note(bank.Account.queue, "Account/Withdraw", `${id}/out`, `Account/${from}`, i)
      if (answer === "done") note(bank.Account.queue, "Account/Deposit", `${id}/in`, `Account/${to}`, i)
    })
    for (const look of [Invariants.observe, Invariants.observeListings]) {
      for (const seen of yield* look(history.sent)) history.observations.push(seen)
    }
    // who ran what, the processes that were killed did not tell: that a record has a run is not judged
    const violations = Invariants.check(history, { finished: true }).filter(({ kind }) => kind !== "WrongRecord")
    expect(Invariants.format(violations)).toBe("No violations.")
  })
  try {
    await Effect.runPromise(
      program.pipe(
        Effect.provide(Layer.provideMerge(Client.layer, broker.layer(server.url))),
        Effect.provide(Layer.succeed(References.MinimumLogLevel, "Error"))
      )
    )
  } finally {
    await staff.end()
    await server.stop()
  }
}

for (const [name, broker] of Object.entries(brokers)) {
  test(
    `${name}: money is exact while the processes of a bank are killed, stopped and drained`,
    () => run(name, broker),
    120_000
  )
}
