/** What implementing a task asks for: `Task.toLayer` and `TaskGroup.toLayer`. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import { equal, type FailsWith, type Needs } from "./equal.ts"
import {
  Cleanup,
  Database,
  type Decrypt,
  type Encrypt,
  MailboxUnavailable,
  Mailer,
  Resize,
  Sealed,
  SendEmail
} from "./fixtures.ts"

// --- a plain handler ---

const plain = SendEmail.toLayer((payload, execution) => {
  equal<typeof payload, { readonly to: string; readonly copies: number }>()
  equal<typeof execution, Task.Execution>()
  return Effect.succeed({ messageId: payload.to })
})
equal<typeof plain, Layer.Layer<Task.Handler<"SendEmail">>>()

// what a handler requires shows in R
const needsMailer = SendEmail.toLayer(Effect.fnUntraced(function*({ to }) {
  const mailer = yield* Mailer
  return { messageId: yield* mailer.send(to) }
}))
equal<Needs<typeof needsMailer>, Mailer>()

// --- a handler that is built: once per worker ---

const built = SendEmail.toLayer(Effect.gen(function*() {
  const database = yield* Database
  yield* Effect.acquireRelease(database.run, () => Effect.void)
  if (Math.random() > 2) return yield* Effect.fail("cannot build" as const)
  return Effect.fnUntraced(function*({ to }, execution) {
    const mailer = yield* Mailer
    yield* Effect.acquireRelease(Effect.void, () => Effect.void)
    yield* execution.progress({ percent: 50 })
    return { messageId: yield* mailer.send(to) }
  })
}))
equal<Needs<typeof built>, Database | Mailer>()
equal<FailsWith<typeof built>, "cannot build">()

// the same with functions, with and without a span
const builtArrow = SendEmail.toLayer(Effect.gen(function*() {
  const database = yield* Database
  return (payload, execution) => {
    equal<typeof payload, { readonly to: string; readonly copies: number }>()
    equal<typeof execution, Task.Execution>()
    return Effect.as(Effect.andThen(Mailer, database.run), { messageId: payload.to })
  }
}))
equal<Needs<typeof builtArrow>, Database | Mailer>()
const builtFn = SendEmail.toLayer(Effect.gen(function*() {
  return Effect.fn("SendEmail")(function*(payload, execution) {
    equal<typeof payload, { readonly to: string; readonly copies: number }>()
    equal<typeof execution, Task.Execution>()
    return { messageId: yield* (yield* Mailer).send(payload.to) }
  })
}))
equal<Needs<typeof builtFn>, Mailer>()
const builtElsewhere = SendEmail.toLayer(
  Effect.map(Database, ({ run }) => () => Effect.as(Effect.andThen(Mailer, run), { messageId: "a" }))
)
equal<Needs<typeof builtElsewhere>, Database | Mailer>()

// the scope of an attempt and the scope of the layer are given, never asked for
const scoped = Cleanup.toLayer(() => Effect.acquireRelease(Effect.void, () => Effect.void))
equal<Needs<typeof scoped>, never>()
equal<Extract<Needs<typeof built>, Scope.Scope>, never>()

// --- success and error are those of the task ---

SendEmail.toLayer(() => Effect.fail(new MailboxUnavailable({ mailbox: "a" })))
SendEmail.toLayer(() => Effect.fail(new Task.Discard({ reason: "a" })))
SendEmail.toLayer(() => new Task.Snooze({ delay: "1 minute" as never }))
SendEmail.toLayer(Effect.fnUntraced(function*(_, execution) {
  if (execution.attempt > 1) return yield* new Task.RetryAfter({ delay: 1 as never, reason: "busy" })
  if (execution.attempt > 2) return yield* new MailboxUnavailable({ mailbox: "a" })
  return { messageId: "a" }
}))
// @ts-expect-error wrong success
SendEmail.toLayer(() => Effect.succeed({ messageId: 1 }))
// @ts-expect-error no success
SendEmail.toLayer(() => Effect.void)
// @ts-expect-error an error that the task does not have
SendEmail.toLayer(() => Effect.fail("no"))
// @ts-expect-error the same when the handler is built
SendEmail.toLayer(Effect.succeed(() => Effect.fail("no")))
// @ts-expect-error a task without errors
Cleanup.toLayer(() => Effect.fail(new MailboxUnavailable({ mailbox: "a" })))
// @ts-expect-error another payload
Resize.toLayer((payload: string) => Effect.succeed(BigInt(payload)))
// @ts-expect-error no effect
Resize.toLayer((payload) => BigInt(payload))

// --- services of schemas: the worker decodes payloads and encodes results ---

const sealed = Sealed.toLayer((text) => Effect.succeed(text))
equal<Needs<typeof sealed>, Decrypt | Encrypt>()
const payloadOnly = Task.make("PayloadOnly", { payload: { text: Sealed.payloadSchema } }).toLayer(() => Effect.void)
equal<Needs<typeof payloadOnly>, Decrypt>()
const resultOnly = Task.make("ResultOnly", { success: Sealed.successSchema }).toLayer(() => Effect.succeed("a"))
equal<Needs<typeof resultOnly>, Encrypt>()
const errorOnly = Task.make("ErrorOnly", { error: Sealed.errorSchema }).toLayer(() => Effect.void)
equal<Needs<typeof errorOnly>, Encrypt>()

// --- groups ---

const group = TaskGroup.make(SendEmail, Cleanup)
equal<typeof group, TaskGroup.TaskGroup<typeof SendEmail | typeof Cleanup>>()

const fromObject = group.toLayer({
  SendEmail: ({ to }, execution) => {
    equal<typeof to, string>()
    equal<typeof execution, Task.Execution>()
    return Mailer.use((mailer) => Effect.map(mailer.send(to), (messageId) => ({ messageId })))
  },
  Cleanup: () => Database.use((database) => database.run)
})
equal<typeof fromObject, Layer.Layer<Task.Handler<"SendEmail"> | Task.Handler<"Cleanup">, never, Mailer | Database>>()

const fromEffect = group.toLayer(Effect.gen(function*() {
  const database = yield* Database
  yield* Effect.addFinalizer(() => Effect.void)
  if (Math.random() > 2) return yield* Effect.fail("cannot build" as const)
  return group.of({
    SendEmail: Effect.fnUntraced(function*({ to }) {
      yield* Effect.acquireRelease(Effect.void, () => Effect.void)
      return { messageId: yield* (yield* Mailer).send(to) }
    }),
    Cleanup: () => database.run
  })
}))
equal<Needs<typeof fromEffect>, Mailer | Database>()
equal<FailsWith<typeof fromEffect>, "cannot build">()

// the same without `of`
const withoutOf = group.toLayer(Effect.gen(function*() {
  const database = yield* Database
  return {
    SendEmail: Effect.fnUntraced(function*({ to }, execution) {
      equal<typeof to, string>()
      yield* execution.progress({ percent: 50 })
      return { messageId: yield* (yield* Mailer).send(to) }
    }),
    Cleanup: () => database.run
  }
}))
equal<Needs<typeof withoutOf>, Mailer | Database>()

const sealedGroup = TaskGroup.make(Sealed, Cleanup)
const sealedHandlers = sealedGroup.toLayer({ Sealed: (text) => Effect.succeed(text), Cleanup: () => Effect.void })
equal<Needs<typeof sealedHandlers>, Decrypt | Encrypt>()

// @ts-expect-error a handler is missing
group.toLayer({ Cleanup: () => Effect.void })
// @ts-expect-error a handler is missing where the handlers are built
group.toLayer(Effect.succeed({ Cleanup: () => Effect.void }))
// @ts-expect-error wrong success
group.toLayer({ Cleanup: () => Effect.void, SendEmail: () => Effect.succeed(1) })
// @ts-expect-error an error that the task does not have
group.toLayer({ Cleanup: () => Effect.fail("no"), SendEmail: () => Effect.succeed({ messageId: "a" }) })
// @ts-expect-error `of` checks, too
group.of({ Cleanup: () => Effect.void })
group.toLayer({
  Cleanup: () => Effect.void,
  SendEmail: () => Effect.fail(new Task.Discard({ reason: "control errors are allowed" }))
})

// --- merge ---

const merged = group.merge(TaskGroup.make(Resize))
equal<typeof merged, TaskGroup.TaskGroup<typeof SendEmail | typeof Cleanup | typeof Resize>>()
equal<Task.ToHandler<typeof merged.tasks[number]>["tag"], "SendEmail" | "Cleanup" | "Resize">()
// @ts-expect-error the handler of the other group is missing
merged.toLayer({ Cleanup: () => Effect.void, SendEmail: () => Effect.succeed({ messageId: "a" }) })
// @ts-expect-error a group has a task
TaskGroup.make()
