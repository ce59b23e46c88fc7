/**
 * A worker as a process: signals, grace period, exit codes.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import { StopNow } from "./worker/stopNow.ts"

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

type Signal = keyof typeof exitCodes

/** ms that a forced stop may take before the process ends anyway. */
const forcedLimit = 5_000

/**
 * Runs a Layer as the main program of a Node process.
 *
 * The first SIGINT or SIGTERM drains (or stops the build, while Layers are
 * built), the second stops now: running handlers are interrupted and released,
 * their finalizers get 5 seconds. Exit codes: 0 drained, also when the grace
 * period ended with released jobs; 1 failed to start or to run; 130 (SIGINT)
 * or 143 (SIGTERM) forced by a second signal.
 */
export const runMain = <A, E>(layer: Layer.Layer<A, E>): void => {
  const stopNow = Deferred.makeUnsafe<void>()
  let forced: Signal | undefined
  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let signals = 0
    const onSignal = (signal: Signal) => {
      signals++
      if (signals === 1) return fiber.interruptUnsafe(fiber.id)
      if (signals > 2) return process.exit(exitCodes[signal])
      forced = signal
      Deferred.doneUnsafe(stopNow, Exit.void)
      setTimeout(() => process.exit(exitCodes[signal]), forcedLimit).unref()
    }
    const listeners = { SIGINT: () => onSignal("SIGINT"), SIGTERM: () => onSignal("SIGTERM") }
    process.on("SIGINT", listeners.SIGINT)
    process.on("SIGTERM", listeners.SIGTERM)
    fiber.addObserver((exit) => {
      teardown(exit, (code) => {
        process.off("SIGINT", listeners.SIGINT)
        process.off("SIGTERM", listeners.SIGTERM)
        process.exit(code)
      })
    })
  })
  run(Layer.launch(layer).pipe(Effect.provideService(StopNow, Deferred.await(stopNow))), {
    teardown: (exit, onExit) => onExit(exitCode(exit, forced))
  })
}

const exitCode = (exit: Exit.Exit<unknown, unknown>, forced: Signal | undefined): number =>
  forced !== undefined ? exitCodes[forced] : Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1
