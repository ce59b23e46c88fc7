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

  constructor(now: () => number, span: number) {
    this.now = now
    this.span = span
  }

  has({ sequence }: Delivered): boolean {
    const at = this.times.get(sequence)
    return at !== undefined && this.now() - at < this.span
  }

  add({ sequence }: Delivered): void {
    const now = this.now()
    // removed first: a map keeps the place of a key that it knows
    this.times.delete(sequence)
    this.times.set(sequence, now)
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
