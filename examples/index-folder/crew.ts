/**
 * The worker processes, seen from the one that starts and ends them.
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Scope } from "effect/Scope"
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { Failure } from "./failure.ts"
import { ready, Settings } from "./settings.ts"

const program = `${import.meta.dirname}/worker.ts`

/** ms that a worker gets to hand back its jobs: more than its grace period. */
const patience = 10_000

export interface WorkerProcess {
  readonly name: string
  readonly pid: number
  /** `kill -9`: it has no time to hand anything back. Waits until it is dead. */
  readonly kill: Effect.Effect<void>
  /** It stands still while the effect runs, unless that kills it. */
  readonly whileStopped: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

export interface Crew {
  readonly workers: ReadonlyArray<WorkerProcess>
  /** Fails when the last of them has ended. */
  readonly deserted: Effect.Effect<never, Failure>
}

const hasEnded = (child: ChildProcess) => child.exitCode !== null || child.signalCode !== null

const end = (child: ChildProcess) =>
  Effect.promise(async () => {
    if (hasEnded(child)) return
    child.kill("SIGTERM")
    const timer = setTimeout(() => child.kill("SIGKILL"), patience)
    await once(child, "exit")
    clearTimeout(timer)
  })

const hire = (settings: Settings, env: Readonly<Record<string, string>>) =>
  fork(program, [Schema.encodeSync(Settings)(settings)], {
    env,
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    // a process group of its own: a Ctrl-C is for this program, which ends its workers by itself
    detached: true
  })

/** Waits until it takes jobs. */
const whenReady = (name: string, child: ChildProcess) =>
  Effect.callback<void, Failure>((resume) => {
    child.once("message", (message) => {
      if (message === ready) resume(Effect.void)
    })
    child.once("exit", (code, signal) => {
      const message = `Worker "${name}" ended at its start: ${signal ?? `exit code ${code}`}`
      resume(Effect.fail(new Failure({ message })))
    })
  })

/** Starts all of them at once and waits for all. They end with the scope, all at once. */
export const start = Effect.fnUntraced(function*(
  count: number,
  settings: Omit<Settings, "name">,
  env: Readonly<Record<string, string>>
): Effect.fn.Return<Crew, Failure, Scope> {
  const names = Array.from({ length: count }, (_, n) => `worker-${n + 1}`)
  const children = yield* Effect.acquireRelease(
    Effect.sync(() => names.map((name) => hire({ ...settings, name }, env))),
    (children) => Effect.forEach(children, end, { concurrency: "unbounded", discard: true })
  )
  yield* Effect.forEach(children, (child, n) => whenReady(names[n]!, child), { concurrency: "unbounded" })
  const deserted = yield* Deferred.make<never, Failure>()
  const onExit = () => {
    if (!children.every(hasEnded)) return
    Deferred.doneUnsafe(deserted, Effect.fail(new Failure({ message: "All workers have ended before the work" })))
  }
  for (const child of children) child.once("exit", onExit)
  return {
    workers: children.map((child, n) => ({
      name: names[n]!,
      pid: child.pid ?? 0,
      kill: Effect.promise(async () => {
        if (hasEnded(child)) return
        const dead = once(child, "exit")
        child.kill("SIGKILL")
        await dead
      }),
      whileStopped: (effect) =>
        Effect.acquireUseRelease(
          Effect.sync(() => child.kill("SIGSTOP")),
          () => effect,
          () => Effect.sync(() => child.kill("SIGCONT"))
        )
    })),
    deserted: Deferred.await(deserted)
  }
})
