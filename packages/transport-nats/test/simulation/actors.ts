/**
 * Where the histories of actors are played on the modelled server, with its own
 * faults.
 */
import type { Transport } from "@troupe/core/Transport"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Site } from "../../../core/test/simulation/actors.ts"
import { networkOf } from "../../../core/test/simulation/link.ts"
import type { Prng } from "../../../core/test/simulation/prng.ts"
import { Process, type World } from "../../../core/test/simulation/world.ts"
import type { Streams } from "../../src/internal/streams.ts"
import { make } from "../../src/internal/transport.ts"
import { Server } from "../model/server.ts"
import { Wire } from "../model/wire.ts"
import * as Faults from "./faults.ts"

/** `atPort`: a bug to see whether it is caught. */
export const nats =
  (atPort: (streams: Streams) => Streams = (streams) => streams) => (world: World, random: Prng): Site => {
    const server = new Server(world, random.fork("model"))
    const faulty = networkOf(random)
    return {
      start: (name, isFaulty) => {
        const process = new Process(world, name, random.fork(`random ${name}`))
        const network = isFaulty ? faulty : Faults.heal(faulty)
        const wire = new Wire(process, server, network, random.fork(`wire ${name}`))
        const transport = Deferred.makeUnsafe<Transport["Service"]>()
        // never closed: processes are killed
        const scope = Scope.makeUnsafe()
        const made = make(atPort(wire.streams), { namespace: "sim", durability: "process", maxMessages: 1_000_000 })
        process.fork(
          Effect.map(
            Effect.retry(Scope.provide(scope)(made), { times: 100 }),
            (one) => Deferred.doneUnsafe(transport, Exit.succeed(one))
          )
        )
        return {
          process,
          transport: Deferred.await(transport),
          cutOff: (milliseconds) => wire.cutOff(milliseconds),
          heal: () => wire.heal(),
          close: () => wire.close()
        }
      },
      strike: (duration) => {
        for (const fault of Faults.draw(random.fork("server"), duration)) {
          world.after(fault.at, () => Faults.strike(fault, server))
        }
        if (random.chance(0.3)) world.after(random.int(0, duration), () => server.stall(random.int(100, 3_000)))
      }
    }
  }
