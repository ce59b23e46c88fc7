/**
 * What a subscription has been given and has not settled.
 */
import { ShortLivedSet } from "@troupe/core/ShortLived"
import type { HandOut } from "./handOut.ts"

export class Held {
  private readonly handOuts = new ShortLivedSet<HandOut>()

  add(handOut: HandOut): void {
    this.handOuts.add(handOut)
  }

  forget(handOut: HandOut): void {
    this.handOuts.delete(handOut)
  }

  /** The very hand-out, not another one of the same entry. */
  has(handOut: HandOut): boolean {
    return this.handOuts.has(handOut)
  }

  /** What tells entries apart, of all of them. */
  entries(): ReadonlySet<string> {
    return new Set(Array.from(this.handOuts, ({ entry, stream }) => stream + entry))
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
    for (const handOut of this.handOuts) {
      if (now - handOut.renewedAt > longest) this.forget(handOut)
    }
  }
}
