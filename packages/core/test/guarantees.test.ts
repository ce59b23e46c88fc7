import { test } from "vitest"
import * as MemoryTransport from "../src/MemoryTransport.ts"
import { GuaranteeConformance } from "../src/testing/index.ts"

GuaranteeConformance.suite({ test, name: "memory", layer: MemoryTransport.layer, clock: "virtual" })
