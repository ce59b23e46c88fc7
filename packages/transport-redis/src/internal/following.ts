/**
 * Which delivery a job follows in the turn of its key, for jobs that a
 * settlement of ours let go on and that are not here yet.
 */
import type { Keyed, Own } from "./cycle.ts"
import { waiting } from "./keys.ts"

/** Somebody else may have got them: at this number they are forgotten. */
const most = 4_096

export class Following {
  private readonly turnIds = new Map<string, string>()

  /** `entries`: what the script of the cycle said of one group of `order`. */
  add(order: ReadonlyArray<Own>, { start, stream }: Keyed, entries: string): void {
    if (this.turnIds.size > most) this.turnIds.clear()
    const next = waiting(stream.slice(2))
    entries.split(" ").forEach((entry, i) => {
      if (entry !== "-") this.turnIds.set(next + entry, order[start + i]!.delivery.turnId)
    })
  }

  /** The `turnId` of the delivery before, once. */
  take(stream: string, entry: string): string | undefined {
    if (this.turnIds.size === 0) return undefined
    const turnId = this.turnIds.get(stream + entry)
    if (turnId !== undefined) this.turnIds.delete(stream + entry)
    return turnId
  }
}
