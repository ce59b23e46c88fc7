/**
 * Turns the exit of an attempt into a settlement: the retry policy.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import { Discard, RetryAfter, Snooze } from "../../Execution.ts"
import type { Delivery, Settlement } from "../../JobLog.ts"
import { Ended, Skipped, TimedOut, Undecodable, Unencodable } from "../handler.ts"
import type { RegisteredTask, Settings } from "./settings.ts"
import type { Writer } from "./writer.ts"

/** What a failed attempt comes to; `kind` names the lifecycle event. */
export interface Outcome {
  readonly settlement: Settlement
  readonly kind: "Retried" | "Snoozed" | "Failed" | "Cancelled"
  readonly reason: string
  readonly delay: number | undefined
}

/** The delay (ms) before the attempt after `attempt`; `undefined` if the schedule has ended. */
const retryDelay = Effect.fnUntraced(function*(
  schedule: Schedule.Schedule<unknown, unknown>,
  attempt: number,
  error: unknown
): Effect.fn.Return<number | undefined> {
  const step = yield* Schedule.toStep(schedule)
  // elapsed time is simulated from the summed delays: nothing but the attempt is stored
  let now = 0
  let delay = 0
  for (let i = 0; i < attempt; i++) {
    const next = yield* Pull.catchDone(step(now, error), () => Effect.undefined)
    if (next === undefined) return undefined
    delay = Duration.toMillis(next[1])
    now += delay
  }
  return delay
})

/** One line about an error, for records and logs. */
export const describe = (error: unknown): string => {
  if (typeof error === "object" && error !== null) {
    const tag = "_tag" in error ? String(error._tag) : error instanceof Error ? error.name : ""
    const message = "message" in error ? String(error.message) : ""
    return tag !== "" && message !== ""
      ? `${tag}: ${message}`
      : tag !== ""
      ? tag
      : message !== ""
      ? message
      : describeJson(error)
  }
  return String(error)
}

const describeJson = (value: object) => {
  try {
    return JSON.stringify(value) ?? String(value)
  } catch {
    return String(value)
  }
}

const decide = Effect.fnUntraced(function*(
  settings: Settings,
  writer: Writer,
  { handler, policy }: RegisteredTask,
  delivery: Delivery,
  cause: Cause.Cause<unknown>,
  interrupted: TimedOut | undefined,
  traceparent: string | undefined
): Effect.fn.Return<Outcome> {
  const failed = (
    reason: "Error" | "Defect" | "TimedOut" | "Discarded" | "Exhausted" | "Undecodable" | "Unencodable",
    message: string,
    value?: Uint8Array
  ): Outcome => ({
    settlement: writer.failed(delivery, { reason, message, value, counted: reason !== "Undecodable" }, policy),
    kind: "Failed",
    reason: message,
    delay: undefined
  })
  const reason = interrupted === undefined ? cause.reasons.find(Cause.isFailReason) : undefined
  // actors count the time of their messages themselves
  const timedOut = interrupted ?? (reason?.error instanceof TimedOut ? reason.error : undefined)
  const fail = timedOut === undefined ? reason : undefined
  const error = fail?.error
  if (error instanceof Snooze) {
    const delay = Duration.toMillis(error.delay)
    return { settlement: writer.again(delivery, delay), kind: "Snoozed", reason: "snoozed", delay }
  }
  if (error instanceof Skipped) {
    return { settlement: writer.cancelled(delivery), kind: "Cancelled", reason: error.reason, delay: undefined }
  }
  if (error instanceof Discard) return failed("Discarded", error.reason)
  if (error instanceof Ended) {
    const { isAnswer, message, reason, value } = error
    if (!isAnswer) return failed(reason, message, value)
    const settlement = writer.answered(delivery, { reason, message, value, counted: true }, policy)
    return { settlement, kind: "Failed", reason: message, delay: undefined }
  }
  if (error instanceof Undecodable) return failed("Undecodable", error.message)
  if (error instanceof Unencodable) return failed("Unencodable", error.message)

  const squashed = timedOut ??
    (error instanceof RetryAfter ? error.reason : fail === undefined ? Cause.squash(cause) : error)
  const message = timedOut?.message ?? describe(squashed)
  const { attempt, maxAttempts } = delivery.envelope
  if (attempt < (maxAttempts ?? policy.maxAttempts)) {
    const delay = error instanceof RetryAfter
      ? Duration.toMillis(error.delay)
      : yield* retryDelay(policy.retry, attempt, squashed)
    if (delay !== undefined) {
      return {
        settlement: writer.retry(delivery, delay, message, traceparent),
        kind: "Retried",
        reason: message,
        delay
      }
    }
  }
  if (timedOut !== undefined) return failed("TimedOut", message)
  if (error instanceof RetryAfter) return failed("Exhausted", message)
  if (fail === undefined) return failed("Defect", message)
  const encoded = yield* Effect.result(handler.encodeError(error, settings.encoding))
  return encoded._tag === "Success"
    ? failed("Error", message, encoded.success)
    : failed("Unencodable", `${message} (the error does not fit the task's error schema: ${encoded.failure.message})`)
})

/** The retry schedule or the error's encoding is itself broken: that fails this job only. */
const brokenPolicy = (
  writer: Writer,
  { policy }: RegisteredTask,
  delivery: Delivery,
  defect: Cause.Cause<never>
): Outcome => {
  const message = `the task's retry schedule or error schema failed: ${Cause.pretty(defect)}`
  const settlement = writer.failed(delivery, { reason: "Defect", message, counted: true }, policy)
  return { settlement, kind: "Failed", reason: message, delay: undefined }
}

/**
 * The outcome of an attempt that did not succeed. `interrupted` replaces an interruption by our own timer, `traceparent`
 * is that of the attempt's span.
 */
export const ofFailure = (
  settings: Settings,
  writer: Writer,
  task: RegisteredTask,
  delivery: Delivery,
  cause: Cause.Cause<unknown>,
  interrupted: TimedOut | undefined,
  traceparent: string | undefined
): Effect.Effect<Outcome> =>
  Effect.catchCause(
    decide(settings, writer, task, delivery, cause, interrupted, traceparent),
    (defect) => Effect.succeed(brokenPolicy(writer, task, delivery, defect))
  )
