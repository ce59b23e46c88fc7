/**
 * How a span ended: what an exit says in the words of OpenTelemetry.
 *
 * Success leaves the status unset: `Ok` is an operator's word, and would overrule one. An interruption is no error.
 */
import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"

/** A failure. `type` is the tag of a typed error, else the name of the error. */
export interface Failure {
  readonly type: string
  readonly message: string
  /** For exception events: `stack` has no more than the error itself has. */
  readonly errors: ReadonlyArray<Error>
}

/** The attribute of a span that was interrupted, as Effect's own exporters name it. */
export const interruptedAttribute = "effect.fiber.interrupted"

export const errorTypeAttribute = "error.type"

const typeOf = (error: unknown): string | undefined => {
  if (typeof error !== "object" || error === null) return undefined
  if ("_tag" in error && typeof error._tag === "string") return error._tag
  return error instanceof Error ? error.name : undefined
}

/** The first typed error decides, else the first defect. */
const errorType = (cause: Cause.Cause<unknown>): string => {
  let defect: string | undefined
  for (const reason of cause.reasons) {
    if (Cause.isFailReason(reason)) return typeOf(reason.error) ?? typeof reason.error
    if (defect === undefined && Cause.isDieReason(reason)) defect = typeOf(reason.defect) ?? typeof reason.defect
  }
  return defect ?? "_OTHER"
}

/** `undefined` for a success and for an interruption. */
export const failureOf = (exit: Exit.Exit<unknown, unknown>): Failure | undefined => {
  if (exit._tag === "Success" || Cause.hasInterruptsOnly(exit.cause)) return undefined
  const errors = Cause.prettyErrors(exit.cause, { includeCauseInStack: true })
  const type = errorType(exit.cause)
  return { type, message: errors[0]?.message || type, errors }
}

export const isInterruption = (exit: Exit.Exit<unknown, unknown>): boolean =>
  exit._tag === "Failure" && Cause.hasInterruptsOnly(exit.cause)
