/**
 * What an error of Redis or of the connection means.
 */
import { QueueFull, Refused, TransportError, Unavailable } from "@troupe/core/TransportError"

/**
 * `passing`: try again later. `moved`: try again elsewhere. `lost`: the connection broke, the command may have run.
 * `full`: out of memory.
 */
export type Kind = "noScript" | "noGroup" | "full" | "passing" | "moved" | "lost" | "refused"

const kinds: ReadonlyArray<readonly [prefix: string, kind: Kind]> = [
  ["NOSCRIPT", "noScript"],
  ["NOGROUP", "noGroup"],
  ["OOM", "full"],
  ["MOVED ", "moved"],
  // a part of the slot has moved on: no script may run before all of it has
  ["ASK ", "passing"],
  ["TRYAGAIN", "passing"],
  ["CLUSTERDOWN", "passing"],
  ["LOADING", "passing"],
  ["BUSY ", "passing"],
  ["UNKILLABLE", "passing"],
  ["MASTERDOWN", "passing"],
  ["NOREPLICAS", "passing"],
  ["MISCONF", "passing"],
  ["READONLY", "passing"],
  ["UNBLOCKED", "passing"]
]

/** A script says first that it failed, and then why. */
const inScripts: ReadonlyArray<readonly [part: string, kind: Kind]> = [
  ["OOM command not allowed", "full"],
  ["READONLY You can't write", "passing"],
  ["NOREPLICAS", "passing"],
  ["MISCONF", "passing"],
  ["MASTERDOWN", "passing"],
  ["while the cluster is down", "passing"]
]

export const text = (error: unknown): string => error instanceof Error ? error.message : String(error)

const isReply = (error: unknown): boolean => error instanceof Error && error.name === "ReplyError"

export const kindOf = (error: unknown): Kind => {
  // what Redis did not say, the connection did
  if (!isReply(error)) return "lost"
  const message = text(error)
  for (const [prefix, kind] of kinds) if (message.startsWith(prefix)) return kind
  for (const [part, kind] of inScripts) if (message.includes(part)) return kind
  return "refused"
}

/** Only another connection can help: this server is no master any more. */
export const isDemoted = (error: unknown): boolean => isReply(error) && /READONLY|MASTERDOWN/.test(text(error))

/** Why waiting for a connection cannot help; `undefined` if it can. */
export const hopeless = (error: Error): string | undefined => {
  const message = error.message.trim()
  if (/WRONGPASS|NOAUTH|invalid password|invalid username|NOPERM|without any password configured/i.test(message)) {
    return `${message}: check user name, password and ACL`
  }
  const code = "code" in error ? String(error.code) : ""
  if (/^ERR_SSL_|^EPROTO$/.test(code)) return `${message}: check that both sides speak TLS`
  if (/CERT|^UNABLE_TO_|^SELF_SIGNED|^ERR_TLS_/.test(code)) return `${message}: check the certificates of TLS`
  return undefined
}

/** Where a slot is now. Without a host it is the one that was asked, under another port. */
export const movedTo = (
  error: unknown
): { readonly slot: number; readonly host: string; readonly port: number } | undefined => {
  const found = isReply(error) ? /^MOVED (\d+) (.*):(\d+)$/.exec(text(error).trim()) : null
  return found === null ? undefined : { slot: Number(found[1]), host: found[2]!, port: Number(found[3]) }
}

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
