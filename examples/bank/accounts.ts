/**
 * What a bank understands: producers and workers import this.
 */
import * as Actor from "@troupe/core/Actor"
import * as Task from "@troupe/core/Task"
import * as Schema from "effect/Schema"

export class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  balance: Schema.Number
}) {}

const amount = Schema.Number.check(Schema.isGreaterThan(0))

/** One per customer. Its messages run one at a time, over one balance. */
export const Account = Actor.make("Account", {
  state: Schema.Struct({ balance: Schema.Number }),
  initialState: () => ({ balance: 0 }),
  messages: [
    Task.make("Deposit", { payload: { amount } }),
    Task.make("Withdraw", { payload: { amount }, success: Schema.Number, error: InsufficientFunds }),
    Task.make("Balance", { success: Schema.Number })
  ]
})

/** Two accounts at once: a task that asks both. */
export class Transfer extends Task.make("Transfer", {
  payload: { from: Schema.String, to: Schema.String, amount },
  success: Schema.Literals(["done", "refused"]),
  queue: "transfers",
  maxAttempts: 10
}) {}
