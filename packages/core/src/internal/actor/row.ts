/**
 * The one store entry of a key: its state, and what makes a message that was
 * applied recognisable.
 */
import type { FailureReason } from "../../JobRecord.ts"
import * as Frame from "../frame.ts"
import { plain } from "../template.ts"

/** The row version that this release writes. */
const version = 1

/** How the last message that was decided here ended. */
export type Outcome =
  | { readonly _tag: "Succeeded"; readonly contentType: string; readonly value: Uint8Array }
  | {
    readonly _tag: "Failed"
    readonly contentType: string
    /** Empty unless the reason is `Error`. */
    readonly value: Uint8Array
    readonly reason: FailureReason
    readonly message: string
    readonly isAnswer: boolean
  }

export interface Last {
  readonly id: string
  /** With the id it names one life of the job: a replay and a later job of the same id have another. */
  readonly enqueuedAt: number
  readonly outcome: Outcome
}

export interface Stopped {
  /** ms since the epoch by the broker's clock. */
  readonly at: number
  /** The message at the head of the mailbox, and the id of its job. */
  readonly message: string
  readonly id: string
  readonly reason: string
}

export interface Row {
  /** Messages whose state was written. */
  readonly applied: number
  readonly contentType: string
  /** Encoded; `undefined` reads as the initial state. */
  readonly state: Uint8Array | undefined
  readonly last: Last | undefined
  /** When the key was restarted, ms since the epoch by the broker's clock, the oldest first. */
  readonly restarts: ReadonlyArray<number>
  readonly stopped: Stopped | undefined
}

export const empty: Row = {
  applied: 0,
  contentType: "",
  state: undefined,
  last: undefined,
  restarts: [],
  stopped: undefined
}

const format = 0xe5
const what = "the state of an actor"
const none = new Uint8Array(0)

/**
 * The wire format: byte 0xe5, then like an envelope's; the body is the state,
 * then the value of the last outcome. The answer may be a view of a shared buffer.
 */
export const toBytes = (self: Row): Uint8Array => {
  const { last, state = none } = self
  return Frame.write(format, usualHeader(self) ?? JSON.stringify(headerOf(self)), state, last?.outcome.value ?? none)
}

const headerOf = (self: Row) => {
  const { last, stopped } = self
  const outcome = last?.outcome
  return {
    v: version,
    n: self.applied,
    c: self.contentType,
    s: self.state?.length,
    i: last?.id,
    e: last?.enqueuedAt,
    oc: outcome?.contentType === self.contentType ? undefined : outcome?.contentType,
    or: outcome?._tag === "Failed" ? outcome.reason : undefined,
    om: outcome?._tag === "Failed" ? outcome.message : undefined,
    oa: outcome?._tag === "Failed" && outcome.isAnswer ? 1 : undefined,
    f: self.restarts.length === 0 ? undefined : self.restarts.join(","),
    xa: stopped?.at,
    xm: stopped?.message,
    xi: stopped?.id,
    xr: stopped?.reason
  }
}

/** The header after a message that changed the state, as JSON writes it: half of what such a row costs. */
const usualHeader = ({ applied, contentType, last, restarts, state, stopped }: Row): string | undefined => {
  if (last === undefined || state === undefined || restarts.length > 0 || stopped !== undefined) return undefined
  const { enqueuedAt, id, outcome } = last
  if (outcome._tag === "Failed" || outcome.contentType !== contentType || !Number.isFinite(enqueuedAt)) return undefined
  if (!plain.test(id) || !plain.test(contentType)) return undefined
  return `{"v":${version},"n":${applied},"c":"${contentType}","s":${state.length},"i":"${id}","e":${enqueuedAt}}`
}

/** Reads `toBytes`; state and value are views of the input. Throws an `Error` that says what is wrong with the bytes. */
export const fromBytes = (bytes: Uint8Array): Row => {
  const { body, text } = Frame.fromBytes(format, what, bytes)
  const header = Frame.parse(what, text)
  const source: Frame.Source = { what, header }
  const written = Frame.getVersion(source)
  if (written !== version) throw new Error(`Not ${what} of version ${version}: version ${written}; upgrade the workers`)
  const contentType = Frame.getString(source, "c", "contentType")
  const stateLength = Frame.getOptionalNumber(source, "s", "state")
  const restarts = Frame.getOptionalString(source, "f", "restarts")
  return {
    applied: Frame.getNumber(source, "n", "applied"),
    contentType,
    state: stateLength === undefined ? undefined : body.subarray(0, stateLength),
    last: getLast(source, contentType, body.subarray(stateLength ?? 0)),
    restarts: restarts === undefined ? [] : restarts.split(",").map(Number),
    stopped: getStopped(source)
  }
}

const getLast = (source: Frame.Source, otherwise: string, value: Uint8Array): Last | undefined => {
  const id = Frame.getOptionalString(source, "i", "last.id")
  if (id === undefined) return undefined
  const contentType = Frame.getOptionalString(source, "oc", "last.contentType") ?? otherwise
  const reason = Frame.getOptionalString(source, "or", "last.reason")
  return {
    id,
    enqueuedAt: Frame.getNumber(source, "e", "last.enqueuedAt"),
    outcome: reason === undefined
      ? { _tag: "Succeeded", contentType, value }
      : {
        _tag: "Failed",
        contentType,
        value,
        // only this file writes it
        reason: reason as FailureReason,
        message: Frame.getString(source, "om", "last.message"),
        isAnswer: Frame.getOptionalNumber(source, "oa", "last.isAnswer") === 1
      }
  }
}

const getStopped = (source: Frame.Source): Stopped | undefined => {
  const at = Frame.getOptionalNumber(source, "xa", "stopped.at")
  return at === undefined ? undefined : {
    at,
    message: Frame.getString(source, "xm", "stopped.message"),
    id: Frame.getString(source, "xi", "stopped.id"),
    reason: Frame.getString(source, "xr", "stopped.reason")
  }
}
