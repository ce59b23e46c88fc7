/**
 * Runs one execution of a scheduled job, in a worker or in the scheduler: under
 * the lock of its job, with its beginning and its end in the history.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { Current } from "../../CronRun.ts"
import { Snooze } from "../../Execution.ts"
import { LockLost } from "../../Lock.ts"
import type { Transport } from "../../Transport.ts"
import type { TransportError } from "../../TransportError.ts"
import type { Ticket } from "../cronHeader.ts"
import { Skipped } from "../handler.ts"
import * as Hold from "../lock/hold.ts"
import * as Take from "../lock/take.ts"
import * as Runs from "./runs.ts"

/** What an execution came to, encoded. */
export interface Encoded {
  readonly contentType: string
  readonly bytes: Uint8Array
}

/** Where an execution runs. */
export interface Host {
  readonly transport: Transport["Service"]
  /** The id of the worker or of the scheduler. */
  readonly id: string
  /** ms since the epoch by the broker's clock. */
  readonly now: () => number
  /** Why the body was interrupted, if we did it. */
  readonly stopReason: () => "cancelled" | "leaseLost" | "timedOut" | "shutdown" | undefined
  readonly describe: (error: unknown) => string
  /** The reason of a typed failure, as `JobRecord` names it. */
  readonly reasonOf: (error: unknown) => string
}

export interface Options<A, E> {
  readonly host: Host
  readonly ticket: Ticket
  /** The queue of its job; `undefined` without a task. */
  readonly queue: string | undefined
  readonly attempt: number
  readonly body: Effect.Effect<A, E>
  readonly encodeSuccess: (success: A) => Encoded | undefined
  /** An error of the task's own. */
  readonly encodeError: (error: E) => Effect.Effect<Encoded | undefined>
}

const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

/** A run that the broker does not hear of must not begin. What will not pass is a defect. */
const patiently = <A, R>(effect: Effect.Effect<A, TransportError, R>): Effect.Effect<A, never, R> =>
  Effect.orDie(Effect.retry(effect, { while: (error) => error.reason._tag === "Unavailable", schedule: backoff }))

/** ms that the end of a run is tried to be written for. The record of its job tells it, too. */
const endPatience = 5_000

/** Largest value in the history, in bytes. */
const mostValue = 8 * 1_024

/** Longest message in the history. */
const mostMessage = 1_024

const valueOf = (encoded: Encoded | undefined): Schema.Json | undefined => {
  if (encoded === undefined || encoded.bytes.length === 0 || encoded.bytes.length > mostValue) return undefined
  if (encoded.contentType !== "application/json") return { base64: Base64.encode(encoded.bytes) }
  try {
    return JSON.parse(new TextDecoder().decode(encoded.bytes))
  } catch {
    return undefined
  }
}

/** `undefined` without a lock. */
const lockOf = (host: Host, ticket: Ticket): Effect.Effect<Take.Request | undefined> =>
  ticket.overlap === "allow" ? Effect.undefined : Effect.map(Take.newOwner, (owner) => ({
    transport: host.transport,
    name: `cron/${ticket.name}`,
    ttl: ticket.lockTtl,
    owner,
    // a repeat after the death of a worker is the same run: it need not wait for its own lock
    claim: Runs.idOf(ticket.name, ticket.key)
  }))

type Opening = { readonly _tag: "Begin"; readonly hold: Hold.Hold | undefined } | {
  readonly _tag: "Skip"
  readonly by: string | undefined
}

const open = (host: Host, ticket: Ticket): Effect.Effect<Opening, never, Scope.Scope> =>
  Effect.flatMap(lockOf(host, ticket), (request): Effect.Effect<Opening, never, Scope.Scope> => {
    if (request === undefined) return Effect.succeed({ _tag: "Begin", hold: undefined })
    if (ticket.overlap === "queue") {
      return Effect.map(patiently(Hold.acquire(request)), (hold) => ({ _tag: "Begin", hold }))
    }
    return Effect.map(
      patiently(Hold.acquireNow(request)),
      (answer) => "token" in answer ? { _tag: "Begin", hold: answer } : { _tag: "Skip", by: answer.claim }
    )
  })

/** An execution that the history knows of. */
interface Begun {
  readonly startedAt: number
  /** The row as we wrote it; `undefined` if it has to be read again. */
  readonly row: Runs.RunRow | undefined
  readonly revision: number
}

type End = Pick<Runs.Execution, "status" | "reason" | "message" | "value">

const interruptions: Readonly<Record<"cancelled" | "leaseLost" | "timedOut" | "shutdown", End>> = {
  cancelled: { status: "CANCELLED" },
  leaseLost: { status: "FAILED", reason: "WorkerLost", message: "the worker lost the lease of the job" },
  timedOut: { status: "FAILED", reason: "TimedOut", message: "the run took longer than its timeout" },
  shutdown: { status: "RELEASED", reason: "Shutdown", message: "the process that ran it was shut down" }
}

const withValue = (end: End, encoded: Encoded | undefined): End => {
  const value = valueOf(encoded)
  return value === undefined ? end : { ...end, value }
}

const endOf = <A, E>(options: Options<A, E>, exit: Exit.Exit<A, E>): Effect.Effect<End> => {
  const { host } = options
  if (Exit.isSuccess(exit)) {
    return Effect.sync(() => withValue({ status: "COMPLETED" }, options.encodeSuccess(exit.value)))
  }
  const { cause } = exit
  const stopReason = host.stopReason()
  if (stopReason !== undefined && Cause.hasInterrupts(cause)) return Effect.succeed(interruptions[stopReason])
  const fail = cause.reasons.find(Cause.isFailReason)
  if (fail !== undefined) {
    if (fail.error instanceof Snooze) return Effect.succeed({ status: "RELEASED", reason: "Snoozed" })
    const message = host.describe(fail.error)
    return Effect.map(
      options.encodeError(fail.error),
      (encoded) => withValue({ status: "FAILED", reason: host.reasonOf(fail.error), message }, encoded)
    )
  }
  const squashed = Cause.squash(cause)
  const reason = squashed instanceof LockLost ? "LockLost" : Cause.hasInterrupts(cause) ? "Interrupted" : "Defect"
  return Effect.succeed({ status: "FAILED", reason, message: host.describe(squashed) })
}

/**
 * Fails with `Skipped` if another run holds the lock. What the history cannot be
 * told does not change how the run ends.
 */
export const supervise = <A, E>(options: Options<A, E>): Effect.Effect<A, E | Skipped> => {
  const { attempt, body, host, queue, ticket } = options
  const { now, transport } = host
  const fresh = (at: number) => Runs.fresh({ ...ticket, queue }, at)

  const skip = (by: string | undefined): Effect.Effect<never, Skipped> => {
    const message = by === undefined ? "another run holds the lock" : `run "${by}" holds the lock`
    return Effect.andThen(
      patiently(Runs.update(transport, ticket, (row) => ({
        ...(row ?? fresh(now())),
        end: { status: "SKIPPED", at: now(), reason: "Overlap", message }
      }))),
      Effect.fail(new Skipped(`skipped: ${message}`))
    )
  }

  const begin: Effect.Effect<Begun> = Effect.suspend(() => {
    const startedAt = now()
    const execution: Runs.Execution = { status: "RUNNING", startedAt, worker: host.id, attempt }
    const first = Runs.started(fresh(startedAt), execution)
    const isOurs = (one: Runs.Execution) => one.startedAt === startedAt && one.worker === host.id
    const again = Runs.update(
      transport,
      ticket,
      // ours is there already if the answer to our own write was lost
      (row) => row?.executions.some(isOurs) === true ? undefined : Runs.started(row ?? fresh(startedAt), execution)
    )
    const unknown: Begun = { startedAt, row: undefined, revision: 0 }
    return patiently(Effect.flatMap(
      // most ticks run once, and have no row yet
      Runs.write(transport, first, 0),
      (revision): Effect.Effect<Begun, TransportError> =>
        revision === undefined ? Effect.as(again, unknown) : Effect.succeed({ startedAt, row: first, revision })
    ))
  })

  /** `undefined` if the row knows better. */
  const closed = (row: Runs.RunRow | undefined, startedAt: number, end: End): Runs.RunRow | undefined => {
    const index = row?.executions.findLastIndex((one) => one.startedAt === startedAt && one.worker === host.id) ?? -1
    const execution = row?.executions[index]
    if (row === undefined || execution === undefined) return undefined
    // given up by others, who cannot know better unless we completed it
    if (execution.status !== "RUNNING" && end.status !== "COMPLETED") return undefined
    const { message: _, reason: __, ...rest } = execution
    return { ...row, executions: row.executions.with(index, { ...rest, ...end, completedAt: now() }) }
  }

  const finish = ({ revision, row, startedAt }: Begun, end: End) => {
    const message = end.message?.slice(0, mostMessage)
    const short = message === undefined ? end : { ...end, message }
    const afresh = Runs.update(transport, ticket, (row) => closed(row, startedAt, short))
    const known = closed(row, startedAt, short)
    const written = known === undefined ? afresh : Effect.flatMap(
      Runs.write(transport, known, revision),
      (written): Effect.Effect<unknown, TransportError> => written === undefined ? afresh : Effect.void
    )
    return written.pipe(
      Effect.retry({ while: (error) => error.reason._tag === "Unavailable", schedule: backoff }),
      Effect.timeout(endPatience),
      Effect.catch((error) =>
        Effect.logWarning(`The end of run "${ticket.key}" of "${ticket.name}" was not written`, error)
      )
    )
  }

  return Effect.scopedWith((scope) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function*() {
        const opening = yield* restore(Scope.provide(scope)(open(host, ticket)))
        if (opening._tag === "Skip") return yield* restore(skip(opening.by))
        const { hold } = opening
        const begun = yield* restore(begin)
        const current: Current = {
          name: ticket.name,
          id: Runs.idOf(ticket.name, ticket.key),
          tick: ticket.tick,
          trigger: ticket.trigger,
          fencingToken: hold === undefined ? Option.none() : Option.some(hold.token)
        }
        const provided = Effect.provideService(body, Current, Option.some(current))
        const lost = hold && Effect.flatMap(
          Deferred.await(hold.lost),
          (description) => Effect.die(new LockLost({ name: `cron/${ticket.name}`, description }))
        )
        const exit = yield* Effect.exit(restore(lost === undefined ? provided : Effect.raceFirst(lost, provided)))
        yield* finish(begun, yield* endOf(options, exit))
        return yield* exit
      })
    )
  )
}
