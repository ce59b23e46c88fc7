/** What the one who waits sees. */
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import type * as Stream from "effect/Stream"
import { Client } from "../src/Client.ts"
import * as Job from "../src/Job.ts"
import type {
  AwaitTimeout,
  JobCancelled,
  JobExpired,
  JobFailed,
  JobNotFound,
  ResultExpired,
  ResultUnreadable
} from "../src/JobError.ts"
import type { JobRecord, TerminalState } from "../src/JobRecord.ts"
import type { Enqueued, JobInfo, JobState } from "../src/JobRef.ts"
import * as Task from "../src/Task.ts"
import type { TransportError } from "../src/TransportError.ts"
import { equal, type ErrorOf, type ServicesOf, type SuccessOf } from "./equal.ts"
import { type Cleanup, type Decrypt, type MailboxUnavailable, Resize, Sealed, SendEmail } from "./fixtures.ts"

type Own =
  | JobFailed
  | JobCancelled
  | JobExpired
  | ResultExpired
  | ResultUnreadable
  | JobNotFound
  | TransportError

type SendEmailJob = SuccessOf<ReturnType<typeof SendEmail.enqueue>>
type CleanupJob = SuccessOf<ReturnType<typeof Cleanup.enqueue>>
type SealedJob = SuccessOf<ReturnType<typeof Sealed.enqueue>>

// --- await ---

equal<SendEmailJob["await"], Effect.Effect<{ readonly messageId: string }, MailboxUnavailable | Own>>()
equal<CleanupJob["await"], Effect.Effect<void, Own>>()
equal<SealedJob["await"], Effect.Effect<string, string | Own, Decrypt>>()
equal<
  ReturnType<SendEmailJob["awaitWithin"]>,
  Effect.Effect<{ readonly messageId: string }, MailboxUnavailable | Own | AwaitTimeout>
>()
equal<ErrorOf<ReturnType<CleanupJob["awaitWithin"]>>, Own | AwaitTimeout>()
const ErrorOnly = Task.make("ErrorOnly", { error: Sealed.errorSchema })
const errorOnly = ErrorOnly.enqueue()
equal<ServicesOf<SuccessOf<typeof errorOnly>["await"]>, Decrypt>()
const successOnly = Task.make("SuccessOnly", { success: Sealed.successSchema }).enqueue()
equal<ServicesOf<SuccessOf<typeof successOnly>["await"]>, Decrypt>()
const payloadOnly = Task.make("PayloadOnly", { payload: Sealed.payloadSchema }).enqueue("text")
equal<ServicesOf<SuccessOf<typeof payloadOnly>["await"]>, never>()

// --- poll does not wait, so it cannot find nothing ---

equal<
  SendEmailJob["poll"],
  Effect.Effect<
    Option.Option<
      Exit.Exit<
        { readonly messageId: string },
        MailboxUnavailable | JobFailed | JobCancelled | JobExpired | ResultExpired
      >
    >,
    ResultUnreadable | TransportError
  >
>()
equal<ServicesOf<SealedJob["poll"]>, Decrypt>()

// --- the untyped part ---

equal<SendEmailJob["status"], Effect.Effect<JobState, JobNotFound | TransportError>>()
equal<JobState, "scheduled" | "queued" | "running" | "succeeded" | "failed" | "cancelled" | "expired">()
equal<SendEmailJob["info"], Effect.Effect<JobInfo, JobNotFound | TransportError>>()
equal<SendEmailJob["cancel"], Effect.Effect<TerminalState, JobNotFound | TransportError>>()
equal<SendEmailJob["progress"], Stream.Stream<Schema.Json, JobNotFound | TransportError>>()
equal<SendEmailJob["record"], Effect.Effect<Option.Option<JobRecord>, TransportError>>()

// --- handles by id ---

const byId = Job.fromId(SendEmail, "id")
equal<typeof byId, Effect.Effect<Job.Job<{ readonly messageId: string }, MailboxUnavailable>, never, Client>>()
equal<SuccessOf<typeof byId>, SendEmailJob>()
const sealedById = Job.fromId(Sealed, "id")
equal<SuccessOf<typeof sealedById>, Job.Job<string, string, Decrypt>>()
equal<ServicesOf<typeof sealedById>, Client>()
const errorOnlyById = Job.fromId(ErrorOnly, "id")
equal<SuccessOf<typeof errorOnlyById>, Job.Job<void, string, Decrypt>>()
const resizeById = Job.fromId(Resize, "id")
equal<SuccessOf<typeof resizeById>, Job.Job<bigint, never>>()

const untyped = Client.useSync((client) => client.job("mail", "id"))
equal<SuccessOf<typeof untyped>, Enqueued>()
// @ts-expect-error without a definition there is nothing to decode with
Client.use((client) => client.job("mail", "id").await)

// a handle can be used where less is asked for
export const covariant: Job.Job<unknown, unknown, Decrypt> = null as unknown as SendEmailJob
