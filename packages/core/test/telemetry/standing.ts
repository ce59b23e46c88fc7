/** Where attempts of orders stand in the traces. */
import type { Traces } from "../fixtures/traces.ts"

/** Attempts of orders: in which trace each is, beside the span that sent the job. */
export const standing = (traces: Traces, creation = "send shop") => {
  const created = traces.one(creation)
  return traces.named("process shop").map((span) => ({
    isChild: span.parentId === created.spanId && span.traceId === created.traceId,
    isRoot: span.parentId === undefined && span.traceId !== created.traceId,
    links: span.linksTo.map(([what, id]) => id === created.spanId ? what : `${what} elsewhere`)
  }))
}

export const child = { isChild: true, isRoot: false, links: ["creation"] }
export const root = { isChild: false, isRoot: true, links: ["creation"] }
