/**
 * Supervision: what a message that failed comes to.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import { constVoid } from "effect/Function"
import type { ActorEvent } from "../../ActorEvents.ts"
import type { Directive, Failure } from "../../ActorSupervision.ts"
import { Discard, RetryAfter, Snooze } from "../../Execution.ts"
import { encodeWith, Ended, TimedOut, Undecodable, Unencodable } from "../handler.ts"
import { describe } from "../worker/outcome.ts"
import { announce } from "./announce.ts"
import type * as Row from "./row.ts"
import type * as State from "./state.ts"
import { type Conflict, conflict, sleep, type Turn, write } from "./turn.ts"

const letter = (reason: Ended["reason"], message: string, value?: Uint8Array) =>
  new Ended({ reason, message, value, isAnswer: false })

const lastOf = ({ encoding, execution }: Turn, ended: Ended): Row.Last => {
  const { isAnswer, message, reason, value = new Uint8Array(0) } = ended
  const { contentType } = encoding.codec
  return {
    id: execution.id,
    enqueuedAt: execution.enqueuedAt,
    outcome: { _tag: "Failed", contentType, value, reason, message, isAnswer }
  }
}

/** The message is over. Its end is written first if somebody else may have had it. */
const finish = (turn: Turn, seen: State.Seen, ended: Ended): Effect.Effect<Conflict, unknown> =>
  turn.mayStayUnwritten
    ? Effect.fail(ended)
    : Effect.flatMap(
      write(turn, seen, { ...seen.row, last: lastOf(turn, ended) }, turn.slot.state, constVoid),
      (outcome) => outcome === conflict ? Effect.succeed(conflict) : Effect.fail(ended)
    )

/** What the end of the message will say, if it is the end. */
const endOf = (turn: Turn, failure: Failure<unknown>, isAnswer: boolean): Effect.Effect<Ended> => {
  if (failure._tag !== "Error") return Effect.succeed(letter(failure._tag, failure.message))
  const encoded = encodeWith(turn.encoding, turn.message.task.errorSchema, failure.error)
  // the services of the schema are those that `toLayer` captured
  return Effect.match(encoded as Effect.Effect<Uint8Array, Unencodable>, {
    onSuccess: (value) => new Ended({ reason: "Error", message: failure.message, value, isAnswer }),
    onFailure: (error) =>
      letter("Unencodable", `${failure.message} (the error does not fit the message's error schema: ${error.message})`)
  })
}

const directiveOf = ({ runtime }: Turn, failure: Failure<unknown>): Directive => {
  try {
    return runtime.supervision.decide(failure)
  } catch {
    return "restart"
  }
}

const report = (turn: Turn, kind: "Restarted" | "Stopped", reason: string, at: number) => {
  const { execution, message, runtime, slot } = turn
  const event: ActorEvent = {
    _tag: kind,
    actor: runtime.address.name,
    key: slot.key,
    at,
    message: message.tag,
    id: execution.id,
    reason
  }
  const what = `Actor "${event.actor}", key "${event.key}", is`
  const why = `its message ${message.tag} (job "${execution.id}", attempt ${execution.attempt}) failed: ${reason}`
  const line = kind === "Stopped"
    ? Effect.logError(`${what} stopped until Actor.resume: ${why}`)
    : Effect.logWarning(`${what} restarted: ${why}`)
  return Effect.andThen(line, announce(runtime.transport.bus, event))
}

const supervise = Effect.fnUntraced(function*(
  turn: Turn,
  seen: State.Seen,
  failure: Failure<unknown>,
  cause: Cause.Cause<unknown>
): Effect.fn.Return<Conflict, unknown> {
  const { execution, message, runtime, slot } = turn
  const directive = directiveOf(turn, failure)
  if (directive === "answer" || directive === "resume") {
    return yield* finish(turn, seen, yield* endOf(turn, failure, directive === "answer"))
  }
  const { intensity } = runtime.supervision
  // a broker that does not tell the time now: any time before will do
  const now = yield* Effect.orElseSucceed(runtime.transport.clock, () => execution.enqueuedAt)
  const within = intensity === undefined ? [] : seen.row.restarts.filter((at) => at > now - intensity.within)
  const restarts = intensity === undefined ? [] : [...within, now]
  const tooMany = intensity !== undefined && restarts.length > intensity.restarts
  if (directive === "stop" || tooMany) {
    const reason = directive === "stop"
      ? failure.message
      : `${failure.message} (${restarts.length} failures within ${intensity?.within} ms)`
    const stopped = { at: now, message: message.tag, id: execution.id, reason: reason.slice(0, 1_024) }
    const outcome = yield* write(turn, seen, { ...seen.row, restarts, stopped }, slot.state, constVoid)
    if (outcome === conflict) return conflict
    yield* runtime.slots.passivate(slot)
    yield* report(turn, "Stopped", reason, now)
    return yield* sleep(0)
  }
  const ended = execution.attempt >= execution.maxAttempts ? yield* endOf(turn, failure, false) : undefined
  if (intensity !== undefined || !turn.mayStayUnwritten) {
    const last = ended === undefined ? seen.row.last : lastOf(turn, ended)
    const outcome = yield* write(turn, seen, { ...seen.row, restarts, last }, slot.state, constVoid)
    if (outcome === conflict) return conflict
  }
  yield* runtime.slots.passivate(slot)
  yield* report(turn, "Restarted", failure.message, now)
  return yield* ended === undefined ? Effect.failCause(cause) : Effect.fail(ended)
})

/** Fails with what the worker makes of it, or says that the message begins anew. */
export const onFailure = (
  turn: Turn,
  seen: State.Seen,
  cause: Cause.Cause<unknown>
): Effect.Effect<Conflict, unknown> => {
  const fail = cause.reasons.find(Cause.isFailReason)
  const error = fail?.error
  if (error instanceof Snooze) return Effect.fail(error)
  if (error instanceof RetryAfter) {
    const isLast = turn.execution.attempt >= turn.execution.maxAttempts
    return isLast ? finish(turn, seen, letter("Exhausted", error.reason)) : Effect.fail(error)
  }
  if (error instanceof Discard) return finish(turn, seen, letter("Discarded", error.reason))
  if (error instanceof Undecodable) return finish(turn, seen, letter("Undecodable", error.message))
  if (error instanceof Unencodable) return finish(turn, seen, letter("Unencodable", error.message))
  const failure: Failure<unknown> = error instanceof TimedOut
    ? { _tag: "TimedOut", message: error.message }
    : fail !== undefined
    ? { _tag: "Error", error, message: describe(error) }
    : { _tag: "Defect", defect: Cause.squash(cause), message: describe(Cause.squash(cause)) }
  return supervise(turn, seen, failure, cause)
}
