/**
 * What this process has seen of locks that others hold. A lock whose row kept
 * its revision for a whole ttl has no living holder: the clocks of two hosts
 * are never compared.
 */
import type { Transport } from "../../Transport.ts"

interface Observation {
  readonly revision: number
  /** ms on our monotonic clock. */
  readonly since: number
}

/** Locks that are remembered per transport: who looks at more of them takes over later, never earlier. */
const most = 10_000

const byTransport = new WeakMap<Transport["Service"], Map<string, Observation>>()

/** Notes the revision, and answers for how many ms it has been the same. */
export const observe = (transport: Transport["Service"], name: string, revision: number, now: number): number => {
  let seen = byTransport.get(transport)
  if (seen === undefined) byTransport.set(transport, seen = new Map())
  const before = seen.get(name)
  if (before?.revision === revision) return now - before.since
  seen.delete(name)
  seen.set(name, { revision, since: now })
  if (seen.size > most) seen.delete(seen.keys().next().value!)
  return 0
}

export const forget = (transport: Transport["Service"], name: string): void => {
  byTransport.get(transport)?.delete(name)
}
