/**
 * What goes wrong with the server itself.
 */
import type { Network } from "../../../core/test/simulation/link.ts"
import { perfect } from "../../../core/test/simulation/link.ts"
import type { Prng } from "../../../core/test/simulation/prng.ts"
import type { Server } from "../model/server.ts"

export interface Fault {
  /** ms. */
  readonly at: number
  readonly kind: "crash" | "leaderless" | "full"
  /** ms. */
  readonly lasts: number
}

export const draw = (random: Prng, duration: number): ReadonlyArray<Fault> => {
  const faults: Array<Fault> = []
  const times = (kind: Fault["kind"], most: number, chance: number) => {
    if (!random.chance(chance)) return
    for (let left = random.int(1, most); left > 0; left--) {
      const lasts = random.pick([random.int(50, 500), random.int(500, 4_000)])
      faults.push({ at: random.int(0, duration), kind, lasts })
    }
  }
  times("crash", 4, 0.6)
  times("leaderless", 2, 0.3)
  times("full", 2, 0.2)
  return faults.sort((a, b) => a.at - b.at)
}

export const strike = ({ kind, lasts }: Fault, server: Server): void => {
  server.world.trace("server", `${kind} for ${lasts} ms`)
  switch (kind) {
    case "crash":
      return server.crash(lasts)
    case "leaderless":
      return server.loseLeader(lasts)
    case "full":
      return server.fill(lasts)
  }
}

/** The latency stays. */
export const heal = ({ latency }: Network): Network => ({ ...perfect, latency })
