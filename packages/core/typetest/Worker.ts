/** What a worker asks for. */
import type { NonEmptyReadonlyArray } from "effect/Array"
import type { ConfigError } from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Scope } from "effect/Scope"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import type * as Task from "../src/Task.ts"
import * as TaskGroup from "../src/TaskGroup.ts"
import type { Transport } from "../src/Transport.ts"
import type { TransportError } from "../src/TransportError.ts"
import * as Worker from "../src/Worker.ts"
import type { WorkerError } from "../src/WorkerError.ts"
import { equal, type ErrorOf, type FailsWith, type Needs, type ServicesOf } from "./equal.ts"
import { Cleanup, Database, type Decrypt, type Encrypt, Mailer, Resize, Sealed, SendEmail } from "./fixtures.ts"

type SendEmailHandler = Task.Handler<"SendEmail">
type CleanupHandler = Task.Handler<"Cleanup">

// --- handlers and a transport, nothing else ---

const worker = Worker.layer({ tasks: [SendEmail, Cleanup], concurrency: 4 })
equal<Needs<typeof worker>, SendEmailHandler | CleanupHandler | Transport>()
equal<FailsWith<typeof worker>, WorkerError | ConfigError | TransportError>()

const one = Worker.layer({ tasks: [Resize] })
equal<Needs<typeof one>, Task.Handler<"Resize"> | Transport>()

const tuple = [SendEmail, Resize] as const
const fromTuple = Worker.layer({ tasks: tuple })
equal<Needs<typeof fromTuple>, SendEmailHandler | Task.Handler<"Resize"> | Transport>()

const fromGroup = Worker.layer({ tasks: TaskGroup.make(SendEmail, Cleanup).tasks })
equal<Needs<typeof fromGroup>, SendEmailHandler | CleanupHandler | Transport>()

const fromMerged = Worker.layer({ tasks: TaskGroup.make(SendEmail).merge(TaskGroup.make(Cleanup, Sealed)).tasks })
equal<Needs<typeof fromMerged>, SendEmailHandler | CleanupHandler | Task.Handler<"Sealed"> | Transport>()

// a list whose tasks nobody knows asks for a handler that nobody can give
const fromUnknown = Worker.layer({ tasks: [] as unknown as NonEmptyReadonlyArray<Task.Any> })
equal<Needs<typeof fromUnknown>, Task.Handler<string> | Transport>()

const made = Worker.make({ tasks: [SendEmail] })
equal<ServicesOf<typeof made>, SendEmailHandler | Transport | Scope>()
equal<ErrorOf<typeof made>, WorkerError | ConfigError | TransportError>()

const burst = Worker.burst({ tasks: [SendEmail, Cleanup] })
equal<
  typeof burst,
  Effect.Effect<
    Worker.BurstReport,
    WorkerError | ConfigError | TransportError,
    SendEmailHandler | CleanupHandler | Transport
  >
>()

// --- what is missing after providing is what was not provided ---

const SendEmailLive = SendEmail.toLayer(({ to }) =>
  Mailer.use((mailer) => Effect.map(mailer.send(to), (messageId) => ({ messageId })))
)
const CleanupLive = Cleanup.toLayer(() => Database.use((database) => database.run))
const SealedLive = Sealed.toLayer((text) => Effect.succeed(text))
const MailerLive = Layer.succeed(Mailer, { send: Effect.succeed })
const DatabaseLive = Layer.succeed(Database, { run: Effect.void })

const withHandlers = worker.pipe(Layer.provide([SendEmailLive, CleanupLive]))
equal<Needs<typeof withHandlers>, Transport | Mailer | Database>()

const complete = withHandlers.pipe(Layer.provide([MailerLive, DatabaseLive, MemoryTransport.layer]))
equal<Needs<typeof complete>, never>()
export const runs = () => Worker.runMain(complete)

const withoutHandler = worker.pipe(Layer.provide([CleanupLive, MailerLive, DatabaseLive, MemoryTransport.layer]))
equal<Needs<typeof withoutHandler>, SendEmailHandler | Database>()
// @ts-expect-error the handler of SendEmail is missing
export const missesHandler = () => Worker.runMain(withoutHandler)

const withoutService = withHandlers.pipe(Layer.provide([DatabaseLive, MemoryTransport.layer]))
equal<Needs<typeof withoutService>, Mailer>()
// @ts-expect-error the service of a handler is missing
export const missesService = () => Worker.runMain(withoutService)

const sealed = Worker.layer({ tasks: [Sealed] }).pipe(Layer.provide(SealedLive))
equal<Needs<typeof sealed>, Transport | Encrypt | Decrypt>()

const group = TaskGroup.make(SendEmail, Cleanup)
const grouped = Worker.layer({ tasks: group.tasks }).pipe(
  Layer.provide(group.toLayer({ SendEmail: () => Effect.succeed({ messageId: "a" }), Cleanup: () => Effect.void }))
)
equal<Needs<typeof grouped>, Transport>()

// --- options ---

Worker.layer({ tasks: [SendEmail, Cleanup], taskConcurrency: { SendEmail: 4, Cleanup: undefined } })
Worker.layer({
  tasks: [SendEmail],
  queues: ["mail"],
  priorities: ["low", "high"],
  concurrency: 1,
  prefetch: 0,
  idleTimeout: "15 seconds",
  gracePeriod: 30_000,
  maxDeliveries: 5,
  unknownTaskTimeout: "10 minutes",
  id: "worker-1"
})
// @ts-expect-error a task that the worker does not list
Worker.layer({ tasks: [SendEmail], taskConcurrency: { Cleanup: 1 } })
// @ts-expect-error no tasks
Worker.layer({ tasks: [] })
// @ts-expect-error tasks are required
Worker.layer({ concurrency: 1 })
// @ts-expect-error an unknown option
Worker.layer({ tasks: [SendEmail], threads: 4 })
// @ts-expect-error not a duration
Worker.layer({ tasks: [SendEmail], idleTimeout: "soon" })
// @ts-expect-error not a task
Worker.layer({ tasks: [SendEmailLive] })
