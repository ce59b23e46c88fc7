import { describe, expect, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Actor from "../src/Actor.ts"
import * as Task from "../src/Task.ts"
import * as Worker from "../src/Worker.ts"
import { program, run } from "./fixtures/kit.ts"

class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  balance: Schema.Number
}) {}

const Account = Actor.make("Account", {
  state: Schema.Struct({ balance: Schema.Number }),
  initialState: () => ({ balance: 0 }),
  messages: [
    Task.make("Deposit", { payload: { amount: Schema.Number } }),
    Task.make("Withdraw", { payload: { amount: Schema.Number }, success: Schema.Number, error: InsufficientFunds })
  ]
})

const AccountLive = Account.toLayer({
  Deposit: ({ amount }, state) => state.update(({ balance }) => ({ balance: balance + amount })),
  Withdraw: Effect.fnUntraced(function*({ amount }, state) {
    const { balance } = yield* state.get
    if (balance < amount) return yield* new InsufficientFunds({ balance })
    yield* state.set({ balance: balance - amount })
    return balance - amount
  })
})

const WorkerLive = Worker.layer({ tasks: Account.tasks }).pipe(Layer.provide(AccountLive))

describe("Actor", () => {
  it.effect("answers, and keeps its state", () =>
    program(Effect.gen(function*() {
      yield* run(WorkerLive)
      const account = yield* Account.client
      yield* account("alice").Deposit({ amount: 10 })
      expect(yield* account("alice").Withdraw({ amount: 3 })).toBe(7)
      const error = yield* Effect.flip(account("alice").Withdraw({ amount: 30 }))
      expect(error).toEqual(new InsufficientFunds({ balance: 7 }))
    })))
})
