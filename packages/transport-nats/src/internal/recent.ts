/**
 * What this worker got or kept a moment ago. A server whose requests of the dead
 * outlived a lease hands a message out twice at once: the second one is no new
 * hand-out, and nothing may be said about it.
 */
import type { Delivered } from "./streams.ts"

export class Recent {
  private readonly now: () => number
  /** ms. */
  private readonly span: number
  /** When, by sequence, oldest first. */
  private readonly times = new Map<number, number>()
  private puts = 0

  constructor(now: () => number, span: number) {
    this.now = now
    this.span = span
  }

  /** Whether it is none of them; it is from now on. */
  isNew({ sequence }: Delivered): boolean {
    const now = this.now()
    const at = this.times.get(sequence)
    if (at !== undefined && now - at < this.span) return false
    this.put(sequence, at !== undefined, now)
    return true
  }

  add({ sequence }: Delivered): void {
    this.put(sequence, true, this.now())
  }

  private put(sequence: number, mayBeThere: boolean, now: number): void {
    // removed first: a map keeps the place of a key that it knows
    if (mayBeThere) this.times.delete(sequence)
    this.times.set(sequence, now)
    // looking at the first one costs more than the rest: not each time
    if (++this.puts % 64 !== 0) return
    for (const [oldest, at] of this.times) {
      if (now - at < this.span) break
      this.times.delete(oldest)
    }
  }

  /** It was given back. */
  forget({ sequence }: Delivered): void {
    this.times.delete(sequence)
  }
}
