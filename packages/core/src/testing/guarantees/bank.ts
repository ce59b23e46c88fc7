/**
 * A bank: accounts that are actors, and transfers that ask two of them. What it
 * writes down shows a message that was lost, applied twice or out of order.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Actor from "../../Actor.ts"
import { Client } from "../../Client.ts"
import * as Task from "../../Task.ts"
import * as Worker from "../../Worker.ts"
import type { WorkerOptions } from "../../WorkerOptions.ts"
import * as Check from "../Check.ts"

class InsufficientFunds extends Schema.TaggedError<InsufficientFunds>()("InsufficientFunds", {
  balance: Schema.Number
}) {}

/** The `version` of the state that it made, and the balance then. */
const Receipt = Schema.Struct({ version: Schema.Number, balance: Schema.Number })

/** One movement of money: negative for a withdrawal. */
const Entry = Schema.Struct({ transfer: Schema.String, amount: Schema.Number, version: Schema.Number })

const State = Schema.Struct({
  balance: Schema.Number,
  opened: Schema.Number,
  /** Messages that changed the account. */
  version: Schema.Number,
  entries: Schema.Array(Entry),
  /** Numbers that one producer sent one after the other. */
  notes: Schema.Array(Schema.Number)
})

const movement = { transfer: Schema.String, amount: Schema.Number }

const accounts = (queue: string) =>
  Actor.make("Account", {
    queue,
    state: State,
    initialState: () => ({ balance: 0, opened: 0, version: 0, entries: [], notes: [] }),
    messages: [
      Task.make("Open", { payload: { balance: Schema.Number }, success: Receipt }),
      Task.make("Withdraw", { payload: movement, success: Receipt, error: InsufficientFunds }),
      Task.make("Deposit", { payload: movement, success: Receipt }),
      Task.make("Note", { payload: { n: Schema.Number }, success: Schema.Number })
    ]
  })

const transfers = (queue: string) =>
  Task.make("Transfer", {
    payload: { id: Schema.String, from: Schema.String, to: Schema.String, amount: Schema.Number },
    success: Schema.Literals(["done", "refused"]),
    queue,
    // an ask that was not answered in time is asked again, with the same id
    maxAttempts: 1_000,
    retry: Schedule.spaced("200 millis")
  })

export interface Bank {
  readonly Account: ReturnType<typeof accounts>
  readonly Transfer: ReturnType<typeof transfers>
}

export const define = (name: string): Bank => ({
  Account: accounts(`${name}-accounts`),
  Transfer: transfers(`${name}-transfers`)
})

const askLimit = "5 seconds"

/** A worker of the bank. `pause` is what each message waits for before it ends. */
export const worker = ({ Account, Transfer }: Bank, options: WorkerOptions, pause: Effect.Effect<void>) => {
  const move = (state: Actor.ActorState<typeof State.Type>, transfer: string, amount: number) =>
    Effect.gen(function*() {
      const { balance, entries, version, ...rest } = yield* state.get
      const next = { version: version + 1, balance: balance + amount }
      yield* state.set({ ...rest, ...next, entries: [...entries, { transfer, amount, version: next.version }] })
      yield* pause
      return next
    })
  const AccountLive = Account.toLayer({
    Open: ({ balance }, state) => {
      const next = { version: 1, balance }
      return Effect.as(state.set({ ...next, opened: balance, entries: [], notes: [] }), next)
    },
    Withdraw: Effect.fnUntraced(function*({ amount, transfer }, state) {
      const { balance } = yield* state.get
      if (balance < amount) return yield* new InsufficientFunds({ balance })
      return yield* move(state, transfer, -amount)
    }),
    Deposit: ({ amount, transfer }, state) => move(state, transfer, amount),
    Note: Effect.fnUntraced(function*({ n }, state) {
      const { notes, version, ...rest } = yield* state.get
      yield* state.set({ ...rest, version: version + 1, notes: [...notes, n] })
      yield* pause
      return version + 1
    })
  })
  const TransferLive = Transfer.toLayer(Effect.gen(function*() {
    const account = yield* Account.client
    return ({ amount, from, id, to }) =>
      account(from).Withdraw({ transfer: id, amount }, { id: `${id}/out`, timeout: askLimit }).pipe(
        Effect.andThen(account(to).Deposit({ transfer: id, amount }, { id: `${id}/in`, timeout: askLimit })),
        Effect.as("done" as const),
        Effect.catchTag("InsufficientFunds", () => Effect.succeed("refused" as const)),
        Effect.orDie
      )
  }))
  return Worker.layer({ tasks: [...Account.tasks, Transfer], ...options }).pipe(
    Layer.provide([AccountLive, TransferLive])
  )
}

export type Snapshot = ReadonlyMap<string, typeof State.Type>

/** Reads the accounts one after the other, while they change. */
export const snapshot = ({ Account }: Bank, keys: ReadonlyArray<string>) =>
  Effect.map(
    Effect.forEach(keys, (key) => Account.state(key), { concurrency: 16 }),
    (found): Snapshot =>
      new Map(found.flatMap((one) => Option.isSome(one) ? [[one.value.key, one.value.state] as const] : []))
  )

/** Insists that no money came or went, whatever was under way, and that every account is in order. */
export const checkSnapshot = (found: Snapshot): { readonly open: ReadonlySet<string> } => {
  let total = 0
  let opened = 0
  const out = new Map<string, number>()
  const into = new Map<string, number>()
  for (const [key, state] of found) {
    total += state.balance
    opened += state.opened
    const sum = state.entries.reduce((sum, entry) => sum + entry.amount, state.opened)
    Check.equal(state.balance, sum, `the balance of ${key}, which its movements say`)
    Check.equal(state.version, 1 + state.entries.length + state.notes.length, `the messages that changed ${key}`)
    Check.equal(state.notes, state.notes.map((_, n) => n), `the order of the notes of ${key}`)
    for (const { amount, transfer } of state.entries) {
      const side = amount < 0 ? out : into
      if (side.has(transfer)) Check.fail(`transfer ${transfer} moved its money twice: of ${key}, too`)
      side.set(transfer, Math.abs(amount))
    }
  }
  const open = new Set<string>()
  for (const [transfer, amount] of out) {
    if (into.has(transfer)) continue
    open.add(transfer)
    total += amount
  }
  // its withdrawal came after its account was read
  for (const [transfer, amount] of into) if (!out.has(transfer)) total -= amount
  Check.equal(total, opened, "the money of all accounts and of the transfers under way")
  return { open }
}

export interface Order {
  readonly id: string
  readonly from: string
  readonly to: string
  readonly amount: number
}

/** Insists that every transfer that is over moved its money, or none, and that every ask was answered by what was applied. */
export const checkAnswers = Effect.fnUntraced(function*(
  { Account }: Bank,
  found: Snapshot,
  orders: ReadonlyArray<Order & { readonly answer: "done" | "refused" }>
) {
  const client = yield* Client
  const decode = Schema.decodeUnknownEffect(Schema.fromJsonString(Receipt))
  /** The version that the answer names. */
  const versionOf = Effect.fnUntraced(function*(id: string) {
    const record = yield* client.job(Account.queue, id).record
    if (Option.isNone(record) || record.value.state !== "succeeded") return undefined
    return (yield* decode(new TextDecoder().decode(record.value.value))).version
  })
  for (const { amount, answer, from, id, to } of orders) {
    const applied = (key: string, signed: number) =>
      found.get(key)?.entries.filter((entry) => entry.transfer === id && entry.amount === signed)
        .map((entry) => entry.version)
    Check.equal(
      applied(from, -amount)?.length,
      answer === "done" ? 1 : 0,
      `withdrawals of the ${answer} transfer ${id}`
    )
    Check.equal(applied(to, amount)?.length, answer === "done" ? 1 : 0, `deposits of the ${answer} transfer ${id}`)
    if (answer === "refused") continue
    Check.equal([yield* versionOf(`${id}/out`)], applied(from, -amount), `the answer of ${id}/out`)
    Check.equal([yield* versionOf(`${id}/in`)], applied(to, amount), `the answer of ${id}/in`)
  }
})

/** Orders between these accounts, the same for the same seed. */
export const orders = (keys: ReadonlyArray<string>, count: number, seed: number): ReadonlyArray<Order> => {
  let state = seed
  const next = (below: number) => {
    state = Math.imul(state, 1_103_515_245) + 12_345 >>> 0
    return (state >>> 8) % below
  }
  return Array.from({ length: count }, (_, i) => {
    const from = next(keys.length)
    const to = (from + 1 + next(keys.length - 1)) % keys.length
    return { id: `t${i}`, from: keys[from]!, to: keys[to]!, amount: 1 + next(60) }
  })
}
