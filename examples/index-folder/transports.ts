/**
 * The brokers that this program can use, by the name that `--transport` takes.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import type { Transport } from "@troupe/core/Transport"
import type * as Layer from "effect/Layer"

export const transports: ReadonlyMap<string, Layer.Layer<Transport>> = new Map([
  ["memory", MemoryTransport.layer]
])
