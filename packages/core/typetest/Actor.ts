/** What an actor asks of its handlers, its client and its worker. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Actor from "../src/Actor.ts"
import type { AskError } from "../src/ActorClient.ts"
import type { Client } from "../src/Client.ts"
import type { EnqueueError } from "../src/EnqueueError.ts"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import * as Task from "../src/Task.ts"
import type { Transport } from "../src/Transport.ts"
import type { TransportError } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import { equal, type ErrorOf, type FailsWith, type Needs, type ServicesOf, type SuccessOf } from "./equal.ts"
import { Cleanup, Database, type Decrypt, type Encrypt, MailboxUnavailable, Mailer, Secret } from "./fixtures.ts"

const Account = Actor.make("Account", {
  state: Schema.Struct({ balance: Schema.Number }),
  initialState: (key) => {
    equal<typeof key, string>()
    return { balance: 0 }
  },
  messages: [
    Task.make("Deposit", {
      payload: {
        amount: Schema.Number,
        currency: Schema.String.pipe(Schema.withConstructorDefault(Effect.succeed("EUR")))
      }
    }),
    Task.make("Withdraw", { payload: { amount: Schema.Number }, success: Schema.Number, error: MailboxUnavailable })
  ]
})

type DepositHandler = Task.Handler<"Account/Deposit">
type WithdrawHandler = Task.Handler<"Account/Withdraw">

// --- handlers ---

const plain = Account.toLayer({
  Deposit: (payload, state, execution) => {
    equal<typeof payload, { readonly amount: number; readonly currency: string }>()
    equal<typeof state, Actor.ActorState<{ readonly balance: number }>>()
    equal<typeof execution, Actor.MessageExecution>()
    return Effect.asVoid(state.update(({ balance }) => ({ balance: balance + payload.amount })))
  },
  Withdraw: Effect.fnUntraced(function*({ amount }, state) {
    const { balance } = yield* state.get
    if (balance < amount) return yield* new MailboxUnavailable({ mailbox: "a" })
    if (amount === 0) return yield* new Task.Discard({ reason: "nothing" })
    return balance
  })
})
equal<typeof plain, Layer.Layer<DepositHandler | WithdrawHandler, never, Transport>>()

// what a handler requires shows in R
const needing = Account.toLayer({
  Deposit: () => Database.use(({ run }) => run),
  Withdraw: () => Mailer.use((mailer) => Effect.as(mailer.send("a"), 1))
})
equal<Needs<typeof needing>, Transport | Database | Mailer>()

// handlers that are built: once per worker
const built = Account.toLayer(Effect.gen(function*() {
  const database = yield* Database
  yield* Effect.acquireRelease(database.run, () => Effect.void)
  if (Math.random() > 2) return yield* Effect.fail("cannot build" as const)
  return Account.of({
    Deposit: () => database.run,
    Withdraw: Effect.fnUntraced(function*({ amount }, state) {
      yield* Effect.acquireRelease(Effect.void, () => Effect.void)
      yield* (yield* Mailer).send("a")
      return amount + (yield* state.get).balance
    })
  })
}))
equal<Needs<typeof built>, Transport | Database | Mailer>()
equal<FailsWith<typeof built>, "cannot build">()

// handlers of each key's own
const perKey = Account.toLayerPerKey((key) => {
  equal<typeof key, string>()
  return Effect.gen(function*() {
    const database = yield* Database
    yield* Effect.acquireRelease(database.run, () => Effect.void)
    return Account.of({ Deposit: () => database.run, Withdraw: () => Effect.as(Mailer, 1) })
  })
}, { maxIdleTime: "5 minutes" })
equal<Needs<typeof perKey>, Transport | Database | Mailer>()

// @ts-expect-error a handler is missing
Account.toLayer({ Deposit: () => Effect.void })
// @ts-expect-error a handler is missing where the handlers are built
Account.toLayer(Effect.succeed({ Deposit: () => Effect.void }))
// @ts-expect-error a handler is missing where each key has its own
Account.toLayerPerKey(() => Effect.succeed({ Deposit: () => Effect.void }))
// @ts-expect-error wrong success
Account.toLayer({ Deposit: () => Effect.void, Withdraw: () => Effect.succeed("1") })
// @ts-expect-error an error that the message does not have
Account.toLayer({ Deposit: () => new MailboxUnavailable({ mailbox: "a" }), Withdraw: () => Effect.succeed(1) })
// @ts-expect-error another state
Account.toLayer({ Deposit: (_, state) => state.set({ balance: "1" }), Withdraw: () => Effect.succeed(1) })
// @ts-expect-error `of` checks, too
Account.of({ Deposit: () => Effect.void })

// --- supervision ---

Account.toLayer({ Deposit: () => Effect.void, Withdraw: () => Effect.succeed(1) }, {
  supervision: {
    decide: (failure) => {
      if (failure._tag !== "Error") return "stop"
      equal<typeof failure.error, MailboxUnavailable>()
      return failure.error.mailbox === "a" ? "answer" : "resume"
    },
    intensity: { restarts: 3, within: "1 minute" }
  }
})
Account.toLayer({ Deposit: () => Effect.void, Withdraw: () => Effect.succeed(1) }, {
  // @ts-expect-error no directive
  supervision: { decide: () => "escalate" }
})

// --- the client ---

const program = Effect.gen(function*() {
  const account = yield* Account.client
  // defaults of the constructor are optional
  const told = account("alice").Deposit({ amount: 1 }, { discard: true })
  equal<typeof told, Effect.Effect<void, EnqueueError | TransportError>>()
  const asked = account("alice").Withdraw({ amount: 1 }, { timeout: "5 seconds", id: "w1" })
  equal<typeof asked, Effect.Effect<number, MailboxUnavailable | AskError>>()
  const deposited = account("alice").Deposit({ amount: 1 })
  equal<typeof deposited, Effect.Effect<void, AskError>>()
  // @ts-expect-error another payload
  account("alice").Withdraw({ amount: "1" })
  // @ts-expect-error no such message
  account("alice").Close()
  // @ts-expect-error the key is the actor's
  account("alice").Withdraw({ amount: 1 }, { key: "b" })
  return yield* asked
})
equal<ServicesOf<typeof program>, Client>()
equal<SuccessOf<typeof program>, number>()

// --- a worker ---

const worker = Worker.layer({ tasks: [...Account.tasks, Cleanup] })
equal<Needs<typeof worker>, DepositHandler | WithdrawHandler | Task.Handler<"Cleanup"> | Transport>()
const complete = worker.pipe(
  Layer.provide([plain, Cleanup.toLayer(() => Effect.void)]),
  Layer.provide(MemoryTransport.layer)
)
equal<Needs<typeof complete>, never>()
const without = Worker.layer({ tasks: Account.tasks }).pipe(Layer.provide(MemoryTransport.layer))
equal<Needs<typeof without>, DepositHandler | WithdrawHandler>()
// @ts-expect-error the handlers of the actor are missing
export const missesHandlers = () => Worker.runMain(without)
export const runs = () => Worker.runMain(complete)

// --- operators need a transport ---

equal<ServicesOf<ReturnType<typeof Account.state>>, Transport>()
equal<ErrorOf<ReturnType<typeof Account.state>>, Actor.StateUnreadable | TransportError>()
equal<ServicesOf<ReturnType<typeof Account.reset>>, Transport>()

// --- services of schemas ---

const Vault = Actor.make("Vault", {
  state: Secret,
  initialState: () => "",
  messages: [Task.make("Read", { success: Secret }), Task.make("Write", { payload: { text: Schema.String } })]
})
const vault = Vault.toLayer({ Read: (_, state) => state.get, Write: ({ text }, state) => state.set(text) })
equal<Needs<typeof vault>, Transport | Encrypt | Decrypt>()
equal<ServicesOf<ReturnType<typeof Vault.state>>, Transport | Decrypt>()
const reads = Effect.flatMap(Vault.client, (vault) => vault("a").Read())
equal<ServicesOf<typeof reads>, Client | Decrypt>()

// --- definitions ---

Actor.make("A", {
  state: Schema.Number,
  // @ts-expect-error not a state
  initialState: () => "0",
  messages: [Cleanup]
})
// @ts-expect-error an actor has a message
Actor.make("A", { state: Schema.Number, initialState: () => 0, messages: [] })
