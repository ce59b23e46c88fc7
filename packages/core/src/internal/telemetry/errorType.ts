/**
 * What `error.type` says: few values, and none of them a message.
 */
import * as Cause from "effect/Cause"
import type { FailureReason } from "../../JobRecord.ts"
import { Ended, TimedOut, Undecodable, Unencodable } from "../handler.ts"
import { other } from "./names.ts"

const ofReason: { readonly [R in FailureReason]?: string } = {
  TimedOut: "timeout",
  Undecodable: "decode",
  Unencodable: "encode",
  Signature: "signature",
  Poison: "poison",
  UnknownTask: "unknown_task",
  UnknownVersion: "unknown_version"
}

/** Of a job that a worker ended without a run. */
export const ofRefusal = (reason: FailureReason | undefined): string =>
  reason === undefined ? other : ofReason[reason] ?? reason

/** The tag of a typed error, the name of a defect. */
const ofError = (error: unknown): string => {
  if (error instanceof TimedOut) return "timeout"
  if (error instanceof Undecodable) return "decode"
  if (error instanceof Unencodable) return "encode"
  if (error instanceof Ended) return ofRefusal(error.reason)
  if (typeof error !== "object" || error === null) return other
  if ("_tag" in error && typeof error._tag === "string") return error._tag
  return error instanceof Error ? error.name : other
}

export const ofCause = (cause: Cause.Cause<unknown>): string => {
  const failed = cause.reasons.find(Cause.isFailReason)
  if (failed !== undefined) return ofError(failed.error)
  const died = cause.reasons.find(Cause.isDieReason)
  return died === undefined ? "interrupted" : ofError(died.defect)
}

/** Of a call of the broker: its errors say more by their reason than by their tag. */
export const ofCall = (cause: Cause.Cause<unknown>): string => {
  const error = cause.reasons.find(Cause.isFailReason)?.error
  return typeof error === "object" && error !== null && "reason" in error ? ofError(error.reason) : ofCause(cause)
}
