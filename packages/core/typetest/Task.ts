/** What producers see: definitions, `enqueue`, `enqueueMany`. */
import type * as Effect from "effect/Effect"
import type * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Client } from "../src/Client.ts"
import type { EnqueueError } from "../src/EnqueueError.ts"
import type * as Job from "../src/Job.ts"
import * as Task from "../src/Task.ts"
import type { TransportError } from "../src/TransportError.ts"
import { equal, type ErrorOf, type ServicesOf, type SuccessOf } from "./equal.ts"
import { Cleanup, type Decrypt, type Encrypt, type MailboxUnavailable, Resize, Sealed, SendEmail } from "./fixtures.ts"

// --- definitions ---

equal<Task.Payload<typeof SendEmail>, { readonly to: string; readonly copies: number }>()
equal<Task.Success<typeof SendEmail>, { readonly messageId: string }>()
equal<Task.Error<typeof SendEmail>, MailboxUnavailable>()
equal<Task.Payload<typeof Cleanup>, void>()
equal<Task.Success<typeof Cleanup>, void>()
equal<Task.Error<typeof Cleanup>, never>()
equal<Task.Payload<typeof Resize>, number>()
equal<Task.Success<typeof Resize>, bigint>()
equal<typeof Resize["_tag"], "Resize">()
equal<typeof SendEmail["_tag"], "SendEmail">()

// --- the handler service never collapses ---

equal<Task.ToHandler<typeof SendEmail>, Task.Handler<"SendEmail">>()
equal<Task.ToHandler<typeof SendEmail | typeof Cleanup>, Task.Handler<"SendEmail"> | Task.Handler<"Cleanup">>()
equal<Task.ToHandler<typeof Sealed>, Task.Handler<"Sealed">>()
equal<Task.ToHandler<Task.Any>, Task.Handler<string>>()
equal<Task.ToHandler<Task.Task<"A", Schema.Any, Schema.Any, Schema.Any>>, Task.Handler<"A">>()
equal<Task.ToHandler<Task.Task<"A", Schema.Never, Schema.Never, Schema.Never>>, Task.Handler<"A">>()
// two tasks' handlers are not each other's
// @ts-expect-error
export const swapped: Task.Handler<"A"> = null as unknown as Task.Handler<"B">

// --- payload functions get the decoded payload ---

Task.make("WithKeys", {
  payload: { account: Schema.String, when: Schema.Date },
  key: (payload) => {
    equal<typeof payload, { readonly account: string; readonly when: Date }>()
    return payload.account
  },
  idempotencyKey: ({ account, when }) => {
    equal<typeof when, Date>()
    return `${account}${when.getTime()}`
  }
})
Task.make("WithPlainKey", { payload: Schema.Number, key: (payload) => payload.toFixed() })
Task.make("WithoutPayload", { key: (payload) => (equal<typeof payload, void>(), "one") })
// @ts-expect-error the payload has no such field
Task.make("WrongKey", { payload: { account: Schema.String }, key: ({ id }) => id })
// @ts-expect-error a key is a text
Task.make("NumberKey", { payload: { account: Schema.Number }, key: ({ account }) => account })
// @ts-expect-error an unknown option
Task.make("Unknown", { attempts: 3 })
// @ts-expect-error a duration
Task.make("WrongTimeout", { timeout: "soon" })

// --- enqueue ---

// constructor defaults are optional
const enqueued = SendEmail.enqueue({ to: "a@b.c" })
SendEmail.enqueue({ to: "a@b.c", copies: 2 }, { delay: "5 minutes", priority: "low", headers: { tenant: "a" } })
equal<ErrorOf<typeof enqueued>, EnqueueError | TransportError>()
// a producer needs a client and nothing of the handler
equal<ServicesOf<typeof enqueued>, Client>()
equal<SuccessOf<typeof enqueued>, Job.Job<{ readonly messageId: string }, MailboxUnavailable>>()
Cleanup.enqueue()
Cleanup.enqueue(undefined, { delay: 10 })
Resize.enqueue(7)

// @ts-expect-error wrong type of a field
SendEmail.enqueue({ to: 1 })
// @ts-expect-error missing field
SendEmail.enqueue({ copies: 1 })
// @ts-expect-error no payload at all
SendEmail.enqueue()
// @ts-expect-error a field that the schema does not have
SendEmail.enqueue({ to: "a@b.c", subject: "hi" })
// @ts-expect-error wrong payload of a plain schema
Resize.enqueue("7")
// @ts-expect-error a task without payload takes none
Cleanup.enqueue({ to: "a@b.c" })
// @ts-expect-error unknown option
SendEmail.enqueue({ to: "a@b.c" }, { attempts: 3 })
// @ts-expect-error headers are texts
SendEmail.enqueue({ to: "a@b.c" }, { headers: { tenant: 1 } })

// --- enqueueMany ---

const many = SendEmail.enqueueMany([{ payload: { to: "a@b.c" } }, { payload: { to: "d@e.f" }, options: { id: "1" } }])
equal<ServicesOf<typeof many>, Client>()
equal<ErrorOf<typeof many>, TransportError>()
equal<
  SuccessOf<typeof many>,
  ReadonlyArray<
    Result.Result<Job.Job<{ readonly messageId: string }, MailboxUnavailable>, EnqueueError | TransportError>
  >
>()
// @ts-expect-error wrong payload
SendEmail.enqueueMany([{ payload: { to: 1 } }])
// @ts-expect-error no item
SendEmail.enqueueMany([{ to: "a@b.c" }])

// --- services of schemas: encoding at the producer, decoding where the result is read ---

const sealed = Sealed.enqueue("text")
equal<ServicesOf<typeof sealed>, Client | Encrypt>()
equal<ServicesOf<ReturnType<typeof Sealed.enqueueMany>>, Client | Encrypt>()
equal<SuccessOf<typeof sealed>, Job.Job<string, string, Decrypt>>()

// --- a task is a value like any other: it can be piped and subclassed ---

equal<ReturnType<typeof pipedTag>, "Resize">()
const pipedTag = () => Resize.pipe((task) => task._tag)
export class Renamed extends Task.make("Renamed", { payload: { at: Schema.Date } }) {
  static readonly describe = (payload: Task.Payload<typeof Renamed>) => payload.at.toISOString()
}
equal<Parameters<typeof Renamed.describe>[0], { readonly at: Date }>()
// @ts-expect-error a definition is not instantiated
new Renamed()

// --- control errors ---

equal<Task.Control, Task.Snooze | Task.Discard | Task.RetryAfter>()
export const controls: Effect.Effect<never, Task.Control> = new Task.Discard({ reason: "why" })
// @ts-expect-error a snooze has a delay
new Task.Snooze({})
