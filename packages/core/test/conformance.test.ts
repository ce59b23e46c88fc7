import { test } from "vitest"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { TransportConformance } from "../src/testing/index.ts"

TransportConformance.suite({ test, name: "memory", layer: MemoryTransport.layer, clock: "virtual" })
