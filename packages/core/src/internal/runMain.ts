/**
 * A worker as a process: signals, grace period, exit codes.
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Runtime from "effect/Runtime"
import * as Health from "../Health.ts"
import { StopNow } from "./worker/stopNow.ts"

const exitCodes = { SIGINT: 130, SIGTERM: 143 } as const

type Signal = keyof typeof exitCodes

/** ms that a forced stop may take before the process ends anyway. */
const forcedLimit = 5_000

/** ms within which signals are one: npm passes on a Ctrl-C that the terminal sent to this process as well. */
const sameSignal = 200

/**
 * Runs a Layer as the main program of a Node process.
 *
 * The first SIGINT or SIGTERM drains (or stops the build, while Layers are
 * built), the second stops now: running handlers are interrupted and released,
 * their finalizers get 5 seconds. Signals less than 200 ms apart are one. Exit
 * codes: 0 drained, also when the grace period ended with released jobs; 1
 * failed to start or to stop; 130 (SIGINT) or 143 (SIGTERM) forced by a second
 * signal. A failure is logged in one line, a defect with its stack. A process
 * whose output nobody reads any more works on.
 */
export const runMain = <A, E>(layer: Layer.Layer<A, E>): void => {
  const stopNow = Deferred.makeUnsafe<void>()
  let phase: "start" | "run" | "stop" = "start"
  const health = Health.make()
  health.enter("starting")
  let forced: Signal | undefined

  const program = Effect.scoped(Effect.andThen(
    Layer.build(layer),
    Effect.suspend(() => {
      phase = "run"
      health.enter("running")
      return Effect.never
    })
  )).pipe(
    Effect.provideService(StopNow, Deferred.await(stopNow)),
    Effect.provideService(Health.Health, health),
    // an interrupted fiber runs nothing but finalizers
    Effect.onError((cause) => isClean(cause) ? Effect.void : report(phase, cause))
  )
  const isClean = (cause: Cause.Cause<unknown>) => phase === "stop" && Cause.hasInterruptsOnly(cause)

  const run = Runtime.makeRunMain(({ fiber, teardown }) => {
    let signals = 0
    let quiet = false
    const onSignal = (signal: Signal) => {
      if (quiet) return
      quiet = true
      setTimeout(() => {
        quiet = false
      }, sameSignal).unref()
      signals++
      if (signals === 1) {
        say(`${signal}: ${phase === "run" ? "draining" : "stopping the start"}, a second signal stops now`)
        phase = "stop"
        // before any Layer begins to close: who looks sees it at once
        health.enter("stopping")
        return fiber.interruptUnsafe(fiber.id)
      }
      if (signals > 2) return process.exit(exitCodes[signal])
      say(`${signal}: stopping now`)
      forced = signal
      Deferred.doneUnsafe(stopNow, Exit.void)
      setTimeout(() => {
        say(`Finalizers did not end within ${forcedLimit} ms, the process ends without them`)
        process.exit(exitCodes[signal])
      }, forcedLimit).unref()
    }
    const listeners = { SIGINT: () => onSignal("SIGINT"), SIGTERM: () => onSignal("SIGTERM") }
    process.on("SIGINT", listeners.SIGINT)
    process.on("SIGTERM", listeners.SIGTERM)
    process.stdout.on("error", ignoreClosed)
    process.stderr.on("error", ignoreClosed)
    fiber.addObserver((exit) => {
      teardown(exit, (code) => {
        process.off("SIGINT", listeners.SIGINT)
        process.off("SIGTERM", listeners.SIGTERM)
        process.exit(code)
      })
    })
  })
  run(program, {
    disableErrorReporting: true,
    teardown: (exit, onExit) => {
      const clean = Exit.isSuccess(exit) || isClean(exit.cause)
      onExit(forced !== undefined ? exitCodes[forced] : clean ? 0 : 1)
    }
  })
}

/** Who read the logs is gone: that is no reason to lose jobs. */
const ignoreClosed = (error: Error & { readonly code?: string }) => {
  if (error.code !== "EPIPE") throw error
}

/** Outside of the program's fiber: a signal comes at any time. */
const say = (message: string) => void Effect.runFork(Effect.logInfo(message))

const report = (phase: "start" | "run" | "stop", cause: Cause.Cause<unknown>) => {
  const what = { start: "Failed to start", run: "Failed", stop: "Failed while stopping" }[phase]
  const failure = cause.reasons.find(Cause.isFailReason)
  const dies = Cause.hasDies(cause)
  const error = failure === undefined ? Cause.squash(cause) : failure.error
  const line = Effect.logError(`${what}: ${describe(error)}`)
  // a defect is a bug: its stack says where
  return dies ? Effect.andThen(line, Effect.logError(cause)) : line
}

/** One line: the message, then the messages of what caused it. */
const describe = (error: unknown): string => {
  const lines: Array<string> = []
  for (let one = error, depth = 0; one !== undefined && one !== null && depth < 5; depth++) {
    const said = typeof one === "object" && "message" in one ? String(one.message) : String(one)
    // Effect's server fails with a name and a cause alone
    const text = said === "" && typeof one === "object" && "name" in one ? String(one.name) : said
    if (!lines.some((line) => line.includes(text))) lines.push(text.replace(/\s*\n\s*/g, " "))
    one = typeof one === "object" && "cause" in one ? one.cause : undefined
  }
  return lines.join(", caused by: ")
}
