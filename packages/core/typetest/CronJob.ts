/** What a schedule asks for: the payload of its task, and what an effect of its own requires. */
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as CronJob from "../src/CronJob.ts"
import type { EnqueueError } from "../src/EnqueueError.ts"
import * as Task from "../src/Task.ts"
import type { Transport } from "../src/Transport.ts"
import type { TransportError } from "../src/TransportError.ts"
import { equal, type ErrorOf, type FailsWith, type Needs, type ServicesOf } from "./equal.ts"
import { Database, type Encrypt, Mailer, Sealed, SendEmail } from "./fixtures.ts"

const at = { cron: "@daily" } as const

// --- the payload is the task's ---

const email = CronJob.layer("email", { ...at, task: SendEmail, payload: { to: "a@b.c" } })
equal<Needs<typeof email>, Transport>()
equal<FailsWith<typeof email>, EnqueueError | TransportError>()

CronJob.layer("email", {
  ...at,
  task: SendEmail,
  payload: (tick) => ({ to: "a@b.c", copies: tick.epochMilliseconds })
})

// @ts-expect-error a payload is missing
CronJob.layer("email", { ...at, task: SendEmail })
// @ts-expect-error a payload of another shape
CronJob.layer("email", { ...at, task: SendEmail, payload: { from: "a@b.c" } })

class Empty extends Task.make("Empty") {}
CronJob.layer("empty", { ...at, task: Empty })

// @ts-expect-error only code knows a payload that is a function
CronJob.upsert("email", { ...at, task: SendEmail, payload: () => ({ to: "a@b.c" }) })
const upserted = CronJob.upsert("email", { ...at, task: SendEmail, payload: { to: "a@b.c" } })
equal<ServicesOf<typeof upserted>, Transport>()
equal<ErrorOf<typeof upserted>, CronJob.InvalidCronJob | EnqueueError | TransportError>()

// --- when ---

// @ts-expect-error neither cron nor every
CronJob.layer("empty", { task: Empty })
// @ts-expect-error both
CronJob.layer("empty", { ...at, every: "1 hour", task: Empty })

// --- what it requires ---

declare const sealed: (typeof Sealed)["payloadSchema"]["Type"]
const secret = CronJob.layer("secret", { ...at, task: Sealed, payload: sealed })
equal<Needs<typeof secret>, Transport | Encrypt>()

const cleanup = Effect.andThen(Mailer, Effect.addFinalizer(() => Effect.void))
const housekeeping = CronJob.layer("housekeeping", { ...at, execute: cleanup })
equal<Needs<typeof housekeeping>, Transport | Mailer>()

const all = CronJob.layerAll([
  CronJob.make("housekeeping", { ...at, execute: cleanup }),
  CronJob.make("vacuum", { every: "1 hour", execute: Effect.asVoid(Database) }),
  CronJob.make("secret", { ...at, task: Sealed, payload: sealed })
])
equal<typeof all, Layer.Layer<never, EnqueueError | TransportError, Transport | Mailer | Database | Encrypt>>()
