/**
 * How the bank does it.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Account, InsufficientFunds, Transfer } from "./accounts.ts"

const AccountLive = Account.toLayer({
  Deposit: ({ amount }, state) => state.update(({ balance }) => ({ balance: balance + amount })),
  Withdraw: Effect.fnUntraced(function*({ amount }, state) {
    const { balance } = yield* state.get
    if (balance < amount) return yield* new InsufficientFunds({ balance })
    yield* state.set({ balance: balance - amount })
    return balance - amount
  }),
  Balance: (_, state) => Effect.map(state.get, ({ balance }) => balance)
})

/**
 * At least once, like every task. The ids make it exact: an ask that is repeated
 * with the same id is the same message, and has the same answer.
 */
const TransferLive = Transfer.toLayer(Effect.gen(function*() {
  const account = yield* Account.client
  return ({ amount, from, to }, { id }) =>
    account(from).Withdraw({ amount }, { id: `${id}/out` }).pipe(
      Effect.andThen(account(to).Deposit({ amount }, { id: `${id}/in` })),
      Effect.as("done" as const),
      Effect.catchTag("InsufficientFunds", () => Effect.succeed("refused" as const)),
      // what else can go wrong may pass: the next attempt asks for the same answers
      Effect.orDie
    )
}))

export const HandlersLive = Layer.merge(AccountLive, TransferLive)
