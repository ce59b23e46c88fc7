/**
 * Which delivery a job follows in the turn of its key, for jobs that a
 * settlement of ours let go on and that are not here yet.
 */
import type { Keyed, Own } from "./cycle.ts"
import { waiting } from "./keys.ts"

/** Somebody else may have got them: at this number they are forgotten. */
const most = 4_096

export class Following {
  /** By stream and entry. */
  private readonly turnIds = new Map<string, Map<string, string>>()

  /** `entries`: what the script of the cycle said of one group of `order`. */
  add(order: ReadonlyArray<Own>, { start, stream }: Keyed, entries: string): void {
    const next = waiting(stream.slice(2))
    let turnIds = this.turnIds.get(next)
    if (turnIds === undefined) this.turnIds.set(next, turnIds = new Map())
    if (turnIds.size > most) turnIds.clear()
    const list = entries.split(" ")
    for (let i = 0; i < list.length; i++) {
      const entry = list[i]!
      if (entry !== "-") turnIds.set(entry, order[start + i]!.delivery.turnId)
    }
  }

  /** The `turnId` of the delivery before, once. */
  take(stream: string, entry: string): string | undefined {
    const turnIds = this.turnIds.get(stream)
    const turnId = turnIds?.get(entry)
    if (turnId !== undefined) turnIds?.delete(entry)
    return turnId
  }
}
