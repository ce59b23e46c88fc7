/**
 * Threads that proofread, so that a long page does not keep the worker's event
 * loop from its heartbeats. They are started once per worker and ended with it.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Pool from "effect/Pool"
import { Worker } from "node:worker_threads"
import type { Facts, Section } from "./markdown.ts"

const size = 2

interface Thread {
  readonly worker: Worker
  readonly number: number
  sections: number
}

const spawn = (number: number): Effect.Effect<Thread> =>
  Effect.callback((resume) => {
    const worker = new Worker(new URL("./readerThread.ts", import.meta.url))
    worker.once("online", () => resume(Effect.succeed({ worker, number, sections: 0 })))
    worker.once("error", (error) => resume(Effect.die(error)))
  })

/** An interrupted reading leaves the thread at work: whoever asks must not use it again. */
const ask = (thread: Thread, section: Section): Effect.Effect<Facts> =>
  Effect.callback((resume) => {
    const onMessage = (facts: Facts) => {
      thread.worker.off("error", onError)
      thread.sections++
      resume(Effect.succeed(facts))
    }
    const onError = (error: unknown) => {
      thread.worker.off("message", onMessage)
      resume(Effect.die(error))
    }
    thread.worker.once("message", onMessage).once("error", onError)
    thread.worker.postMessage(section)
  })

export class Reader extends Context.Service<Reader, {
  /** Interrupting it ends the thread that reads: another one takes its place. */
  readonly read: (section: Section) => Effect.Effect<Facts>
}>()("app/Reader") {
  static readonly layer = Layer.effect(
    this,
    Effect.gen(function*() {
      let started = 0
      const pool = yield* Pool.make({
        size,
        acquire: Effect.acquireRelease(
          Effect.tap(
            Effect.suspend(() => spawn(++started)),
            ({ number }) => Effect.logInfo(`Reading thread ${number} started`)
          ),
          ({ number, sections, worker }) =>
            Effect.andThen(
              Effect.promise(() => worker.terminate()),
              Effect.logInfo(`Reading thread ${number} ended after ${sections} sections`)
            )
        )
      })
      return Reader.of({
        read: (section) =>
          Effect.scoped(Effect.flatMap(Pool.get(pool), (thread) =>
            Effect.onError(
              ask(thread, section),
              () => Pool.invalidate(pool, thread)
            )))
      })
    })
  )
}
