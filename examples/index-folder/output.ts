/**
 * Standard output, and the news that nobody reads it any more (`… | head -1`).
 */
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"

const clearLine = "\r\u001b[2K"

export class Output extends Context.Service<Output, {
  /** A line can be drawn anew. */
  readonly isTerminal: boolean
  /** Characters in a line of the terminal. */
  readonly columns: () => number
  readonly write: (text: string) => Effect.Effect<void>
  /** Replaces the line that was drawn last; nothing where no line can be drawn anew. */
  readonly redraw: (line: string) => Effect.Effect<void>
  /** Waits until the reader is gone. */
  readonly closed: Effect.Effect<void>
}>()("@troupe/examples/Output") {
  static readonly layer = Layer.effect(
    Output,
    Effect.gen(function*() {
      const { stdout } = process
      const closed = yield* Deferred.make<void>()
      // without a listener Node would end the process with a stack trace
      const onError = (error: NodeJS.ErrnoException) =>
        Deferred.doneUnsafe(closed, error.code === "EPIPE" ? Effect.void : Effect.die(error))
      stdout.on("error", onError)
      return Output.of({
        isTerminal: stdout.isTTY === true,
        columns: () => stdout.columns ?? 80,
        write: (text) => Effect.sync(() => stdout.write(text)),
        redraw: (line) => Effect.sync(() => void (stdout.isTTY && stdout.write(clearLine + line))),
        closed: Deferred.await(closed)
      })
    })
  )
}
