/**
 * One role of the scenario in a process of its own: `node program.ts <role>
 * <transport> <url> [<what was produced>]`. A result is a message to the parent.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Scenario from "./scenario.ts"
import { remotes } from "./transports.ts"

const [role = "", transport = "", url = "", produced = ""] = process.argv.slice(2)

const remote = remotes[transport]
if (remote === undefined) throw new Error(`Unknown transport "${transport}"`)

/** Waits until it is on its way: the process may end right after. */
const answer = (value: string | object) =>
  Effect.callback<void>((resume) => {
    process.send?.(value, () => resume(Effect.void))
  })

const roles = {
  producer: Effect.flatMap(Scenario.produce, answer),
  waiter: Effect.suspend(() => Effect.flatMap(Scenario.collect(JSON.parse(produced) as Scenario.Produced), answer)),
  worker: Effect.scoped(Effect.andThen(
    Layer.build(Scenario.WorkerLive),
    Effect.andThen(answer("ready"), Effect.never)
  ))
}

const run = role in roles ? roles[role as keyof typeof roles] : Effect.die(new Error(`Unknown role "${role}"`))

process.once("disconnect", () => process.exit())
await Effect.runPromise(
  (run as Effect.Effect<void, unknown, never>).pipe(
    Effect.provide(Scenario.clientLive(remote.layer(url))),
    Effect.provideService(References.MinimumLogLevel, "Error")
  )
)
process.exit()
