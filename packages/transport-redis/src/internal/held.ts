/**
 * What a subscription has been given and has not settled, by stream and entry.
 */
import type { HandOut } from "./handOut.ts"

export class Held {
  private readonly handOuts = new Map<string, HandOut>()

  add(handOut: HandOut): void {
    this.handOuts.set(handOut.stream + handOut.entry, handOut)
  }

  forget(handOut: HandOut): void {
    this.handOuts.delete(handOut.stream + handOut.entry)
  }

  /** The very hand-out, not another one of the same entry. */
  has(handOut: HandOut): boolean {
    return this.handOuts.get(handOut.stream + handOut.entry) === handOut
  }

  hasEntry(stream: string, entry: string): boolean {
    return this.handOuts.has(stream + entry)
  }

  /** A heartbeat confirmed `kept` of them; the others are lost. */
  renewed(handOuts: ReadonlyArray<HandOut>, kept: ReadonlySet<HandOut>, now: number): void {
    for (const handOut of handOuts) {
      if (kept.has(handOut)) handOut.renewedAt = now
      else this.forget(handOut)
    }
  }

  /** Forgets what nobody renewed for so long: somebody else has it. */
  sweep(now: number, longest: number): void {
    for (const [key, handOut] of this.handOuts) {
      if (now - handOut.renewedAt > longest) this.handOuts.delete(key)
    }
  }
}
