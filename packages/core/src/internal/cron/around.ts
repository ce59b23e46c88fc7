/**
 * What a worker does around the runs of a scheduled job. Other jobs pass.
 */
import * as Effect from "effect/Effect"
import { Discard, RetryAfter } from "../../Execution.ts"
import { cronHeader, fromHeaders } from "../cronHeader.ts"
import { Undecodable, Unencodable } from "../handler.ts"
import type { Around } from "../handler.ts"
import { HandlerExecution } from "../worker/execution.ts"
import { describe } from "../worker/outcome.ts"
import type { Settings } from "../worker/settings.ts"
import { supervise } from "./supervise.ts"

const reasonOf = (error: unknown): string =>
  error instanceof Undecodable
    ? "Undecodable"
    : error instanceof Unencodable
    ? "Unencodable"
    : error instanceof Discard
    ? "Discarded"
    : "Error"

/** What the error schema of a task may know. */
const isOwnError = (error: unknown): boolean => reasonOf(error) === "Error" && !(error instanceof RetryAfter)

export const make = ({ encoding, id, now, transport }: Settings): Around => {
  const encoded = (bytes: Uint8Array) => ({ contentType: encoding.codec.contentType, bytes })
  return (execution, run, encodeError) => {
    if (execution.headers[cronHeader] === undefined) return run
    const ticket = fromHeaders(execution.headers)
    if (ticket === undefined) return run
    return supervise({
      host: {
        transport,
        id,
        now,
        stopReason: () => execution instanceof HandlerExecution ? execution.stopReason : undefined,
        describe,
        reasonOf
      },
      ticket,
      queue: execution.queue,
      attempt: execution.attempt,
      body: run,
      encodeSuccess: encoded,
      encodeError: (error) =>
        isOwnError(error)
          ? Effect.orElseSucceed(Effect.map(encodeError(error), encoded), () => undefined)
          : Effect.undefined
    })
  }
}
