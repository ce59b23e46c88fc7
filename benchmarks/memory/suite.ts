/**
 * The memory transport: no network, so what is left is Troupe's own cost.
 */
import * as MemoryTransport from "@troupe/core/MemoryTransport"
import * as Layer from "effect/Layer"
import { hop, noop } from "../payload.ts"
import type { Scenario, Suite, Throughput } from "../scenario.ts"
import { bare } from "../scenarios/bare.ts"
import * as Rounds from "../scenarios/throughput.ts"
import { bytesPerRecord, flat } from "./footprint.ts"

const transport = Layer.fresh(MemoryTransport.layer)

const throughput = (
  name: string,
  round: Throughput["round"],
  options: { readonly jobs?: number; readonly against?: Throughput; readonly least?: number } = {}
): Throughput => ({
  _tag: "Throughput",
  name,
  jobs: options.jobs ?? 60_000,
  round,
  against: options.against && { scenario: options.against, least: options.least }
})

const bareLoop = throughput("bare loop: encode, decode, fiber, encode", bare(noop))
const bareHop = throughput("bare loop, a handler of one async hop", bare(hop))
const cycle = throughput("full cycle, enqueueMany of 64", Rounds.bulkCycle({ transport }), {
  against: bareLoop,
  least: 0.4
})

const scenarios: ReadonlyArray<Scenario> = [
  bareLoop,
  cycle,
  throughput("full cycle, 64 × enqueue at once", Rounds.singleCycle({ transport }), { against: bareLoop }),
  throughput("enqueue → await result, 64 in flight", Rounds.results({ transport }), {
    jobs: 20_000,
    against: bareLoop
  }),
  throughput("enqueueMany of 64, no worker", Rounds.bulkEnqueue({ transport }), { against: bareLoop }),
  throughput("enqueue one by one, no worker", Rounds.singleEnqueue({ transport }), { against: bareLoop }),
  bareHop,
  throughput("full cycle, a handler of one async hop", Rounds.bulkCycle({ transport, handler: hop }), {
    against: bareHop
  }),
  // three codes of two hashes each
  throughput("full cycle, signed with HMAC", Rounds.bulkCycle({ transport, signed: true }), {
    against: cycle,
    least: 0.5
  }),
  throughput("10,000 jobs due at the same moment", Rounds.delayed({ transport }), { jobs: 10_000, against: bareLoop }),
  throughput("full cycle, 1,000 keys", Rounds.keyed({ transport }, 1_000), { against: bareLoop }),
  { _tag: "Footprint", name: "memory over time, no results kept", jobs: 1_000_000, run: flat(transport) },
  { _tag: "Footprint", name: "memory per record", jobs: 100_000, run: bytesPerRecord(transport) }
]

export const memory: Suite = { name: "memory", scenarios }
