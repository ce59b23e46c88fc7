/**
 * Who takes part, by name.
 */
import * as NatsTransport from "@troupe/transport-nats/NatsTransport"
import * as RedisTransport from "@troupe/transport-redis/RedisTransport"
import { raw as rawNats } from "../nats/systems/raw.ts"
import { bullmq } from "../redis/systems/bullmq.ts"
import { raw } from "../redis/systems/raw.ts"
import type { System } from "./system.ts"
import { troupeOn } from "./troupe.ts"

const onRedis = (url: string) => RedisTransport.layer({ url })
const onNats = (url: string) => NatsTransport.layer({ servers: url })

export const systems = {
  raw,
  BullMQ: bullmq,
  Troupe: troupeOn(onRedis),
  "Troupe, signed": troupeOn(onRedis, true),
  "raw NATS": rawNats,
  "Troupe on NATS": troupeOn(onNats)
} satisfies Record<string, System>

export type Name = keyof typeof systems

export const systemOf = (name: Name): System => systems[name]
