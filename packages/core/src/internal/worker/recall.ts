/**
 * Asks a handler that keeps outcomes of its own how a job ended that is about
 * to end without a run.
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Delivery, Settlement } from "../../JobLog.ts"
import { mayHaveRecord } from "./admission.ts"
import * as Outcome from "./outcome.ts"
import type { RegisteredTask, Settings } from "./settings.ts"
import type { Writer } from "./writer.ts"

/** The settlement of the end in truth; `undefined` if nobody is to be asked. */
export const recall = (
  settings: Settings,
  writer: Writer,
  delivery: Delivery,
  task: RegisteredTask | undefined,
  otherwise: Settlement
): Effect.Effect<Settlement> | undefined => {
  const ask = task?.handler.recall
  if (task === undefined || ask === undefined || !mayHaveRecord(delivery)) return undefined
  return Effect.flatMap(ask(delivery.envelope, settings.encoding), (exit) => {
    if (exit === undefined) return Effect.succeed(otherwise)
    if (Exit.isSuccess(exit)) return Effect.succeed(writer.succeeded(delivery, exit.value, task.policy))
    return Effect.map(
      Outcome.ofFailure(settings, writer, task, delivery, exit.cause, undefined, undefined),
      ({ settlement }) => settlement
    )
  })
}
