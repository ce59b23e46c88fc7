/** Services, schemas and tasks that the type tests share. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as Task from "../src/Task.ts"

export class Mailer extends Context.Service<Mailer, {
  readonly send: (to: string) => Effect.Effect<string>
}>()("typetest/Mailer") {}

export class Database extends Context.Service<Database, {
  readonly run: Effect.Effect<void>
}>()("typetest/Database") {}

export class Encrypt extends Context.Service<Encrypt, { readonly apply: (text: string) => string }>()(
  "typetest/Encrypt"
) {}

export class Decrypt extends Context.Service<Decrypt, { readonly apply: (text: string) => string }>()(
  "typetest/Decrypt"
) {}

/** Needs a service in each direction, and another one each. */
export const Secret = Schema.String.pipe(Schema.decodeTo(Schema.String, {
  decode: SchemaGetter.transformEffect((text: string) => Decrypt.useSync((decrypt) => decrypt.apply(text))),
  encode: SchemaGetter.transformEffect((text: string) => Encrypt.useSync((encrypt) => encrypt.apply(text)))
}))

export class MailboxUnavailable extends Schema.TaggedError<MailboxUnavailable>()("MailboxUnavailable", {
  mailbox: Schema.String
}) {}

export class SendEmail extends Task.make("SendEmail", {
  payload: {
    to: Schema.String,
    copies: Schema.Number.pipe(Schema.withConstructorDefault(Effect.succeed(1)))
  },
  success: Schema.Struct({ messageId: Schema.String }),
  error: MailboxUnavailable,
  queue: "mail"
}) {}

/** Const style, all defaults. */
export const Cleanup = Task.make("Cleanup")

/** A payload that is no struct. */
export const Resize = Task.make("Resize", { payload: Schema.Number, success: Schema.BigInt })

/** Every schema needs services. */
export const Sealed = Task.make("Sealed", { payload: Secret, success: Secret, error: Secret })
