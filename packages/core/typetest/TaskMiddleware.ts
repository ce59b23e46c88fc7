/** What middlewares ask of the Layers around them, and what they add to a task. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import type { Execution } from "../src/Execution.ts"
import * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import * as TaskMiddleware from "../src/TaskMiddleware.ts"
import type { Transport } from "../src/Transport.ts"
import * as Worker from "../src/Worker.ts"
import { equal, type ErrorOf, type Needs } from "./equal.ts"
import { Cleanup, Database, type MailboxUnavailable, Mailer, SendEmail } from "./fixtures.ts"

class Tenant extends Context.Service<Tenant, { readonly id: string }>()("typetest/Tenant") {}
class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", { user: Schema.String }) {}

class WithTenant extends TaskMiddleware.Service<WithTenant, { provides: Tenant }>()("typetest/WithTenant") {}
class Allowed extends TaskMiddleware.Service<Allowed, { requires: Tenant | Database }>()("typetest/Allowed", {
  error: Unauthorized
}) {}
class Plain extends TaskMiddleware.Service<Plain>()("typetest/Plain") {}

equal<TaskMiddleware.Provides<typeof WithTenant>, Tenant>()
equal<TaskMiddleware.Requires<typeof WithTenant>, never>()
equal<TaskMiddleware.Requires<typeof Allowed>, Tenant | Database>()
equal<TaskMiddleware.Provides<typeof Plain>, never>()

// --- implementations ---

const WithTenantLive = Layer.succeed(WithTenant, (handler, { execution, payload }) => {
  equal<typeof execution, Execution>()
  equal<typeof payload, unknown>()
  equal<Effect.Services<typeof handler>, Tenant>()
  return Effect.provideService(handler, Tenant, { id: execution.headers["tenant"] ?? "none" })
})
equal<typeof WithTenantLive, Layer.Layer<WithTenant>>()

export const AllowedLive = Layer.succeed(Allowed, (handler) =>
  Effect.gen(function*() {
    const { id } = yield* Tenant
    yield* (yield* Database).run
    yield* Effect.acquireRelease(Effect.void, () => Effect.void)
    if (id === "none") return yield* new Unauthorized({ user: id })
    if (id === "later") return yield* new Task.Snooze({ delay: "1 minute" as never })
    return yield* handler
  }))

export const forged = Layer.succeed(
  Plain,
  // @ts-expect-error a middleware cannot answer for the handler
  () => Effect.succeed({ messageId: "forged" })
)
export const unprovided = Layer.succeed(
  WithTenant,
  // @ts-expect-error what it says it provides is still required
  (handler) => handler
)
export const refusing = Layer.succeed(
  Plain,
  // @ts-expect-error an error that it does not declare
  () => Effect.fail(new Unauthorized({ user: "a" }))
)

// --- the task ---

const Mail = SendEmail.middleware(WithTenant)
equal<Task.Error<typeof Mail>, MailboxUnavailable>()
const Guarded = SendEmail.middleware(Allowed).middleware(WithTenant)
equal<Task.Error<typeof Guarded>, MailboxUnavailable | Unauthorized>()
const Clean = Cleanup.middleware(Allowed)
equal<Task.Error<typeof Clean>, Unauthorized>()
equal<Task.ToHandler<typeof Guarded>, Task.Handler<"SendEmail">>()
equal<Task.Payload<typeof Guarded>, { readonly to: string; readonly copies: number }>()
export class Classy extends Task.make("Classy", { success: Schema.String }).middleware(WithTenant) {}
equal<Task.Success<typeof Classy>, string>()

// --- the handler's Layer ---

const handler = Effect.fnUntraced(function*({ to }: { readonly to: string }) {
  const tenant = yield* Tenant
  return { messageId: yield* (yield* Mailer).send(`${tenant.id} ${to}`) }
})
const without = SendEmail.toLayer(handler)
equal<Needs<typeof without>, Mailer | Tenant>()
const withTenant = Mail.toLayer(handler)
equal<Needs<typeof withTenant>, Mailer | WithTenant>()
const built = Mail.toLayer(Effect.gen(function*() {
  yield* Database
  return handler
}))
equal<Needs<typeof built>, Database | Mailer | WithTenant>()
// what one middleware provides serves the other
const guarded = Guarded.toLayer(handler)
equal<Needs<typeof guarded>, Database | Mailer | WithTenant | Allowed>()
const alone = Clean.toLayer(() => Effect.void)
equal<Needs<typeof alone>, Tenant | Database | Allowed>()
equal<Extract<Needs<typeof alone>, Scope>, never>()

const group = TaskGroup.make(Mail, Cleanup)
const grouped = group.toLayer({ SendEmail: handler, Cleanup: () => Effect.asVoid(Database) })
equal<Needs<typeof grouped>, Database | Mailer | WithTenant>()
// only the task that has the middleware is given its services
const leaking = group.toLayer({ SendEmail: handler, Cleanup: () => Effect.asVoid(Tenant) })
equal<Needs<typeof leaking>, Mailer | Tenant | WithTenant>()

// --- worker and producer ---

export const worker = Worker.layer({ tasks: [Guarded, Clean] })
export const complete = worker.pipe(
  Layer.provide([guarded, alone]),
  Layer.provide([AllowedLive, WithTenantLive])
)
equal<Extract<Layer.Services<typeof complete>, WithTenant | Allowed>, never>()
equal<Extract<Layer.Services<typeof complete>, Transport>, Transport>()

export const awaited = Effect.flatMap(Guarded.enqueue({ to: "a" }), (job) => job.await)
equal<Extract<ErrorOf<typeof awaited>, Unauthorized>, Unauthorized>()
