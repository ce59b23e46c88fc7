/**
 * What an error of Redis or of the connection means.
 */
import { QueueFull, Refused, TransportError, Unavailable } from "@troupe/core/TransportError"

/** `passing`: try again later. `lost`: the connection broke, the command may have run. `full`: out of memory. */
export type Kind = "noScript" | "noGroup" | "full" | "passing" | "lost" | "refused"

const kinds: ReadonlyArray<readonly [prefix: string, kind: Kind]> = [
  ["NOSCRIPT", "noScript"],
  ["NOGROUP", "noGroup"],
  ["OOM", "full"],
  ["LOADING", "passing"],
  ["BUSY", "passing"],
  ["TRYAGAIN", "passing"],
  ["CLUSTERDOWN", "passing"],
  ["MASTERDOWN", "passing"],
  ["NOREPLICAS", "passing"],
  ["MISCONF", "passing"],
  ["MOVED", "passing"],
  ["ASK", "passing"],
  ["READONLY", "passing"],
  ["UNBLOCKED", "passing"]
]

const text = (error: unknown): string => error instanceof Error ? error.message : String(error)

const isReply = (error: unknown): boolean => error instanceof Error && error.name === "ReplyError"

export const kindOf = (error: unknown): Kind => {
  // what Redis did not say, the connection did
  if (!isReply(error)) return "lost"
  const message = text(error)
  for (const [prefix, kind] of kinds) if (message.startsWith(prefix)) return kind
  // a script says where it failed first
  if (message.includes("OOM command not allowed")) return "full"
  if (message.includes("READONLY You can't write")) return "passing"
  if (message.includes("NOREPLICAS") || message.includes("MISCONF")) return "passing"
  return "refused"
}

/** Only another connection can help: this server is no master any more. */
export const isDemoted = (error: unknown): boolean => isReply(error) && text(error).includes("READONLY")

export const unavailable = (operation: string, description: string, cause?: unknown): TransportError =>
  new TransportError({ reason: new Unavailable({ operation, description, cause }) })

export const refused = (operation: string, description: string, cause?: unknown): TransportError =>
  new TransportError({ reason: new Refused({ operation, description, cause }) })

/** `queue`: whose limit is reached if Redis is full. */
export const fromRedis = (operation: string, queue: string, error: unknown): TransportError => {
  const description = text(error)
  switch (kindOf(error)) {
    case "full":
      return new TransportError({
        reason: new QueueFull({ queue, description: "Redis has reached its maxmemory" })
      })
    case "refused":
    case "noGroup":
    case "noScript":
      return refused(operation, description, error)
    default:
      return unavailable(operation, description, error)
  }
}
