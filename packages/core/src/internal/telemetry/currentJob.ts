/**
 * Which job a handler belongs to.
 */
import * as Context from "effect/Context"

/** The id of the job at the root: what the handler enqueues belongs to it, too. Set while somebody traces. */
export const RootJob = Context.Reference<string | undefined>("@troupe/core/internal/telemetry/RootJob", {
  defaultValue: () => undefined
})
