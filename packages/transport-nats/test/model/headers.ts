/**
 * What a publication says to JetStream.
 */
import type * as Port from "../../src/internal/streams.ts"

/** In a run: the id of the message before it, if there is one. */
export interface Place {
  readonly after: string | undefined
}

export const idOf = ({ messageId, runId }: Port.Publish): string | undefined => messageId ?? runId

/** `place`: it is or was in a run. */
export const headersOf = (
  message: Port.Publish,
  isAgain: boolean,
  place: Place | undefined
): ReadonlyMap<string, string> => {
  const messageId = place === undefined ? message.messageId : idOf(message)
  const { expected, headers = {} } = (isAgain ? message.again : undefined) ?? message
  const all = new Map(Object.entries(headers))
  if (messageId !== undefined) all.set("Nats-Msg-Id", messageId)
  if (expected !== undefined) all.set("Nats-Expected-Last-Subject-Sequence", String(expected))
  if (place?.after !== undefined) all.set("Nats-Expected-Last-Msg-Id", place.after)
  return all
}
