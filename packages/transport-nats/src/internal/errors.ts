/**
 * What an answer of JetStream or a failure of the connection means.
 */
import { QueueFull, Refused, TransportError, Unavailable } from "@troupe/core/TransportError"

/** `error` in an answer of JetStream's API. */
export interface ApiError {
  readonly code: number
  readonly err_code?: number
  readonly description?: string
}

/** `passing`: try again later. */
export type Kind =
  | "wrongSequence"
  | "full"
  | "taken"
  | "noStream"
  | "noConsumer"
  | "noMessage"
  | "passing"
  | "refused"

const kinds: ReadonlyMap<number, Kind> = new Map([
  [10071, "wrongSequence"],
  // limits of the stream
  [10077, "full"],
  // storage of the server or the account
  [10023, "full"],
  [10028, "full"],
  [10047, "full"],
  // the name or the subjects of a stream, maybe since a moment and by its like
  [10058, "taken"],
  [10065, "taken"],
  [10059, "noStream"],
  [10014, "noConsumer"],
  [10037, "noMessage"],
  // a sequence that cannot be deleted: it never was there, or is gone
  [10043, "noMessage"],
  [10057, "noMessage"],
  // no leader, no peer, not up yet
  [10008, "passing"],
  [10009, "passing"],
  [10005, "passing"],
  [10012, "passing"],
  [10118, "passing"],
  // not for this account, whatever the server is doing
  [10039, "refused"]
])

export const kindOf = (error: ApiError): Kind => {
  const kind = error.err_code === undefined ? undefined : kinds.get(error.err_code)
  if (kind !== undefined) return kind
  return error.code === 503 ? "passing" : "refused"
}

export const describe = ({ code, description, err_code }: ApiError): string =>
  `${description ?? "no description"} (${err_code ?? code})`

export const unavailable = (operation: string, description: string, cause?: unknown): TransportError =>
  new TransportError({ reason: new Unavailable({ operation, description, cause }) })

export const refused = (operation: string, description: string, cause?: unknown): TransportError =>
  new TransportError({ reason: new Refused({ operation, description, cause }) })

export const queueFull = (queue: string, description: string): TransportError =>
  new TransportError({ reason: new QueueFull({ queue, description }) })
