/**
 * A bank in one process: three accounts, and money that moves between them.
 */
import * as Client from "@troupe/core/Client"
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Worker from "@troupe/core/Worker"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { Account, Transfer } from "./accounts.ts"
import { HandlersLive } from "./handlers.ts"

const customers = ["alice", "bob", "carol"] as const

const program = Effect.gen(function*() {
  const account = yield* Account.client
  const transfer = (from: string, to: string, amount: number) =>
    Effect.flatMap(Transfer.enqueue({ from, to, amount }), (job) => job.await)

  for (const customer of customers) yield* account(customer).Deposit({ amount: 100 })
  yield* transfer("alice", "bob", 30)
  yield* Console.log(`alice has ${yield* account("alice").Balance()}, bob ${yield* account("bob").Balance()}`)

  yield* Console.log(`carol pays 500 to alice: ${yield* transfer("carol", "alice", 500)}`)
  const { balance } = yield* account("carol").Withdraw({ amount: 500 }).pipe(
    Effect.as({ balance: 0 }),
    Effect.catchTag("InsufficientFunds", (error) => Effect.succeed(error))
  )
  yield* Console.log(`carol takes out 500: she has ${balance}`)

  // everybody pays everybody, all at once
  const pairs = customers.flatMap((from) => customers.filter((to) => to !== from).map((to) => ({ from, to })))
  const payments = Array.from({ length: 10 }, () => pairs).flat()
  yield* Effect.forEach(payments, ({ from, to }) => transfer(from, to, 1), { concurrency: "unbounded" })

  let total = 0
  for (const customer of customers) {
    const balance = yield* account(customer).Balance()
    total += balance
    yield* Console.log(`${customer.padEnd(5)} ${balance}`)
  }
  yield* Console.log(`total ${total} after ${payments.length} more payments`)
})

const WorkerLive = Worker.layer({ tasks: [...Account.tasks, Transfer], concurrency: 64 }).pipe(
  Layer.provide(HandlersLive),
  Layer.provideMerge(Client.layer),
  Layer.provide(MemoryTransport.layer),
  Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn"))
)

await Effect.runPromise(Effect.provide(program, WorkerLive))
