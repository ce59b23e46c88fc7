/**
 * Runs a program over the modelled server, on virtual time.
 */
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type { Scope } from "effect/Scope"
import { perfect } from "../../../core/test/simulation/link.ts"
import { Prng } from "../../../core/test/simulation/prng.ts"
import { Process, World } from "../../../core/test/simulation/world.ts"
import { Server } from "./server.ts"
import { Wire } from "./wire.ts"

export interface Played {
  readonly world: World
  readonly server: Server
  readonly wire: Wire
  /** Another connection of the process. */
  readonly connect: () => Wire
}

/** Runs a program in a process with a connection. Rejects with what it fails with, or when nothing can happen any more. */
export const playAtPort = async <E>(
  run: (played: Played) => Effect.Effect<void, E, Scope>,
  seed = "play"
): Promise<void> => {
  const random = new Prng(seed)
  const world = new World(random.fork("order"))
  const server = new Server(world, random.fork("server"))
  const process = new Process(world, "process", random.fork("process"))
  const connect = () => new Wire(process, server, perfect, random.fork("wire"))
  const wire = connect()
  let end: Exit.Exit<void, E> | undefined
  process.fork(Effect.scoped(run({ world, server, wire, connect })), (fiber) =>
    fiber.addObserver((exit) => {
      end = exit
    }))
  await world.run(() => end !== undefined)
  process.kill()
  if (end === undefined) throw new Error("it waits for something that never comes")
  await Effect.runPromise(end)
}
