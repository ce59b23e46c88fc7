/**
 * Rings when the first scheduled job is due.
 */
export class Alarm {
  private readonly now: () => number
  private readonly onRing: () => void
  private at = Infinity
  private timer: ReturnType<typeof setTimeout> | undefined = undefined

  constructor(now: () => number, onRing: () => void) {
    this.now = now
    this.onRing = onRing
  }

  /** In so many ms at the latest; `undefined`: nothing is due. An answer may be older than the alarm that is set. */
  set(milliseconds: number | undefined): void {
    if (milliseconds === undefined) return
    const at = this.now() + milliseconds
    if (at >= this.at) return
    this.at = at
    clearTimeout(this.timer)
    this.timer = setTimeout(() => {
      this.at = Infinity
      this.onRing()
    }, Math.max(1, milliseconds))
  }

  clear(): void {
    clearTimeout(this.timer)
    // nothing sets it again
    this.at = -Infinity
  }
}
