/**
 * Who takes part, by name.
 */
import type { System } from "./system.ts"
import { bullmq } from "./systems/bullmq.ts"
import { raw } from "./systems/raw.ts"
import { troupe, troupeSigned } from "./systems/troupe.ts"

export const systems = { raw, BullMQ: bullmq, Troupe: troupe, "Troupe, signed": troupeSigned } satisfies Record<
  string,
  System
>

export type Name = keyof typeof systems

export const systemOf = (name: Name): System => systems[name]
